"""Containers 412 and 413: what reads, hears and speaks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.roles.roles_support import FixedMaterials, state, text
from zentoria_infra.guest.state import GuestState, Packages


def packages(guest: GuestState) -> set[str]:
    return set(next(one for one in guest.resources if isinstance(one, Packages)).names)


def environment(guest: GuestState, name: str) -> dict[str, str]:
    lines = text(guest, f"/etc/zentoria/{name}/environment").splitlines()[1:]
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}


def settings_of(name: str, **settings: Any) -> dict[str, Any]:
    return {"containers": {name: {"services": {"api": {"settings": settings}}}}}


def test_languages_are_packages_and_a_setting() -> None:
    found = state("ocr", overrides=settings_of("ocr", languages=["eng", "chi_sim"]))
    assert {"tesseract-ocr", "tesseract-ocr-eng", "tesseract-ocr-chi-sim", "unpaper"} <= packages(found)
    assert "ghostscript" not in packages(found)
    assert environment(found, "ocr")["ZENTORIA_LANGUAGES"] == '["eng", "chi_sim"]'


@pytest.mark.parametrize(("memory", "mebibytes"), [(8192, 7936), (1024, 768), (256, 256)])
def test_a_document_has_the_memory_that_the_container_has_to_spare(memory: int, mebibytes: int) -> None:
    found = state("ocr", overrides={"containers": {"ocr": {"resources": {"memory": memory, "cores": 8}}}})
    values = environment(found, "ocr")
    assert values["ZENTORIA_CHILD_MEMORY"] == str(mebibytes * 1024 * 1024)
    assert values["ZENTORIA_THREADS"] == "4"


def test_paperless_is_asked_where_it_is_installed() -> None:
    assert "ZENTORIA_PAPERLESS_URL" not in environment(state("ocr"), "ocr")
    materials = FixedMaterials()
    state("ocr", materials=materials)
    assert "zentoria/minio/ocr_secret_key" in materials.secrets.asked
    assert not any("paperless" in path for path in environment(state("ocr"), "ocr").values())


def test_models_and_threads_are_told() -> None:
    found = state("voice")
    values = environment(found, "voice")
    assert values["ZENTORIA_TRANSCRIPTION_MODEL"].startswith("whisper-")
    assert (values["ZENTORIA_SPEECH_MODEL"], values["ZENTORIA_STREAM_PORT"]) == ("kokoro", "9301")
    assert values["ZENTORIA_MODELS_FOLDER"] == "/var/lib/zentoria-voice/models"
    assert environment(state("voice", overrides=settings_of("voice", threads=1)), "voice")["ZENTORIA_THREADS"] == "1"
    assert "espeak-ng" in packages(found)


def test_units_write_to_a_folder_of_their_own() -> None:
    for name, may_make_code in (("ocr", False), ("voice", True)):
        unit = text(state(name), f"/etc/systemd/system/zentoria-{name}.service")
        assert f"StateDirectory=zentoria-{name}\n" in unit and f"HOME=/var/lib/zentoria-{name}\n" in unit
        assert ("MemoryDenyWriteExecute=yes" not in unit) == may_make_code
    assert "StateDirectory" not in text(state("backend"), "/etc/systemd/system/zentoria-backend.service")
