"""A folder that is no lab's is left as it is, whatever it is called: nothing is removed without the lab's marker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zentoria_infra.errors import LabError
from zentoria_infra.lab import control, registry
from zentoria_infra.lab.control import Wanted
from zentoria_infra.lab.registry import Lab, Ports

NAME = "photos"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZENTORIA_LAB_ROOT", str(tmp_path))
    monkeypatch.setattr(control, "runtime_of", lambda lab: None)
    monkeypatch.setattr(control.power, "halt_all", lambda layout, runtime, say: [])
    monkeypatch.setattr(control.requirements, "missing", lambda: [])
    return tmp_path


def fails(lab: Lab, say: object) -> list[str]:
    raise LabError("start the lab's daemon", got="it does not start")


def a_picture(folder: Path) -> Path:
    folder.mkdir()
    file = folder / "holiday.jpg"
    file.write_bytes(b"jpeg")
    return file


def a_link(folder: Path) -> Path:
    elsewhere = folder.with_name("elsewhere")
    file = a_picture(elsewhere)
    folder.symlink_to(elsewhere)
    return file


def anothers_marker(folder: Path) -> Path:
    file = a_picture(folder)
    (folder / registry.MARKER).write_text("The lab 'other' of Zentoria.\n")
    return file


def a_broken_file(folder: Path) -> Path:
    file = a_picture(folder)
    (folder / "lab.json").write_text('{"name": "not ours"}')
    return file


@pytest.mark.parametrize("make", [a_picture, a_link, anothers_marker, a_broken_file])
@pytest.mark.parametrize("command", ["reset", "up"])
def test_what_is_no_lab_stays(root: Path, monkeypatch, make: Callable[[Path], Path], command: str) -> None:
    file = make(root / NAME)
    monkeypatch.setattr(control, "_launch", fails)
    with pytest.raises(LabError) as told:
        if command == "reset":
            control.reset(NAME, print)
        else:
            control.up(NAME, Wanted(guests="none", auto_ports=True), print)
    assert file.read_bytes() == b"jpeg"
    assert str(root / NAME) in str(told.value)
    assert not (root / NAME / "run").exists()  # nothing was put into it either


def test_a_first_start_that_fails_leaves_nothing(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(control, "_launch", fails)
    with pytest.raises(LabError, match="does not start"):
        control.up(NAME, Wanted(guests="none", auto_ports=True), print)
    assert not (root / NAME).exists()


def test_a_lab_that_was_there_before_outlives_a_start_that_fails(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(control, "_launch", lambda lab, say: [])
    control.up(NAME, Wanted(guests="none", auto_ports=True), print)
    (root / NAME / "lab.json").unlink()  # lost; its containers are there all the same
    (root / NAME / "storage").mkdir()
    monkeypatch.setattr(control, "_launch", fails)
    with pytest.raises(LabError, match="does not start"):
        control.up(NAME, Wanted(guests="none", auto_ports=True), print)
    assert (root / NAME / "storage").is_dir()
    control.reset(NAME, print)
    assert not (root / NAME).exists()


def test_a_lab_of_an_earlier_version_can_be_removed_and_gets_its_marker(root: Path, monkeypatch) -> None:
    Lab(NAME, "none", Ports(1, 2, 3, 4)).save()
    monkeypatch.setattr(control, "_launch", lambda lab, say: [])
    control.up(NAME, Wanted(guests="none", auto_ports=True), print)
    assert (root / NAME / registry.MARKER).exists()
    control.reset(NAME, print)
    assert not (root / NAME).exists()


def test_the_cache_of_others_stays(root: Path) -> None:
    others = a_picture(root / ".cache")
    ours = root / ".cache/packages"
    ours.mkdir()
    control.drop_cache()
    assert others.exists()
    assert not ours.exists()
