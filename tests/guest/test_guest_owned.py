"""What nothing asks for any more is told by a look and removed by a run; data, users' own things and others' stay."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tests.guest.guest_world import ME, Guest, outcomes
from zentoria_infra.guest.artifact import Wheels
from zentoria_infra.guest.state import (
    Command,
    Directory,
    File,
    Health,
    Packages,
    Release,
    Resource,
    Rollback,
    Symlink,
    Unit,
)

Made = Callable[[Guest], Resource]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def base(guest: Guest) -> File:
    return File(id="base", path=str(guest.root / "etc/base"), text="stays\n", **ME)


def gone(report_outcomes: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in report_outcomes.items() if key.startswith("orphan:")}


def file_of(guest: Guest) -> File:
    return File(id="file:a", path=str(guest.root / "etc/app/a.conf"), text="a\n", **ME)


def link_of(guest: Guest) -> Symlink:
    return Symlink(id="link:a", path=str(guest.root / "etc/a"), target="somewhere")


def directory_of(guest: Guest) -> Directory:
    return Directory(id="directory:a", path=str(guest.root / "etc/folder"), **ME)


@pytest.mark.parametrize("make", [file_of, link_of, directory_of], ids=["file", "link", "directory"])
def test_what_a_state_no_longer_has_is_told_then_removed_then_forgotten(guest: Guest, make: Made) -> None:
    thing = make(guest)
    path = Path(str(getattr(thing, "path", "")))
    guest.run(base(guest), thing)
    looked = guest.run(base(guest), mode="check")
    assert gone(outcomes(looked)) == {f"orphan:{thing.id}": "would-change"}
    assert "nothing asks for it" in looked.resources[-1].detail
    assert os.path.lexists(path), "a look changes nothing"
    assert gone(outcomes(guest.run(base(guest)))) == {f"orphan:{thing.id}": "changed"}
    assert not os.path.lexists(path)
    assert gone(outcomes(guest.run(base(guest), mode="check"))) == {}
    assert Path(base(guest).path).exists()


def test_another_id_for_the_same_path_is_no_orphan(guest: Guest) -> None:
    guest.run(base(guest), file_of(guest))
    renamed = file_of(guest).model_copy(update={"id": "file:b"})
    assert gone(outcomes(guest.run(base(guest), renamed))) == {}
    assert Path(renamed.path).exists()


def test_what_somebody_else_made_is_not_ours(guest: Guest) -> None:
    folder = directory_of(guest)
    guest.run(base(guest), folder, link_of(guest))
    own = Path(folder.path) / "own"
    own.write_text("of the user")
    link = Path(link_of(guest).path)
    link.unlink()
    link.symlink_to("elsewhere")
    report = guest.run(base(guest))
    assert gone(outcomes(report)) == {"orphan:directory:a": "changed"}, "the link is the user's now"
    assert "stays" in report.resources[-1].detail
    assert own.read_text() == "of the user"
    assert os.readlink(link) == "elsewhere"


def test_what_lies_on_a_data_volume_stays(guest: Guest) -> None:
    state = guest.root / "state"
    state.mkdir()
    path = str(guest.root / "data/file")
    things = {
        "volume data": {"kind": "volume", "id": "volume:data", "path": str(guest.root / "data"), "owner": "redis"},
        f"file {path}": {"kind": "file", "id": "file:data", "path": path},
    }
    (state / "owned.json").write_text(json.dumps({"things": things, "packages_before": []}))
    Path(path).parent.mkdir()
    Path(path).write_text("data")
    assert gone(outcomes(guest.run(base(guest)))) == {}
    assert Path(path).read_text() == "data"


SYSTEMCTL = """
case "$*" in
  *show*) printf 'LoadState=loaded\\n\\n';;
  *is-failed*) exit 1;;
  {more}
