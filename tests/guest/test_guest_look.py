"""What a look tells beforehand: which units would restart or reload, and secrets as keyed fingerprints."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from tests.guest.guest_world import ME, Guest
from zentoria_infra.guest.protocol import key_of
from zentoria_infra.guest.state import File, GuestReport, Packages, Resource, ResourceReport, Symlink, Unit

RUNNING = "Id={0}\nLoadState=loaded\nActiveState={1}\nUnitFileState=enabled\n"
KEY = b"k" * 32


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def of(report: GuestReport, name: str) -> ResourceReport:
    return next(one for one in report.resources if one.id == name)


def shown(guest: Guest, **active: str) -> None:
    """Have systemctl show these states, by unit without its suffix; blocks are parted by an empty line."""
    blocks = "\n".join(RUNNING.format(f"{name}.service", state) for name, state in active.items())
    guest.fake("systemctl", f"case $1 in show) cat <<'END'\n{blocks}\nEND\n;; is-failed) exit 1;; esac")


def world(guest: Guest) -> list[Resource]:
    conf = File(id="file:conf", path=str(guest.root / "conf"), text="new\n", **ME)
    other = File(id="file:other", path=str(guest.root / "other"), text="same\n", **ME)
    Path(other.path).write_text("same\n")
    Path(other.path).chmod(0o644)
    reads = ("file:conf", "file:other")
    return [
        conf,
        other,
        Unit(id="unit:a", name="a.service", reads=reads),
        Unit(id="unit:b", name="b.service", reads=reads, reloads=reads),
        Unit(id="unit:c", name="c.service"),
    ]


def test_a_look_names_the_units_that_would_restart_reload_and_start_and_for_what(guest: Guest) -> None:
    shown(guest, a="active", b="active", c="inactive")
    report = guest.run(*world(guest), mode="check")
    assert (report.restarted, report.reloaded) == (("a.service", "c.service"), ("b.service",))
    conf = of(report, "file:conf")
    assert (conf.restarts, conf.reloads) == (("a.service",), ("b.service",))
    assert (of(report, "file:other").restarts, of(report, "file:other").outcome) == ((), "unchanged")
    assert of(report, "unit:a").restarts == ("a.service",)
    stopped = of(report, "unit:c")
    assert (stopped.detail, stopped.before, stopped.after, stopped.restarts) == ("start", "inactive", "active", ())


def test_what_a_look_promised_is_what_is_done(guest: Guest) -> None:
    shown(guest, a="active", b="active", c="inactive")
    resources = world(guest)
    looked = guest.run(*resources, mode="check")
    done = guest.run(*resources)
    assert (done.restarted, done.reloaded) == (looked.restarted, looked.reloaded)
    assert [(one.id, one.restarts, one.reloads, one.before, one.after) for one in done.changes] == [
        (one.id, one.restarts, one.reloads, one.before, one.after) for one in looked.changes
    ]


def test_a_secret_file_shows_keyed_fingerprints_of_both_contents(guest: Guest) -> None:
    path = guest.root / "secret"
    path.write_text("hunter2")
    path.chmod(0o600)
    file = File(id="f", path=str(path), text="hunter3", mode="0600", secret=True, **ME)
    found = of(guest.run(file, mode="check", key=KEY), "f")

    def fingerprint(text: str) -> str:
        inner = hashlib.sha256(text.encode()).hexdigest().encode()
        return "hmac " + hmac.new(bytes.fromhex(key_of(KEY, 404)), inner, "sha256").hexdigest()[:8]

    assert (found.before, found.after, found.diff) == (fingerprint("hunter2"), fingerprint("hunter3"), "")
    keyless = of(guest.run(file, mode="check"), "f")
    assert (keyless.before, keyless.after) == ("secret", "secret")
    path.unlink()
    assert of(guest.run(file, mode="check", key=KEY), "f").before == ""


def test_a_file_that_not_everybody_may_read_has_no_plain_hash(guest: Guest) -> None:
    path = guest.root / "was-secret"
    path.write_text("1234")
    path.chmod(0o600)
    file = File(id="f", path=str(path), text="public\n", **ME)
    found = of(guest.run(file, mode="check", key=KEY), "f")
    assert found.before.startswith("hmac ")
    assert found.diff == ""
    path.chmod(0o644)
    assert of(guest.run(file, mode="check", key=KEY), "f").before == "sha256 " + hashlib.sha256(b"1234").hexdigest()[:8]


def test_packages_links_and_their_versions(guest: Guest) -> None:
    guest.fake("dpkg-query", "printf 'redis\\tii \\t1.0\\n'")
    link = Symlink(id="link:l", path=str(guest.root / "l"), target="/new")
    Path(link.path).symlink_to("/old")
    report = guest.run(Packages(id="packages", names=("redis=2.0", "nginx")), link, mode="check")
    found = of(report, "packages")
    assert (found.before, found.after) == ("redis 1.0", "redis=2.0, nginx")
    assert (of(report, "link:l").before, of(report, "link:l").after) == ("/old", "/new")
