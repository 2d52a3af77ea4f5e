"""Releases that are archives: deployed, switched, returned from, pruned, gone back to; and what is not unpacked."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.guest_world import ME, Guest, outcomes
from tests.guest.test_guest_release import Service, killed_at
from zentoria_infra.guest.artifact import Archive
from zentoria_infra.guest.state import File, Release, Rollback

Entry = tuple[str, bytes, str | bytes]
"""Name, type (as tarfile has it), and content or target."""


def packed(guest: Guest, *entries: Entry, **more: object) -> Archive:
    held = io.BytesIO()
    size = 0
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, kind, what in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755 if name.startswith("bin/") else 0o600
            if isinstance(what, str):
                info.linkname = what
                archive.addfile(info)
            else:
                info.size = len(what)
                size += len(what)
                archive.addfile(info, io.BytesIO(what))
    defaults = {"blob": guest.add_blob(gzip.compress(held.getvalue(), mtime=0)), "size": size, "entries": len(entries)}
    return Archive.model_validate({**defaults, **more})


def program(version: str) -> tuple[Entry, ...]:
    return (
        ("bin", tarfile.DIRTYPE, ""),
        ("bin/app", tarfile.REGTYPE, f"#!/bin/sh\necho {version} with $DSN\n".encode()),
        ("lib/a/data", tarfile.REGTYPE, b"d" * 10_000),
        ("lib/newest", tarfile.SYMTYPE, "../lib/a"),
        ("app", tarfile.SYMTYPE, "bin/app"),
    )


class Deployment(Service):
    def archive(self, version: str, **more: object) -> Release:
        given = {"content": packed(self.guest, *program(version)), "preflight": ("bin/app",)}
        return self.release("1.0", **{**given, **more}).model_copy(update={"version": version})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Deployment]:
    service = Deployment(Guest(tmp_path))
    yield service
    service.server.shutdown()
    service.server.server_close()


def test_an_archive_is_deployed_once_and_readable_by_its_service(service: Deployment) -> None:
    first = service.archive("1")
    assert outcomes(service.guest.run(first, mode="check")) == {"app": "would-change"}
    assert not service.root.exists()
    report = service.guest.run(first)
    assert report.failed == "", report
    assert (service.current, service.restarts()) == ("1", 1)
    current = service.root / "current"
    assert (current / "app").read_bytes() == (current / "bin/app").read_bytes()
    assert (current / "lib/newest/data").read_bytes() == b"d" * 10_000
    modes = {name: (current / name).stat().st_mode & 0o7777 for name in ("bin/app", "lib/a/data", "lib", ".")}
    assert modes == {"bin/app": 0o755, "lib/a/data": 0o644, "lib": 0o755, ".": 0o755}
    service.guest.blobs.clear()
    assert outcomes(service.guest.run(first)) == {"app": "unchanged"}
    assert service.restarts() == 1


def test_a_preflight_runs_in_the_archive_with_the_environment(service: Deployment) -> None:
    env = File(id="env", path=str(service.guest.root / "env"), text="DSN=here\n", **ME)
    broken = (("bin/app", tarfile.REGTYPE, b'#!/bin/sh\ntest "$DSN" = here && echo it is; exit 3\n'),)
    report = service.guest.run(
        env, service.archive("1", content=packed(service.guest, *broken), environment_file=env.path)
    )
    assert report.failed == "app" and "it is" in report.resources[1].output
    assert service.current == ""


def test_a_sick_archive_is_left_for_the_last_release_of_any_kind(service: Deployment) -> None:
    service.guest.run(service.archive("1"))
    service.sick.add("2")
    report = service.guest.run(service.archive("2"))
    assert report.failed == "app" and "returned to release 1" in report.resources[0].detail
    assert (service.current, service.restarts()) == ("1", 3)
    service.sick.clear()
    assert outcomes(service.guest.run(service.archive("2"))) == {"app": "changed"}
    assert service.current == "2"


def test_old_archives_go_and_it_is_gone_back_to_those_that_stay(service: Deployment) -> None:
    for version in ("1", "2", "3", "4"):
        assert service.guest.run(service.archive(version, keep=2)).failed == ""
        os.utime(service.root / "releases" / version / ".complete", (1_000_000, 1_000_000 + int(version)))
    assert sorted(os.listdir(service.root / "releases")) == ["3", "4"]
    back = Rollback(id="back", release=service.archive("9"), back=1, by="ann@desk")
    assert service.guest.run(back).failed == ""
    assert service.current == "3"
    assert not list((service.guest.root / "state/incoming").iterdir()), "nothing of an archive stays but its files"


@pytest.mark.parametrize("moment", ["unpack", "restart"])
def test_a_killed_deployment_of_an_archive_is_made_good(service: Deployment, moment: str) -> None:
    service.guest.run(service.archive("1"))
    killed_at(service, moment, service.archive("2"))
    assert service.guest.run(service.archive("2")).failed == ""
    assert service.current == "2"


OK: Entry = ("ok", tarfile.REGTYPE, b"ok")


@pytest.mark.parametrize(
    ("entries", "more", "said"),
    [
        ((("../out", tarfile.REGTYPE, b"x"),), {}, "no path within"),
        ((("/tmp/out", tarfile.REGTYPE, b"x"),), {}, "no path within"),
        ((("a/../../out", tarfile.REGTYPE, b"x"),), {}, "no path within"),
        (((".complete", tarfile.REGTYPE, b"x"),), {}, "a name that is not for it"),
        (((".passed/x", tarfile.REGTYPE, b"x"),), {}, "a name that is not for it"),
        ((("out", tarfile.SYMTYPE, "/etc"),), {}, "leads out of it"),
        ((("a/out", tarfile.SYMTYPE, "../../x"),), {}, "leads out of it"),
        (
            # the second looks harmless by its text: through the first it leads elsewhere
            (("p/q/r/a", tarfile.SYMTYPE, "../../../x"), ("p/q/r/b", tarfile.SYMTYPE, "a/../.."), ("x/f", b"0", b"")),
            {},
            "leads out of it",
        ),
        ((("d", tarfile.SYMTYPE, "ok"), ("d/f", tarfile.REGTYPE, b"x")), {}, "File exists"),
        ((OK, ("hard", tarfile.LNKTYPE, "ok")), {}, "no file, directory or symbolic link"),
        ((("null", tarfile.CHRTYPE, ""),), {}, "no file, directory or symbolic link"),
        ((("pipe", tarfile.FIFOTYPE, ""),), {}, "no file, directory or symbolic link"),
        ((OK, OK), {}, "File exists"),
        ((OK, ("more", tarfile.REGTYPE, b"x")), {"entries": 1}, "holds more"),
        ((OK,), {"size": 1}, "holds more"),
    ],
)
def test_what_is_not_unpacked(service: Deployment, entries: tuple[Entry, ...], more: dict[str, int], said: str) -> None:
    service.guest.run(service.archive("1"))
    report = service.guest.run(service.archive("2", content=packed(service.guest, *entries, **more)))
    assert report.failed == "app"
    assert said in report.resources[0].detail
    assert service.current == "1"
    assert not (service.root / "releases/2/.complete").exists()
    assert not (service.root / "out").exists() and not (service.root / "releases/out").exists()
    assert not Path("/tmp/out").exists()


def test_an_archive_that_is_none(service: Deployment) -> None:
    content = Archive(blob=service.guest.add_blob(b"no gzip at all"), size=9, entries=9)
    report = service.guest.run(service.archive("1", content=content))
    assert report.failed == "app" and "cannot be unpacked" in report.resources[0].detail
    half = gzip.compress(os.urandom(50_000))[:20_000]
    content = Archive(blob=service.guest.add_blob(half), size=99_999, entries=9)
    assert service.guest.run(service.archive("1", content=content)).failed == "app"


def test_a_port_can_be_the_gate(service: Deployment) -> None:
    port = service.server.server_address[1]
    assert service.guest.run(service.archive("1", health_url=None, health_tcp=("127.0.0.1", port))).failed == ""
    report = service.guest.run(service.archive("2", health_url=None, health_tcp=("127.0.0.1", 1), health_timeout=0))
    assert "returned to release 1" in report.resources[0].detail
    assert report.resources[0].command == "connect to 127.0.0.1:1"
    assert service.current == "1"
