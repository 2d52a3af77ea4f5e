"""Files that a guest keeps for itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zentoria_infra.lab.lxc import etcfiles


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to the guest's users")
def test_a_file_with_a_mark_beside_it_is_left_alone(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    values = {"hostname": "zentoria-db", "nameserver": "10.10.47.254"}
    (etc / "hosts").write_text("mine\n")
    (etc / ".pve-ignore.hosts").touch()
    etcfiles.write(tmp_path, 404, values)
    assert (etc / "hosts").read_text() == "mine\n"
    assert (etc / "hostname").read_text() == "zentoria-db\n"
    (etc / ".pve-ignore.hosts").unlink()
    etcfiles.write(tmp_path, 404, values)
    assert "zentoria-db" in (etc / "hosts").read_text()
