"""The engine for language models: Ollama where there is room for it, ours elsewhere; nobody else sees which."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.roles.roles_support import ROOT, FixedMaterials, files, inventory, state, text, units
from zentoria_infra.guest.state import GuestState, Packages, Release
from zentoria_infra.inventory.component_model import UrlComponent
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.problems import InvalidInventoryError
from zentoria_infra.roles.checks import check_roles

PRODUCTION = {"dns": {"nameservers": ["192.0.2.1"]}}


def variables(guest: GuestState) -> dict[str, str]:
    lines = text(guest, "/etc/zentoria/ollama/environment").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip("'\"") for name, _, value in pairs}


def test_a_production_site_has_ollama_with_its_models_on_the_volume() -> None:
    materials = FixedMaterials()
    guest = state("ai", None, PRODUCTION, materials)
    ((component, _, strip),) = [one for one in materials.archives if one[1] == "ollama"]
    assert isinstance(component, UrlComponent) and component.url.endswith("/ollama-linux-amd64.tgz")
    assert strip == 0
    found = variables(guest)
    assert found["OLLAMA_MODELS"] == "/var/lib/ollama/models"
    assert found["OLLAMA_HOST"] == "10.10.40.5:11434"
    assert found["OLLAMA_KEEP_ALIVE"] == "-1"
    assert found["OLLAMA_NUM_PARALLEL"] == "2"
    unit = text(guest, "/etc/systemd/system/ollama.service")
    assert "ExecStart=/opt/zentoria/ollama/current/bin/ollama serve" in unit
    assert "ReadWritePaths=/var/lib/ollama" in unit


def test_its_settings_have_the_names_that_ours_have() -> None:
    service = {"settings": {"keep_alive": 300, "parallel": 3, "waiting": 5, "cache_type": "q8_0"}}
    found = variables(state("ai", None, {**PRODUCTION, "containers": {"ai": {"services": {"ollama": service}}}}))
    wanted = {"KEEP_ALIVE": "300s", "NUM_PARALLEL": "3", "MAX_QUEUE": "5", "KV_CACHE_TYPE": "q8_0"}
    assert {name: found[f"OLLAMA_{name}"] for name in wanted} == wanted


def test_a_lab_has_our_engine_under_the_same_unit_and_port() -> None:
    guest = state("ai")
    unit = text(guest, "/etc/systemd/system/ollama.service")
    assert "ExecStart=/opt/zentoria/ollama/current/bin/zentoria-engine serve" in unit
    assert "OOMPolicy=continue" in unit
    assert "ListenStream=10.10.40.5:11434" in text(guest, "/etc/systemd/system/ollama.socket")
    assert {"ollama.service", "ollama.socket"} <= set(units(guest))
    assert "libgomp1" in next(one for one in guest.resources if isinstance(one, Packages)).names
    release = next(one for one in guest.resources if isinstance(one, Release) and one.root == "/opt/zentoria/ollama")
    assert release.preflight[0] == "zentoria-engine"
    assert release.health_url == "http://10.10.40.5:11434/api/version"
    assert "/etc/zentoria/ollama/callers.json" not in files(guest)


def test_our_engine_is_told_its_models_with_sizes_and_limits() -> None:
    line = next(
        line
        for line in text(state("ai"), "/etc/zentoria/ollama/environment").splitlines()
        if "ZENTORIA_MODELS=" in line
    )
    models = {one["name"]: one for one in json.loads(line.partition("=")[2].strip("'").replace('\\"', '"').strip('"'))}
    assert models["qwen2.5-coder-1.5b"]["purposes"] == ["chat", "code"]
    assert models["qwen2.5-coder-1.5b"]["files"] == {"model.gguf": 1117320768}
    assert models["bge-small-en-v1.5"]["dimension"] == 384


def test_who_asks_which_model_serves_what_is_told_by_purpose() -> None:
    lab, home = inventory("lab").served(), inventory(None).served()
    assert (lab["chat"][0], lab["embedding"][1].dimension) == ("qwen2.5-coder-1.5b", 384)
    assert (home["chat"][0], home["chat"][1].context) == ("llama3.2-8k", 8192)
    assert (home["code"][1].context, home["embedding"][1].dimension) == (16384, 768)


@pytest.mark.parametrize(
    ("site", "model", "said"),
    [("lab", "llama3.2-8k", "has no 'files'"), (None, "smollm2-135m", "has no 'pull'")],
)
def test_a_model_that_the_chosen_engine_cannot_have_is_refused(site: str | None, model: str, said: str) -> None:
    changes: dict[str, Any] = {"containers": {"ai": {"services": {"ollama": {"models": {"chat": model}}}}}}
    with pytest.raises(InvalidInventoryError) as caught:
        load(ROOT, site, changes, more=check_roles)
    assert said in str(caught.value)


def test_a_setting_that_ollama_does_not_have_is_refused() -> None:
    changes = {**PRODUCTION, "containers": {"ai": {"services": {"ollama": {"settings": {"threads": 3}}}}}}
    with pytest.raises(InvalidInventoryError, match="Ollama has no 'threads'"):
        load(ROOT, None, changes, more=check_roles)
