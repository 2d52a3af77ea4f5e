"""The agent as a program: a request in, a world changed, a report out. Runs as this user, below a folder of its own."""

import contextlib
import fcntl
import hashlib
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest.guest_world import ME, Guest, Pipe, outcomes, state
from tests.support.patience import patience
from zentoria_infra.errors import GuestError
from zentoria_infra.guest import bundle, protocol
from zentoria_infra.guest.state import (
    Absent,
    Command,
    Directory,
    File,
    Health,
    Packages,
    Resource,
    Symlink,
    Unit,
    Volume,
)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_files_are_written_with_mode_and_found_unchanged(guest: Guest) -> None:
    file = File(id="f", path=str(guest.root / "etc/app/a.conf"), text="one\ntwo\n", mode="0640", **ME)
    checked = guest.run(file, mode="check")
    assert outcomes(checked) == {"f": "would-change"}
    assert "+one" in checked.resources[0].diff
    assert not Path(file.path).exists()
    assert outcomes(guest.run(file)) == {"f": "changed"}
    assert Path(file.path).read_text() == "one\ntwo\n"
    assert Path(file.path).stat().st_mode & 0o777 == 0o640
    assert outcomes(guest.run(file)) == {"f": "unchanged"}
    Path(file.path).chmod(0o600)
    again = guest.run(file, mode="check")
    assert again.resources[0].detail == "mode 0600, shall be 0640"
    Path(file.path).write_text("one\nthree\n")
    assert guest.run(file, mode="check").resources[0].diff == "", "what not everybody may read is not shown"
    Path(file.path).chmod(0o644)
    assert "-three\n+two" in guest.run(file).resources[0].diff


def test_an_answer_of_a_letter_is_no_secret_whose_every_letter_is_blotted_out(guest: Guest) -> None:
    login = Command(id="login", check=("echo", "t"), expect="t", apply=("true",), check_stdin="select 1", secret=True)
    bad = Command(id="bad", check=("false",), apply=("sh", "-c", "echo that table is not there; exit 1"))
    report = guest.run(login, bad)
    assert report.failed == "bad"
    assert "that table is not there" in report.resources[1].output


def test_a_secret_is_in_no_report(guest: Guest) -> None:
    secret = "canary-Xk29-canary"
    file = File(id="f", path=str(guest.root / "s"), text=f"password={secret}\n", mode="0600", secret=True, **ME)
    step = Command(
        id="s", check=("false",), apply=("sh", "-c", "cat; exit 3"), apply_stdin=f"set {secret};\n", secret=True
    )
    reports = [guest.run(file, step, mode="check"), guest.run(file, step)]
    assert reports[1].failed == "s"
    assert reports[1].resources[1].output == "********"
    for report in reports:
        assert secret not in report.model_dump_json()


def test_blobs_are_sent_once(guest: Guest) -> None:
    content = b"\x00\x01" * 200_000
    name = hashlib.sha256(content).hexdigest()
    guest.blobs[name] = guest.root / "blob"
    guest.blobs[name].write_bytes(content)
    file = File(id="f", path=str(guest.root / "big"), blob=name, **ME)
    assert outcomes(guest.run(file)) == {"f": "changed"}
    assert Path(file.path).read_bytes() == content
    guest.blobs.clear()
    assert outcomes(guest.run(file)) == {"f": "unchanged"}


def test_a_failure_stops_the_rest_and_says_what_happened(guest: Guest) -> None:
    report = guest.run(
        Command(id="a", check=("false",), apply=("sh", "-c", "echo no such thing >&2; exit 7")),
        File(id="b", path=str(guest.root / "b"), text="", **ME),
    )
    assert report.failed == "a"
    assert outcomes(report) == {"a": "failed", "b": "skipped"}
    assert report.resources[0].detail == "it ended with 7"
    assert "no such thing" in report.resources[0].output
    assert not (guest.root / "b").exists()


def test_a_step_is_done_once_and_must_pass_its_check_afterwards(guest: Guest) -> None:
    mark = guest.root / "mark"
    step = Command(id="s", check=("cat", str(mark)), expect="done", apply=("sh", "-c", f"echo done > {mark}"))
    assert outcomes(guest.run(step)) == {"s": "changed"}
    assert outcomes(guest.run(step)) == {"s": "unchanged"}
    lame = Command(id="s", check=("false",), apply=("true",))
    assert guest.run(lame).resources[0].detail == "it was done, and its check still does not pass"