esac
"""


def test_a_unit_that_is_renamed_stops_before_its_heir_starts(guest: Guest) -> None:
    guest.fake("systemctl", SYSTEMCTL.format(more=""))
    old, new = (Unit(id=f"unit:{name}.socket", name=f"{name}.socket") for name in ("old", "new"))
    guest.run(base(guest), old)
    guest.log.unlink()
    report = guest.run(base(guest), new)
    assert gone(outcomes(report)) == {"orphan:unit:old.socket": "changed"}
    commands = guest.commands()
    assert commands.index("systemctl disable --now old.socket") < commands.index("systemctl start new.socket")
    assert "unit:old.socket" not in (guest.root / "state/owned.json").read_text()


def test_a_drop_in_that_is_gone_is_gone_before_its_unit_restarts(guest: Guest) -> None:
    folder = guest.root / "etc/systemd/system/app.service.d"
    settings = File(id="file:settings", path=str(guest.root / "etc/app.conf"), text="one\n", **ME)
    piece = File(id="file:piece", path=str(folder / "more.conf"), text="[Service]\n", **ME)
    unit = Unit(id="unit:app", name="app.service", reads=("file:settings", "file:piece"))
    seen = guest.root / "seen"
    look = f"*restart*app.service) ls {folder} > {seen} 2>/dev/null;;"
    guest.fake("systemctl", SYSTEMCTL.format(more=look))
    guest.run(settings, piece, unit)
    changed = settings.model_copy(update={"text": "two\n"})
    fewer = Unit(id="unit:app", name="app.service", reads=("file:settings",))
    active = (
        look + "\n  *show*app.service*) printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n\\n';;"
    )
    guest.fake("systemctl", 'case "$*" in ' + active.replace("\n  ", "\n") + "\n*is-failed*) exit 1;; esac")
    report = guest.run(changed, fewer)
    assert gone(outcomes(report)) == {"orphan:file:piece": "changed"}
    assert report.restarted == ("app.service",)
    assert seen.read_text() == "", "the unit restarted with what it shall have"


def test_a_release_that_moved_does_not_hold_up_its_unit(guest: Guest) -> None:
    """The unit runs from the new place by now; that the old place is still there is no reason to fail."""
    root = guest.root / "opt/old"
    (root / "releases/1").mkdir(parents=True)
    state = guest.root / "state"
    state.mkdir()
    thing = {"kind": "release", "id": "release:x", "root": str(root), "units": ["x.service"]}
    (state / "owned.json").write_text(json.dumps({"things": {"release x": thing}, "packages_before": []}))
    guest.fake(
        "systemctl",
        "case \"$*\" in *show*) printf 'LoadState=loaded\\nActiveState=active\\n\\n';; *is-failed*) exit 1;; esac",
    )
    report = guest.run(Unit(id="unit:x", name="x.service", enabled=None))
    assert gone(outcomes(report)) == {"orphan:release:x": "changed"}
    assert not root.exists()


def test_a_unit_that_was_only_watched_is_left_alone(guest: Guest) -> None:
    guest.run(base(guest), Unit(id="unit:journald", name="systemd-journald.service", enabled=None))
    assert gone(outcomes(guest.run(base(guest)))) == {}


def test_a_unit_that_cannot_be_stopped_holds_the_rest_back(guest: Guest) -> None:
    guest.fake("systemctl", SYSTEMCTL.format(more=""))
    guest.run(base(guest), Unit(id="unit:old", name="old.service"), file_of(guest))
    guest.fake("systemctl", SYSTEMCTL.format(more="*disable*) echo busy; exit 1;;"))
    report = guest.run(base(guest), Unit(id="unit:new", name="new.service"))
    assert report.failed == "orphan:unit:old"
    assert "busy" in next(one for one in report.resources if one.id == report.failed).output
    assert outcomes(report)["unit:new"] == "skipped"
    assert Path(file_of(guest).path).exists()
    guest.fake("systemctl", SYSTEMCTL.format(more=""))
    again = guest.run(base(guest), Unit(id="unit:new", name="new.service"))
    assert set(gone(outcomes(again)).values()) == {"changed"}
    assert not Path(file_of(guest).path).exists()


@pytest.mark.parametrize("what", ["a way back", "checks alone", "nothing"])
def test_what_is_not_whole_removes_nothing(guest: Guest, what: str) -> None:
    """A release that is gone back to, and the gate after a snapshot: both are asked for by themselves."""
    guest.run(base(guest), file_of(guest))
    release = Release(
        id="release:x",
        root=str(guest.root / "opt/x"),
        version="1",
        content=Wheels(wheels=(), requirements=""),
        units=(),
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        health = Health(id="health:x", tcp=server.getsockname())
        parts: dict[str, tuple[Resource, ...]] = {
            "a way back": (Rollback(id="rollback release:x", release=release),),
            "checks alone": (health,),
            "nothing": (),
        }
        mode: Literal["check", "apply"] = "check" if what == "a way back" else "apply"
        report = guest.run(*parts[what], mode=mode, whole=False)
    assert gone(outcomes(report)) == {}
    assert Path(file_of(guest).path).exists()
    assert gone(outcomes(guest.run(base(guest), file_of(guest), mode="check"))) == {}
    assert gone(outcomes(guest.run(base(guest), mode="check"))) == {"orphan:file:a": "would-change"}, "it is remembered"


def test_releases_go_when_no_unit_runs_from_them(guest: Guest) -> None:
    root = guest.root / "opt/x"
    (root / "releases/1/bin").mkdir(parents=True)
    (root / "current").symlink_to("releases/1")
    state = guest.root / "state"
    state.mkdir()
    thing = {"kind": "release", "id": "release:x", "root": str(root), "units": ["x.service"]}
    (state / "owned.json").write_text(json.dumps({"things": {"release x": thing}, "packages_before": []}))
    (state / "releases.json").write_text(json.dumps({"release:x": {"version": "1"}, "release:y": {"version": "2"}}))
    assert gone(outcomes(guest.run(base(guest)))) == {"orphan:release:x": "changed"}
    assert not root.exists()
    assert json.loads((state / "releases.json").read_text()) == {"release:y": {"version": "2"}}


DPKG = """
case "$*" in
  *'Version}'*) shift 4; for n in "$@"; do printf '%s\\tii \\t1\\n' $n; done;;
  *) printf 'base\\ncoreutils\\nkept\\n';;
