"""Retrieval's container: what its service is told, and Qdrant, which is there only where the inventory says whence."""

from __future__ import annotations

from tests.roles.roles_support import inventory, state, text
from zentoria_infra.guest.state import Release
from zentoria_infra.roles.catalog import unbuilt

QDRANT = {"kind": "url", "url": "https://example.org/qdrant.tar.gz", "sha256": "c" * 64}


def _environment(**overrides: object) -> dict[str, str]:
    lines = text(state("embeddings", overrides=overrides or None), "/etc/zentoria/rag/environment").splitlines()
    pairs = (line.partition("=") for line in lines if line.startswith("ZENTORIA_"))
    return {name.removeprefix("ZENTORIA_"): value.strip('"') for name, _, value in pairs}


def test_it_talks_to_postgresql_itself_and_reads_two_buckets() -> None:
    found = _environment()
    by_name = inventory().by_name
    assert (found["DATABASE_HOST"], found["DATABASE_PORT"]) == (str(by_name("db").address), "5432")
    assert (found["DATABASE_NAME"], found["DATABASE_USER"]) == ("zentoria_vectors", "embeddings")
    assert (found["S3_BUCKET_UPLOADS"], found["S3_BUCKET_DOCUMENTS"]) == ("uploads", "documents")
    assert found["ENGINE_URL"] == f"http://{by_name('ai').address}:11434/v1"
    assert found["CALLERS_FILE"] == "/etc/zentoria/rag/callers.json"
    assert found["INDEX_KIND"] == "pgvector"
    memory = by_name("embeddings").resources.memory
    assert 256 <= int(found["PARSE_MEMORY"]) / 1024 / 1024 < memory


def test_qdrant_is_left_out_and_the_rest_is_installed() -> None:
    container = inventory().by_name("embeddings")
    assert "qdrant" in unbuilt(container)
    guest = state("embeddings")
    assert [one.id for one in guest.resources if isinstance(one, Release)] == ["release:rag"]
    assert "health:qdrant" not in {one.id for one in guest.resources}


def test_with_a_source_of_the_sites_it_is_a_release_with_a_unit_of_its_own() -> None:
    overrides = {
        "components": {"qdrant": QDRANT},
        "containers": {
            "embeddings": {"services": {"qdrant": {"installed": True}, "rag": {"settings": {"index_kind": "qdrant"}}}}
        },
    }
    container = inventory(overrides=overrides).by_name("embeddings")
    assert "qdrant" not in unbuilt(container)
    guest = state("embeddings", overrides=overrides)
    assert {one.id for one in guest.resources if isinstance(one, Release)} == {"release:qdrant", "release:rag"}
    assert "ExecStart=/opt/zentoria/qdrant/current/qdrant\n" in text(guest, "/etc/systemd/system/qdrant.service")
    settings = text(guest, "/etc/zentoria/qdrant/environment")
    assert f'QDRANT__SERVICE__HOST="{container.address}"' in settings
    assert 'QDRANT__TELEMETRY_DISABLED="true"' in settings
    found = _environment(**overrides)
    assert (found["INDEX_KIND"], found["QDRANT_URL"]) == ("qdrant", f"http://{container.address}:6333")
