"""The orchestrator's state fits the orchestrator's settings."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from zentoria_ai.answers.prompts import NAMES, Prompts
from zentoria_ai.settings import Settings
from zentoria_common.settings import unknown_variables

from tests.roles.roles_support import ROOT, FixedMaterials, files, settings, state, text
from zentoria_infra.guest.state import GuestState, Release


@pytest.fixture(scope="module")
def guest() -> GuestState:
    return state("ai")


def test_the_service_understands_every_variable(guest: GuestState, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(text(guest, "/etc/zentoria/orchestrator/environment").replace("=", " = ", 1000))
    found = {name: value.strip('"') for name, value in found.items()}
    assert unknown_variables(Settings, found) == ()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    read = Settings()  # type: ignore[call-arg] # from the environment
    assert (read.bind_host, read.http_port, read.container_name) == ("10.10.40.5", 5000, "ai")
    assert read.engine_url == "http://10.10.40.5:11434/v1"
    assert read.rag_url == "http://10.10.41.9:8100"
    assert (read.redis_host, read.redis_user) == ("10.10.41.0", "ai")
    assert read.external_models == ()
    assert read.openai_api_key_file is None
    assert str(read.models_folder / read.embedding_model) == "/var/lib/ollama/models/bge-small-en-v1.5"


def test_the_owner_changes_prompts_in_the_templates_folder(guest: GuestState) -> None:
    for name in NAMES:
        there = files(guest)[f"/etc/zentoria/orchestrator/{name}.txt"]
        assert there.text == (ROOT / f"templates/prompts/{name}.txt").read_text()
        assert Prompts(ROOT / "templates/prompts").get(name)
    assert not any("$" in (ROOT / f"templates/prompts/{name}.txt").read_text() for name in NAMES)


def test_the_release_is_the_ai_packages_and_is_gated(guest: GuestState) -> None:
    release = next(one for one in guest.resources if isinstance(one, Release) and one.id == "release:orchestrator")
    assert release.preflight[:2] == ("zentoria-orchestrator", "check")
    assert release.health_url == "http://10.10.40.5:5000/health"
    key = files(guest)["/etc/zentoria/orchestrator/identity_key"]
    assert (key.mode, key.secret) == ("0600", True)
    assert '"kid": "backend"' in text(guest, "/etc/zentoria/orchestrator/callers.json")


def test_external_models_are_switched_on_by_a_site() -> None:
    wanted = {"settings": {"external_models": ["openai:gpt-5"]}}
    materials = FixedMaterials()
    materials.secrets.supplied["zentoria/api_keys/openai"] = SecretStr("sk-canary")
    guest = state("ai", overrides={"containers": {"ai": {"services": {"orchestrator": wanted}}}}, materials=materials)
    environment = text(guest, "/etc/zentoria/orchestrator/environment")
    assert """ZENTORIA_EXTERNAL_MODELS='["openai:gpt-5"]'""" in environment
    assert 'ZENTORIA_OPENAI_API_KEY_FILE="/etc/zentoria/orchestrator/openai_api_key"' in environment
    assert "sk-canary" not in environment
    assert files(guest)["/etc/zentoria/orchestrator/openai_api_key"].mode == "0600"
    assert "/etc/zentoria/orchestrator/anthropic_api_key" not in files(guest)
