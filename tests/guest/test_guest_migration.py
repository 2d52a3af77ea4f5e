"""Migrations of a database, and the way back to its dump; psql and the program that migrates are fakes."""

import os
from pathlib import Path

import pytest

from tests.guest.guest_world import ME, Guest, outcomes
from zentoria_infra.guest.artifact import Wheels
from zentoria_infra.guest.protocol import Mode
from zentoria_infra.guest.state import Command, GuestReport, Migration, Release, ResourceReport, Restore, Rollback

ID = "migration:zentoria_core"
PROGRAM = """
[ "$1" = heads ] && { echo '{"zentoria_core": "HEAD"}'; exit 0; }
[ -e FOLDER/broken ] && { echo 'zentoria-schema: migrate: column "x" is not there' >&2; exit 1; }
[ "$1" = migrate ] && echo 0005 > FOLDER/database
[ "$1" = restore ] && echo "$7" > FOLDER/database
exit 0
"""


class Stack:
    """A guest with a database that is at ``at``, and releases that need migrations of their own."""

    def __init__(self, guest: Guest, at: str | None) -> None:
        self.guest = guest
        self.folder = guest.root
        self.root = guest.root / "schema"
        guest.fake("psql", f"cat > /dev/null; cat {guest.root}/database")
        if at is not None:
            (guest.root / "database").write_text(at)
        for version, head in (("1", "0003"), ("2", "0005")):
            program = self.root / "releases" / version / "bin" / "zentoria-schema"
            program.parent.mkdir(parents=True)
            script = PROGRAM.replace("HEAD", head).replace("FOLDER", str(guest.root))
            program.write_text(f'#!/bin/sh\necho "schema-{version} $*" >> {guest.log}\n{script}')
            program.chmod(0o755)
            for mark in (".complete", ".passed"):
                (self.root / "releases" / version / mark).touch()
                os.utime(self.root / "releases" / version / mark, (int(version), int(version)))
        (self.root / "current").symlink_to("releases/2")
        (guest.root / "dumps").mkdir()

    @property
    def migration(self) -> Migration:
        return Migration(
            id=ID, database="zentoria_core", head="0005", root=str(self.root), program="zentoria-schema", port=5432,
            user=ME["owner"], dumps=str(self.folder / "dumps"),
        )  # fmt: skip

    @property
    def release(self) -> Release:
        content = Wheels(wheels=(), requirements="")
        return Release(id="release:schema", root=str(self.root), version="2", content=content, units=())

    def at(self) -> str:
        return (self.folder / "database").read_text().strip()

    def called(self) -> list[str]:
        return [line for line in self.guest.commands() if line.startswith("schema-")]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def report_of(report: GuestReport, name: str = ID) -> ResourceReport:
    return next(one for one in report.resources if one.id == name)


@pytest.mark.parametrize("mode", ["check", "apply"])
def test_one_that_is_there_costs_a_look_and_nothing_else(guest: Guest, mode: Mode) -> None:
    stack = Stack(guest, "0005\n")
    report = guest.run(stack.migration, mode=mode)
    assert outcomes(report) == {ID: "unchanged"}
    assert stack.called() == []
    assert sum(line.startswith("psql") for line in guest.commands()) == 1


@pytest.mark.parametrize(
    ("at", "words"),
    [("", "migrate zentoria_core from nothing -> 0005"), ("0003\n", "migrate zentoria_core 0003 -> 0005")],
)
def test_an_older_one_is_shown_and_then_brought_forward_behind_a_dump(guest: Guest, at: str, words: str) -> None:
    stack = Stack(guest, at)
    looked = report_of(guest.run(stack.migration, mode="check"))
    assert (looked.outcome, looked.detail, looked.before, looked.after) == ("would-change", words, at.strip(), "0005")
    assert stack.called() == []
    assert outcomes(guest.run(stack.migration)) == {ID: "changed"}
    assert stack.called() == [f"schema-2 migrate --database zentoria_core --dumps {stack.folder}/dumps"]
    assert outcomes(guest.run(stack.migration)) == {ID: "unchanged"}


