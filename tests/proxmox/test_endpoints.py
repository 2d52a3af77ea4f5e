"""The table of endpoints against the official schemas, and what the client does with what is not in it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.proxmox.proxmox_scripted_server import data
from tests.support.needs import need_shared
from zentoria_infra.proxmox.endpoints import ENDPOINTS, ApiCall, UnknownEndpointError


def _shape(path: str) -> str:
    """A path whose names are left out: the schema has others."""
    return re.sub(r"\{[^}]+\}", "{}", path)


@pytest.fixture(scope="module", params=["8.4", "9.1"])
def schema(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    file = need_shared("proxmox", f"pve-api-{request.param}.json")
    return {_shape(path): verbs for path, verbs in json.loads(file.read_text())["paths"].items()}


@pytest.mark.parametrize("call", ENDPOINTS, ids=lambda call: f"{call.verb} {call.template}")
def test_the_official_schema_has_it(schema: dict[str, dict[str, Any]], call: ApiCall) -> None:
    path = _shape(call.template)
    assert call.verb in schema.get(path, {}), f"{call.verb} {call.template} is not in the API"
    official = schema[path][call.verb]
    returns = (official.get("returns") or {}).get("type")
    assert call.task == (returns == "string"), f"it returns {returns}"
    check = (official.get("permissions") or {}).get("check") or []
    if check[:1] == ["perm"]:
        needed = {(_shape(need.path), need.privilege) for need in call.needs}
        asked = {(_shape(check[1]), privilege) for privilege in check[2]}
        assert (asked & needed) if "any" in check else (asked <= needed), f"the schema asks for {sorted(asked)}"


def test_no_endpoint_is_there_twice() -> None:
    keys = [(call.verb, call.template) for call in ENDPOINTS]
    assert len(set(keys)) == len(keys)


def test_what_is_not_in_the_table_is_not_sent(scripted_connection: Any) -> None:
    connection, server = scripted_connection(lambda seen: data(None))
    with pytest.raises(UnknownEndpointError, match=r"POST /nodes/\{node\}/execute"):
        connection.call("POST", "/nodes/{node}/execute", node="pve1")
    with pytest.raises(UnknownEndpointError):
        connection.reader()("/nodes/pve1/status")
    assert server.seen == []
