"""When the agent ends a start's wait for a network, and when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from zentoria_infra.guest.agent import common, network

WANTED = f"etc/systemd/system/network-online.target.wants/{network.WAITS}"


@pytest.mark.parametrize(
    ("files", "in_vain"),
    [
        ({}, False),
        ({WANTED: ""}, True),
        ({WANTED: "", "etc/network/interfaces": "iface eth0 inet static"}, True),
        ({WANTED: "", "usr/lib/systemd/network/80-container-host0.network": "[Match]"}, True),
        ({WANTED: "", "etc/systemd/network/eth0.network": "[Match]"}, False),
        ({WANTED: "", "run/systemd/network/eth0.network": "[Match]"}, False),
    ],
    ids=[
        "not turned on",
        "nothing configures",
        "ifupdown",
        "only what Debian ships",
        "Proxmox's files",
        "of this start",
    ],
)
def test_it_waits_in_vain_where_systemd_networkd_has_nothing_to_do(
    tmp_path: Path, files: dict[str, str], in_vain: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert network.waits_in_vain(str(tmp_path)) == in_vain
    masked = tmp_path / "etc/systemd/system" / network.WAITS
    masked.parent.mkdir(parents=True, exist_ok=True)
    masked.symlink_to("/dev/null")
    assert not network.waits_in_vain(str(tmp_path))


@pytest.mark.parametrize(
    ("state", "ended"), [("activating", True), ("failed", True), ("inactive", False), ("active", False)]
)
def test_it_is_ended_only_where_it_is_under_way_or_has_failed(
    monkeypatch: pytest.MonkeyPatch, state: str, ended: bool
) -> None:
    asked: list[str] = []

    def run(argv: list[str]) -> tuple[int, str]:
        asked.append(argv[1])
        return 0, f"{state}\n"

    monkeypatch.setattr(common, "run", run)
    assert network.let_go() == ended
    assert asked == (["show", "stop", "reset-failed"] if ended else ["show"])