def test_a_check_does_not_fail_on_what_is_not_there_yet(guest: Guest) -> None:
    report = guest.run(
        Packages(id="p", names=("postgresql",)),
        File(id="f", path=str(guest.root / "f"), text="", owner="nobody-yet", group="nobody-yet"),
        Command(id="s", check=("no-such-command",), apply=("true",), user="nobody-yet"),
        mode="check",
    )
    assert set(outcomes(report).values()) == {"would-change"}
    assert report.failed == ""


def test_packages_are_installed_in_one_transaction_without_starting_services(guest: Guest) -> None:
    done = guest.root / "installed"
    guest.fake("dpkg-query", f'[ -e {done} ] && printf "a\\tii \\t1\\nb\\tii \\t2\\n"; exit 0')
    guest.fake("dpkg", "exit 0")
    guest.fake("apt-get", f'case "$1" in install) [ -x {guest.root}/policy-rc.d ] && touch {done};; esac')
    report = guest.run(Packages(id="p", names=("a", "b=2")))
    assert outcomes(report) == {"p": "changed"}
    (install,) = [line for line in guest.commands() if line.startswith("apt-get install")]
    assert install.endswith(" a b=2")
    assert "--no-install-recommends" in install
    assert outcomes(guest.run(Packages(id="p", names=("a", "b=2")))) == {"p": "unchanged"}
    assert not (guest.root / "policy-rc.d").exists()


def systemctl(guest: Guest, **properties: str) -> None:
    lines = "\\n".join(f"{key}={value}" for key, value in properties.items())
    guest.fake("systemctl", f'case "$1" in show) printf "{lines}\\n";; is-failed) exit 1;; esac')


def verbs(guest: Guest) -> list[str]:
    found = [line.split()[1] for line in guest.commands() if line.startswith("systemctl")]
    return [verb for verb in found if verb in ("start", "restart", "reload", "enable", "stop", "mask", "daemon-reload")]


def test_a_unit_restarts_only_when_what_it_reads_has_changed(guest: Guest) -> None:
    systemctl(guest, Id="app.service", LoadState="loaded", ActiveState="active", UnitFileState="enabled")
    file = File(id="f", path=str(guest.root / "f"), text="1", **ME)
    other = File(id="o", path=str(guest.root / "o"), text="1", **ME)
    unit = Unit(id="u", name="app.service", reads=("f",))
    assert guest.run(file, other, unit).restarted == ("app.service",)
    assert guest.run(file, other, unit).restarted == ()
    assert guest.run(file, other.model_copy(update={"text": "2"}), unit).restarted == ()
    assert guest.run(file.model_copy(update={"text": "2"}), other, unit, mode="check").changes[0].id == "f"
    assert guest.run(file.model_copy(update={"text": "2"}), other, unit).restarted == ("app.service",)
    Path(file.path).write_text("by hand")
    assert guest.run(file.model_copy(update={"text": "2"}), other, unit).restarted == ("app.service",)


def test_reload_or_restart_is_said_per_file(guest: Guest) -> None:
    systemctl(guest, Id="app.service", LoadState="loaded", ActiveState="active", UnitFileState="enabled")
    hard = File(id="h", path=str(guest.root / "h"), text="1", **ME)
    soft = File(id="s", path=str(guest.root / "s"), text="1", **ME)
    unit = Unit(id="u", name="app.service", reads=("h", "s"), reloads=("s",))

    def run(one: str, other: str, mode: str = "apply") -> tuple[tuple[str, ...], tuple[str, ...]]:
        files = (hard.model_copy(update={"text": one}), soft.model_copy(update={"text": other}))
        report = guest.run(*files, unit, mode=mode)
        return report.restarted, report.reloaded

    app = ("app.service",)
    assert run("1", "1") == (app, ())
    assert run("1", "1") == ((), ())
    for mode in ("check", "apply"):
        assert run("1", "2", mode) == ((), app)
    assert run("1", "2") == ((), ())
    for mode in ("check", "apply"):
        assert run("2", "2", mode) == (app, ())
    assert run("3", "3") == (app, ())
    assert run("3", "3") == ((), ())
    # from now on a restart for both: its hash is another one, and it restarts once
    unit = unit.model_copy(update={"reloads": ()})
    assert run("3", "3") == (app, ())
    assert run("3", "4") == (app, ())