def test_what_fails_says_where_the_database_is_and_why(guest: Guest) -> None:
    stack = Stack(guest, "0003\n")
    (stack.folder / "broken").touch()
    report = guest.run(stack.migration)
    bad = report_of(report)
    assert report.failed == ID
    assert bad.detail == "zentoria_core is not migrated, and is as it was, at 0003"
    assert 'column "x" is not there' in bad.output


def test_a_newer_one_is_left_alone(guest: Guest) -> None:
    stack = Stack(guest, "0007\n")
    modes: tuple[Mode, ...] = ("check", "apply")
    for mode in modes:
        report = guest.run(stack.migration, mode=mode)
        assert report.failed == ID
        assert "zentoria_core is at migration 0007, and this release has none after 0005" in report_of(report).detail
        assert "zentoria rollback" in report_of(report).detail
    assert stack.called() == []


def test_without_an_answer_it_is_new_where_something_before_it_is_and_else_an_error(guest: Guest) -> None:
    stack = Stack(guest, None)
    before = Command(id="make it", check=("false",), apply=("true",))
    looked = report_of(guest.run(before, stack.migration, mode="check"))
    assert (looked.outcome, looked.detail) == ("would-change", "migrate zentoria_core from nothing -> 0005")
    report = guest.run(stack.migration, mode="check")
    assert report.failed == ID
    assert "does not say which migration it has" in report_of(report).detail


def _back(stack: Stack) -> tuple[Restore, Rollback]:
    restore = Restore(id="restore:zentoria_core", migration=stack.migration, release=stack.release, back=1)
    return restore, Rollback(id="rollback release:schema", release=stack.release, back=1, by="me")


def test_back_to_a_release_with_another_migration_goes_back_to_its_newest_dump(guest: Guest) -> None:
    stack = Stack(guest, "0005\n")
    for stamp in ("20261128T000000Z", "20261129T101112Z"):
        (stack.folder / "dumps" / f"zentoria_core-0003-{stamp}.dump").touch()
    looked = report_of(guest.run(*_back(stack), mode="check", whole=False), "restore:zentoria_core")
    assert looked.detail == (
        "zentoria_core 0005 -> 0003, as it was dumped at 20261129T101112Z: what was written since is lost"
    )
    assert stack.at() == "0005"
    report = guest.run(*_back(stack), whole=False)
    assert set(outcomes(report).values()) == {"changed"}
    assert stack.at() == "0003"
    # the newer release knows how to; the older one need not
    assert stack.called()[-1].startswith("schema-2 restore --database zentoria_core")
    assert (stack.root / "current").readlink().name == "1"


def test_back_to_a_release_with_the_same_migration_is_that_alone(guest: Guest) -> None:
    stack = Stack(guest, "0003\n")
    report = guest.run(*_back(stack), whole=False)
    assert outcomes(report) == {"restore:zentoria_core": "unchanged", "rollback release:schema": "changed"}
    assert [line for line in stack.called() if "heads" not in line] == []


def test_without_its_dump_nothing_goes_back(guest: Guest) -> None:
    stack = Stack(guest, "0005\n")
    (stack.folder / "dumps" / "zentoria_core-0004-20261129T101112Z.dump").touch()
    report = guest.run(*_back(stack), whole=False)
    assert report.failed == "restore:zentoria_core"
    assert "no dump of zentoria_core at migration 0003" in report_of(report, report.failed).detail
    assert "zentoria_core-0004-20261129T101112Z.dump" in report_of(report, report.failed).detail
    assert (stack.root / "current").readlink().name == "2"


def test_what_is_not_restored_leaves_the_release_of_now(guest: Guest) -> None:
    stack = Stack(guest, "0005\n")
    (stack.folder / "dumps" / "zentoria_core-0003-20261129T101112Z.dump").touch()
    (stack.folder / "broken").touch()
    report = guest.run(*_back(stack), whole=False)
    assert report.failed == "restore:zentoria_core"
    assert (stack.root / "current").readlink().name == "2"
