"""What the lab's firewall needs of the machine: had once for all labs, and given back by the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from zentoria_infra.lab.lxc import host, mounttable
from zentoria_infra.lab.runtime import RuntimeFailure


class Module:
    """A kernel with ``br_netfilter`` as a module."""

    def __init__(self, switches: Path, fails: str = "") -> None:
        self.switches = switches
        self.fails = fails
        self.calls: list[str] = []

    def run(self, argv: list[str]) -> str:
        self.calls.append(" ".join(argv))
        if self.fails:
            raise RuntimeFailure(self.fails)
        if "--remove" not in argv:
            self.switches.mkdir()
            for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-filter-vlan-tagged"):
                (self.switches / name).write_text("1")
        return ""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> host.SharedHost:
    """The machine's part of all labs, with nothing else to do."""
    monkeypatch.setattr(host, "SYSCTLS", {})
    monkeypatch.setattr(host, "_SUBIDS", ())
    monkeypatch.setattr(host, "_lxcfs_works", lambda: True)
    monkeypatch.setattr(host, "BRIDGE_SWITCHES", tmp_path / "bridge")
    monkeypatch.setattr(mounttable, "mounted", lambda _: True)
    return host.SharedHost(tmp_path / "state")


def test_a_module_is_loaded_without_an_effect_on_the_machines_own_bridges(
    shared: host.SharedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Module(tmp_path / "bridge")
    monkeypatch.setattr(host, "run", module.run)
    said: list[str] = []
    for lab in ("zt-one", "zt-two"):
        (tmp_path / lab).mkdir()
        shared.join(lab, tmp_path / lab, said.append)
    assert module.calls == ["modprobe br_netfilter"]
    assert {file.name: file.read_text() for file in module.switches.iterdir()} == {
        "bridge-nf-call-iptables": "0", "bridge-nf-call-ip6tables": "0", "bridge-nf-filter-vlan-tagged": "1",
    }  # fmt: skip
    shared.leave("zt-one", said.append)
    assert len(module.calls) == 1, "another lab needs it"
    shared.leave("zt-two", said.append)
    assert module.calls[1:] == ["modprobe --remove br_netfilter"]
    assert said == [
        "module br_netfilter loaded; bridges outside of the lab are not filtered",
        "module br_netfilter removed",
    ]


def test_what_was_there_before_stays(shared: host.SharedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module(tmp_path / "bridge")
    module.run(["modprobe"])
    monkeypatch.setattr(host, "run", module.run)
    shared.join("zt-one", tmp_path, print)
    shared.leave("zt-one", print)
    assert module.calls == ["modprobe"]
    assert (module.switches / "bridge-nf-call-iptables").read_text() == "1"


def test_a_kernel_without_it_runs_guests_all_the_same(
    shared: host.SharedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "run", Module(tmp_path / "bridge", "no such module").run)
    said: list[str] = []
    shared.join("zt-one", tmp_path, said.append)
    assert said == ["module br_netfilter: no such module"]
    shared.leave("zt-one", said.append)
    assert not (tmp_path / "state").exists()
