"""Which Proxmox VE a lab is: 9.2 unless it is told, kept, and never back under containers; 8.4 carries a stack too."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack
from zentoria_infra.cli.commands.lab import PveChoice
from zentoria_infra.errors import LabError
from zentoria_infra.lab import control, registry, releases
from zentoria_infra.lab.control import Wanted
from zentoria_infra.lab.registry import Lab, Ports

NONE = Wanted(guests="none")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZENTORIA_LAB_ROOT", str(tmp_path))
    return tmp_path


def chosen(known: Lab | None, pve: str | None = None) -> Lab:
    return control._choose("t-pve", known, dataclasses.replace(NONE, pve=pve))[0]


def test_a_new_lab_is_the_newest_and_a_lab_stays_what_it_was() -> None:
    assert chosen(None).pve == "9.2"
    old = chosen(None, "8.4")
    assert [old.pve, chosen(old).pve, chosen(old, "9.2").pve] == ["8.4", "8.4", "9.2"]
    old.save()
    assert registry.find("t-pve") == old


def test_a_lab_that_runs_does_not_become_another_release() -> None:
    known = chosen(None, "8.4")
    control._same(known, NONE)
    control._same(known, dataclasses.replace(NONE, pve="8.4"))
    with pytest.raises(LabError, match="other settings"):
        control._same(known, dataclasses.replace(NONE, pve="9.2"))


def test_containers_go_up_with_their_lab_and_never_back() -> None:
    new = chosen(None, "9.1")
    assert chosen(new, "8.4").pve == "8.4", "nothing is in it"
    folder = new.layout.pve / "lxc"
    folder.mkdir(parents=True)
    (folder / "404.conf").write_text("arch: amd64\n")
    assert chosen(new, "9.2").pve == "9.2"
    with pytest.raises(LabError, match=r"made with 9\.1, and Proxmox VE does not go back"):
        chosen(new, "8.4")


@pytest.mark.parametrize(("text", "found"), [("", "8.4"), (',\n "pve": "9.1"', "9.1"), (',\n "pve": "9.9"', None)])
def test_what_its_file_says(text: str, found: str | None) -> None:
    """Labs of before were 8.4, and said nothing."""
    Lab("t-pve", "none", Ports()).save()
    file = registry.root_of("t-pve") / "lab.json"
    before = file.read_text()
    file.write_text(before.replace(',\n "pve": "9.2"', text))
    if found is None:
        with pytest.raises(LabError, match=r"there is no release '9\.9', only 8\.4, 9\.0, 9\.1, 9\.2"):
            registry.find("t-pve")
    else:
        known = registry.find("t-pve")
        assert known is not None
        assert known.pve == found


def test_the_command_takes_every_release() -> None:
    assert tuple(PveChoice) == releases.NAMES


@pytest.fixture
def old(root: Path) -> Iterator[Stack]:
    """A lab of 8.4, its API alone."""
    stack = Stack(f"o{os.getpid() % 1_000_000}")
    stack.lab("up", "--guests", "none", "--ports", "auto", "--pve", "8.4", "--firewall-cycle", "0.2")
    yield stack
    stack.reset()


@pytest.mark.slow
def test_a_stack_comes_up_on_8_4_too_and_goes(old: Stack) -> None:
    assert '"pve": "8.4"' in old.lab("status", "--json").out
    only = ("--only", "db", "--only", "logs")  # the whole stack says no more about the release
    old.zentoria("up", *only, "--yes", "--json", check=True)
    again = old.zentoria("plan", *only, "--detailed-exitcode", check=True)
    assert "No changes" in again.out
    down = old.zentoria("down", "--yes", check=True)
    assert {"404", "406"} <= {line.split()[2] for line in down.out.splitlines() if line.endswith("s)")}, down.said()