esac
"""


@pytest.mark.parametrize(
    ("name", "simulated", "auto", "asked", "says"),
    [
        ("redis", "Remv redis\nRemv redis-tools", "redis-tools", "remove --yes --quiet", ""),
        ("redis", "Remv redis\nRemv coreutils", "coreutils", None, "others need it, so it stays: coreutils"),
        ("redis", "Remv redis\nRemv users-own", "", None, "others need it, so it stays: users-own"),
        ("redis", "", "", None, ""),
    ],
    ids=["with what came along", "not with what was there before", "not with what the user installed", "gone already"],
)
def test_packages_go_with_what_came_along_and_with_nothing_else(
    guest: Guest, name: str, simulated: str, auto: str, asked: str | None, says: str
) -> None:
    guest.fake("dpkg-query", DPKG)
    guest.fake("apt-mark", f"echo '{auto}'")
    guest.fake("apt-get", f"case \"$*\" in *simulate*) echo '{simulated}';; esac")
    guest.run(base(guest), Packages(id="packages", names=(name, "base")))
    report = guest.run(base(guest))
    assert gone(outcomes(report)) == {f"orphan:package:{name}": "changed"}, "base was there before"
    assert says in report.resources[-1].detail
    done = [one for one in guest.commands() if one.startswith("apt-get remove")]
    assert bool(done) == (asked is not None)
    assert all(asked in one and "purge" not in one and one.endswith(f" {name}") for one in done if asked)


def test_a_user_goes_unless_a_volume_was_his(guest: Guest) -> None:
    mine = ME["owner"]
    state = guest.root / "state"
    state.mkdir()
    for owner, expected in ((mine, {}), ("redis", {"orphan:user": "changed"})):
        things = {
            "user": {"kind": "user", "id": "user", "name": mine},
            "volume": {"kind": "volume", "id": "v", "path": "/srv/v", "owner": owner},
        }
        (state / "owned.json").write_text(json.dumps({"things": things, "packages_before": []}))
        guest.fake("userdel", "exit 0")
        assert gone(outcomes(guest.run(base(guest)))) == expected
    assert [one for one in guest.commands() if "userdel" in one] == [f"userdel {mine}"]


def test_a_removal_that_was_cut_off_is_ended_by_the_next_run(guest: Guest) -> None:
    """All the while the record holds both what is there and what shall be: whatever a kill leaves is known."""
    guest.run(base(guest), file_of(guest), link_of(guest))
    seen = guest.root / "state/owned.json"
    watch = Command(id="step", check=("false",), apply=("cp", str(seen), str(guest.root / "seen.json")))
    new = File(id="file:new", path=str(guest.root / "etc/new"), text="", **ME)
    report = guest.run(base(guest), new, watch)
    assert report.failed == "step", "stands for a kill: nothing was removed yet"
    assert Path(file_of(guest).path).exists()
    during = json.loads((guest.root / "seen.json").read_text())["things"]
    assert {one["id"] for one in during.values()} == {"base", "file:a", "link:a", "file:new"}
    assert gone(outcomes(guest.run(base(guest)))) == dict.fromkeys(
        ["orphan:link:a", "orphan:file:a", "orphan:file:new"], "changed"
    )
    assert gone(outcomes(guest.run(base(guest), mode="check"))) == {}