def test_a_run_killed_before_a_reload_is_made_good_with_a_reload(guest: Guest) -> None:
    systemctl(guest, Id="app.service", LoadState="loaded", ActiveState="active", UnitFileState="enabled")
    soft = File(id="s", path=str(guest.root / "s"), text="1", **ME)
    unit = Unit(id="u", name="app.service", reads=("s",), reloads=("s",))
    guest.run(soft, unit)
    changed = soft.model_copy(update={"text": "2"})
    failing = Command(id="stop", check=("false",), apply=("false",))
    assert guest.run(changed, failing, unit).failed == "stop"
    report = guest.run(changed, unit)
    assert (report.restarted, report.reloaded) == ((), ("app.service",))


def test_a_run_killed_before_the_restart_is_made_good(guest: Guest) -> None:
    systemctl(guest, Id="app.service", LoadState="loaded", ActiveState="active", UnitFileState="enabled")
    file = File(id="f", path=str(guest.root / "f"), text="1", **ME)
    unit = Unit(id="u", name="app.service", reads=("f",))
    guest.run(file, unit)
    changed = file.model_copy(update={"text": "2"})
    stuck = Command(id="s", check=("false",), apply=("sleep", "60"))
    pipe = guest.pipe()
    begun: list[str] = []

    def heard(event: dict[str, str]) -> None:
        begun.append(event["id"])
        if event["id"] == "s":
            time.sleep(0.2)
            pipe.process.send_signal(signal.SIGKILL)

    with pytest.raises(GuestError, match="ended with exit code -9"):
        protocol.converge(pipe, state(changed, stuck, unit), guest, "apply", heard)
    pipe.end()
    assert begun == ["f", "s"]
    assert Path(file.path).read_text() == "2"
    report = guest.run(changed, unit)
    assert outcomes(report)["f"] == "unchanged"
    assert report.restarted == ("app.service",)


@pytest.mark.parametrize(
    ("seen", "unit", "expected"),
    [
        (
            {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"},
            {},
            ["enable", "start", "daemon-reload"],
        ),
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"},
            {},
            ["enable", "daemon-reload"],
        ),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "static"}, {}, []),
        ({"LoadState": "loaded", "ActiveState": "failed", "UnitFileState": "enabled"}, {}, ["start"]),
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"},
            {"running": False, "masked": True},
            ["mask", "stop"],
        ),
        ({"LoadState": "masked", "ActiveState": "inactive"}, {"running": False, "masked": True}, []),
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "yes"},
            {"running": False, "enabled": None},
            ["daemon-reload", "stop"],
        ),
    ],
)
def test_units_are_brought_to_their_state(guest: Guest, seen, unit, expected) -> None:
    systemctl(guest, Id="app.service", **seen)
    guest.run(Unit(id="u", name="app.service", **unit))
    assert verbs(guest) == expected


def test_systemd_reads_unit_files_once_for_all_that_is_enabled(guest: Guest) -> None:
    names = ("a.service", "b.service", "c.socket")
    shown = "\\n\\n".join(
        f"Id={name}\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=disabled" for name in names
    )
    guest.fake("systemctl", f'case "$1" in show) printf "{shown}\\n";; is-failed) exit 1;; esac')
    report = guest.run(*(Unit(id=name, name=name) for name in names))
    assert set(outcomes(report).values()) == {"changed"}
    assert verbs(guest) == ["enable", "enable", "enable", "daemon-reload"]
    enabled = [line for line in guest.commands() if line.startswith("systemctl enable")]
    assert enabled == [f"systemctl enable --no-reload {name}" for name in names]


def test_a_volume_that_is_not_mounted_is_an_error(guest: Guest) -> None:
    report = guest.run(Volume(id="v", path=str(guest.root), **ME))
    assert "is not a mount point" in report.resources[0].detail


@pytest.mark.parametrize(
    ("files", "beneath"),
    [({}, 0), ({"a": "xyz"}, 3), ({"deep/er/a": "xyz", "b": ""}, 4), (None, 0)],
)
def test_a_look_says_how_much_a_volume_would_hide(guest: Guest, files, beneath) -> None:
    folder = guest.root / "data"
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if files == {}:
        folder.mkdir()
    report = guest.run(Volume(id="v", path=str(folder), **ME), mode="check")
    assert (report.resources[0].outcome, report.resources[0].beneath) == ("would-change", beneath)


