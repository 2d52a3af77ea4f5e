from __future__ import annotations

import json

import pytest

from tests.cli.test_cli_users import FakeProxmox
from tests.roles.roles_support import inventory
from zentoria_infra.cli.commands import rag
from zentoria_infra.execute.service_program import program_of

DONE = {"model": "b-768-1", "before": "a-384-1", "embedded": 7, "indexed": 0, "removed": 0, "dropped": 3}


@pytest.mark.parametrize("drop", [False, True])
def test_reindex_runs_in_the_guest_and_says_what_came_of_it(capsys: pytest.CaptureFixture[str], drop: bool) -> None:
    proxmox = FakeProxmox(json.dumps(DONE).encode(), stderr=b"b-768-1 answers\n")
    program = program_of(inventory(), proxmox, "rag", tried="try")  # type: ignore[arg-type] # a fake
    rag.run(program, drop_old=drop, as_json=False)
    ((argv, _),) = proxmox.asked
    assert argv[0] == "419"
    last = argv[argv.index("/opt/zentoria/rag/current/bin/zentoria-rag") + 1 :]
    assert last == ["reindex", *(["--drop-old"] if drop else []), "--json"]
    assert "b-768-1 answers in place of a-384-1: 7 embedded" in capsys.readouterr().out