def test_health_waits_and_then_says_what_is_wrong(guest: Guest) -> None:
    report = guest.run(Health(id="h", tcp=("127.0.0.1", 1), timeout=1))
    assert report.failed == "h"
    assert "not healthy after 1 seconds" in report.resources[0].detail


def test_a_look_is_patient_with_a_service_that_comes_back_but_not_with_one_that_is_not_made_yet(guest: Guest) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        health = Health(id="h", tcp=server.getsockname(), timeout=30)
        file = File(id="f", path=str(guest.root / "new"), text="", **ME)
        begun = time.monotonic()
        assert outcomes(guest.run(file, health, mode="check"))["h"] == "would-change"
        assert time.monotonic() - begun < patience(3)
        late = threading.Timer(1.0, server.listen)
        late.start()
        assert outcomes(guest.run(health, mode="check")) == {"h": "unchanged"}
        late.join()


def test_two_agents_do_not_work_at_once(guest: Guest) -> None:
    guest.run()
    with (guest.root / "state/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("pid 1 since yesterday")
        held.flush()
        said: list[str] = []

        def heard(event: Mapping[str, object]) -> None:
            said.append(str(event.get("text")))
            fcntl.flock(held, fcntl.LOCK_UN)

        assert guest.run(heard=heard).failed == ""
        assert said == ["wait for another agent: pid 1 since yesterday"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('hello')", "not the agent's words: 'hello'"),
        ("import sys; sys.stderr.write('lxc-attach: no such container'); sys.exit(255)", "exit code 255"),
        ('print(\'{"report": {"vmid": "x"}}\')', "report.vmid"),
        ("print('[1]')", "not the agent's words"),
    ],
)
def test_words_that_are_not_of_the_protocol_are_a_clear_error(guest: Guest, script: str, words: str) -> None:
    pipe = Pipe([sys.executable, "-c", f"import sys\nsys.stdin.buffer.read(10)\n{script}"], guest.environment)
    try:
        with pytest.raises(GuestError, match=words.replace("[", r"\[")):
            protocol.converge(pipe, state(), guest, "check", lambda event: None)
    finally:
        try:
            pipe.end()
        except BrokenPipeError:
            pipe.process.stdout.close()
            pipe.process.stderr.close()


def test_a_guest_without_python_is_told_apart(guest: Guest, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    pipe = Pipe(["/bin/sh", *bundle.agent_argv()[1:]], {"PATH": str(empty)})
    try:
        with pytest.raises(protocol.NoPythonError):
            protocol.converge(pipe, state(), guest, "check", lambda event: None)
    finally:
        pipe.process.wait(10)
        pipe.process.stdout.close()
        pipe.process.stderr.close()
        with contextlib.suppress(BrokenPipeError):
            pipe.process.stdin.close()


names = st.sampled_from(["a", "b", "c", "d/e", "d/f", "g"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60)
modes = st.sampled_from(["0644", "0600", "0755"])


@st.composite
def worlds(draw: st.DrawFn) -> list[Callable[[Path], Resource]]:
    made: list[Callable[[Path], Resource]] = []
    for name in draw(st.lists(names, unique=True, max_size=5)):
        kind = draw(st.sampled_from(["file", "directory", "symlink", "absent"]))
        text, mode = draw(texts), draw(modes)
        if kind == "file":
            made.append(lambda root, n=name, t=text, m=mode: File(id=n, path=str(root / n), text=t, mode=m, **ME))
        elif kind == "directory":
            made.append(lambda root, n=name, m=mode: Directory(id=n, path=str(root / n), mode=m, **ME))
        elif kind == "symlink":
            made.append(lambda root, n=name: Symlink(id=n, path=str(root / n), target="elsewhere"))
        else:
            made.append(lambda root, n=name: Absent(id=n, path=str(root / n)))
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds())
def test_what_was_applied_is_found_unchanged(tmp_path_factory: pytest.TempPathFactory, made) -> None:
    guest = Guest(tmp_path_factory.mktemp("guest"))
    resources = [one(guest.root / "world") for one in made]
    report = guest.run(*resources)
    assert report.failed == "", json.dumps(report.model_dump(), indent=1)
    assert set(outcomes(guest.run(*resources, mode="check")).values()) <= {"unchanged"}
