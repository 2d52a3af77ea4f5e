"""What the agent must not do: follow others' links, tell secrets, hang, or leave things half done."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest.guest_world import ME, Guest, outcomes, state
from zentoria_infra.errors import GuestError
from zentoria_infra.guest import bundle, protocol
from zentoria_infra.guest.agent.masking import GRAM, Mask
from zentoria_infra.guest.state import Command, Directory, File, Health, Packages, Resource, Symlink

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link that is somebody else's")
STRANGER = 65534


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_a_link_that_another_user_made_is_not_followed(guest: Guest, kind: str) -> None:
    target = guest.root / "precious"
    target.mkdir()
    link = guest.root / "link"
    link.symlink_to(target)
    os.lchown(link, STRANGER, STRANGER)
    path = str(link / "x")
    resources: dict[str, Resource] = {
        "file": File(id="x", path=path, text="1", **ME),
        "directory": Directory(id="x", path=path, **ME),
        "symlink": Symlink(id="x", path=path, target="/"),
    }
    report = guest.run(resources[kind])
    assert report.failed == "x"
    assert "in the way" in report.resources[0].detail
    assert list(target.iterdir()) == []


def test_a_link_that_is_ours_is_followed_and_one_in_the_files_place_is_replaced(guest: Guest) -> None:
    (guest.root / "real").mkdir()
    (guest.root / "real/deep").symlink_to("../other")
    (guest.root / "other").mkdir()
    (guest.root / "link").symlink_to("real")
    precious = guest.root / "precious"
    precious.write_text("password")
    place = guest.root / "other/x"
    place.symlink_to(precious)
    file = File(id="x", path=str(guest.root / "link/deep/x"), text="1", **ME)
    checked = guest.run(file, mode="check")
    assert "password" not in checked.model_dump_json()
    assert outcomes(guest.run(file)) == {"x": "changed"}
    assert (place.is_symlink(), place.read_text(), precious.read_text()) == (False, "1", "password")


def test_a_folder_that_is_a_link_is_an_error(guest: Guest) -> None:
    (guest.root / "d").symlink_to("/tmp")
    report = guest.run(Directory(id="d", path=str(guest.root / "d"), **ME))
    assert report.failed == "d"


def test_a_blob_whose_mode_differs_is_not_sent_again(guest: Guest) -> None:
    file = File(id="f", path=str(guest.root / "f"), blob=guest.add_blob(b"content"), **ME)
    guest.run(file)
    guest.blobs.clear()
    Path(file.path).chmod(0o600)
    assert outcomes(guest.run(file)) == {"f": "changed"}
    assert Path(file.path).stat().st_mode & 0o777 == 0o644
    assert Path(file.path).read_bytes() == b"content"


def test_a_daemon_left_behind_does_not_hold_up_the_run(guest: Guest) -> None:
    mark = guest.root / "pid"
    step = Command(
        id="s", check=("test", "-e", str(mark)), apply=("sh", "-c", f"sleep 50 & echo $! > {mark}"), timeout=40
    )
    report = guest.run(step)
    os.kill(int(mark.read_text()), signal.SIGKILL)
    assert report.failed == ""
    assert report.seconds < 40


def test_a_command_that_takes_too_long_is_ended_with_its_children(guest: Guest) -> None:
    mark = guest.root / "pid"
    apply = ("sh", "-c", f"sleep 50 & echo $! > {mark}; echo begun; wait")
    report = guest.run(Command(id="s", check=("false",), apply=apply, timeout=1))
    assert "ran longer than 1 seconds" in report.resources[0].output
    assert "begun" in report.resources[0].output
    child = Path(f"/proc/{mark.read_text().strip()}/stat")
    until = time.monotonic() + 10
    while child.exists() and child.read_text().split()[2] != "Z" and time.monotonic() < until:
        time.sleep(0.01)
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_what_a_step_expects_is_looked_for_in_its_standard_output_alone(guest: Guest) -> None:
    check = ("sh", "-c", "echo NOTICE: hello >&2; echo 1")
    assert outcomes(guest.run(Command(id="s", check=check, expect="1", apply=("false",)))) == {"s": "unchanged"}


@needs_root
@pytest.mark.root
def test_a_step_runs_as_its_user_who_can_read_its_input(guest: Guest) -> None:
    guest.root.chmod(0o755)
    check = ("sh", "-c", "id -un; id -Gn; cat /dev/stdin")
    step = Command(
        id="s", check=check, check_stdin="said", expect="nobody\nnogroup\nsaid", apply=("false",), user="nobody"
    )
    assert outcomes(guest.run(step)) == {"s": "unchanged"}


def test_health_asks_the_whole_url_and_says_what_it_got(guest: Guest) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if len(asked) > 1 else 500)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        report = guest.run(Health(id="h", url=f"http://127.0.0.1:{server.server_address[1]}/a?b=c", timeout=20))
        server.shutdown()
    assert outcomes(report) == {"h": "unchanged"}
    assert asked == ["/a?b=c", "/a?b=c"]


def test_the_ban_on_starting_services_ends_with_the_next_run(guest: Guest) -> None:
    guest.fake("apt-get", "exit 1")
    guest.fake("dpkg-query", "exit 0")
    policy = guest.root / "policy-rc.d"
    pipe = guest.pipe()
    guest.fake("dpkg", "exec sleep 20")  # while it sleeps, the ban is there

    def heard(event: dict[str, str]) -> None:
        until = time.monotonic() + 10
        while not policy.exists() and time.monotonic() < until:
            time.sleep(0.01)
        pipe.process.send_signal(signal.SIGKILL)

    try:
        with pytest.raises(GuestError):
            protocol.converge(pipe, state(Packages(id="p", names=("a",))), guest, "apply", heard)
    finally:
        pipe.end()
    assert policy.exists()
    guest.run(mode="check")
    assert policy.exists(), "a check changes nothing"
    guest.run()
    assert not policy.exists()


def test_somebody_elses_ban_stays(guest: Guest) -> None:
    policy = guest.root / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    guest.run()
    assert policy.exists()


@pytest.mark.parametrize("moment", range(6))
def test_an_agent_killed_anywhere_is_made_good(guest: Guest, moment: int) -> None:
    log = guest.root / "log"
    resources: list[Resource] = [
        Directory(id="0", path=str(guest.root / "w/d"), mode="0700", **ME),
        File(id="1", path=str(guest.root / "w/d/f"), blob=guest.add_blob(b"b" * 3_000_000), mode="0600", **ME),
        Symlink(id="2", path=str(guest.root / "w/l"), target="d"),
        Command(id="3", check=("test", "-e", str(log)), apply=("sh", "-c", f"sleep 0.05; echo done > {log}")),
        File(id="4", path=str(guest.root / "w/e"), text="e", **ME),
        File(id="5", path=str(guest.root / "w/g"), text="g", **ME),
    ]
    pipe = guest.pipe()

    def heard(event: dict[str, str]) -> None:
        if event["id"] == str(moment):
            pipe.process.send_signal(signal.SIGKILL)

    try:
        protocol.converge(pipe, state(*resources), guest, "apply", heard)
    except GuestError as error:
        assert "exit code -9" in str(error)  # it may also have ended before the signal came
    pipe.end()
    assert guest.run(*resources).failed == ""
    assert set(outcomes(guest.run(*resources, mode="check")).values()) == {"unchanged"}
    assert not [name for _, _, names in os.walk(guest.root / "w") for name in names if name.startswith(".zentoria")]


def test_what_was_sent_before_the_connection_dropped_is_not_sent_again(guest: Guest) -> None:
    first, second = guest.add_blob(b"1" * 100), guest.add_blob(b"2" * 100)
    resources = [File(id=name, path=str(guest.root / name), blob=name, **ME) for name in sorted((first, second))]

    class Dropping:
        """Says nothing more after one blob."""

        def path(self, sha256: str) -> Path:
            if sha256 != resources[0].id:
                raise ConnectionResetError
            return guest.path(sha256)

    pipe = guest.pipe()
    with pytest.raises(ConnectionResetError):
        protocol.converge(pipe, state(*resources), Dropping(), "apply", lambda event: None)
    pipe.end()
    del guest.blobs[resources[0].id]
    assert set(outcomes(guest.run(*resources)).values()) == {"changed"}


def test_a_request_of_another_version_is_refused(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "VERSION", 99)
    with pytest.raises(GuestError, match="the request is of 99"):
        guest.run()


def test_a_state_folder_that_cannot_be_made_is_a_clear_error(guest: Guest) -> None:
    (guest.root / "state").write_text("not a folder")
    with pytest.raises(GuestError, match="state: "):
        guest.run()


def test_an_agent_that_ended_before_the_request_was_written_still_tells_why(guest: Guest) -> None:
    """A pipe holds 64 KiB: with more to write, the write itself breaks."""
    big = File(id="f", path="/nowhere", text=os.urandom(300_000).hex(), **ME)
    argv = bundle.agent_argv()
    empty = guest.root / "empty"
    empty.mkdir()
    pipe = guest.pipe_of(["/bin/sh", *argv[1:]], {"PATH": str(empty)})
    with pytest.raises(protocol.NoPythonError):
        protocol.converge(pipe, state(big), guest, "apply", lambda event: None)
    pipe.abandon()


def test_the_agent_runs_where_only_the_standard_library_is(guest: Guest) -> None:
    script = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p];" + bundle._LOADER
    pipe = guest.pipe_of([sys.executable, "-I", "-S", "-c", script], guest.environment)
    report = protocol.converge(pipe, state(), guest, "check", lambda event: None)
    pipe.end()
    assert report.failed == ""


def test_the_bootstrap_is_one_shell_line_whatever_the_proxy(guest: Guest) -> None:
    argv = bundle.bootstrap_argv("http://10.0.0.1:3128/;touch x")
    guest.fake("apt-get", "exit 0")
    subprocess.run(argv, env={"PATH": f"{guest.bin}:{os.environ['PATH']}"}, cwd=guest.root, check=True)
    assert not (guest.root / "x").exists()
    assert "apt-get -o Acquire::http::Proxy=http://10.0.0.1:3128/;touch x -q update" in guest.commands()


secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=GRAM, max_size=40)


@given(secrets, st.text(max_size=30), st.text(max_size=30), st.data())
def test_no_piece_of_a_secret_is_reported(secret: str, before: str, after: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(secret) - GRAM))
    end = data.draw(st.integers(start + GRAM, len(secret)))
    step = {"kind": "command", "secret": True, "check_stdin": None, "expect": None}
    mask = Mask([{**step, "apply_stdin": f"ALTER ROLE x PASSWORD {secret};"}])
    said = mask(before + secret[start:end] + after)
    pieces = (secret[at : at + GRAM] for at in range(len(secret) - GRAM + 1))
    assert not [piece for piece in pieces if piece in said and not set(piece) <= set("=_*#-")]


@pytest.mark.parametrize(("state", "shown"), [(False, True), (True, False), (None, False)])
def test_a_releases_environment_is_secret_unless_the_state_says_that_it_is_not(tmp_path, state, shown) -> None:
    path = tmp_path / "environment"
    path.write_text("ZENTORIA_DATABASE_NAME=zentoria_core\n")
    file = {"kind": "file", "path": str(path), "text": path.read_text(), "secret": state}
    release = {"kind": "release", "environment_file": str(path)}
    said = Mask([release] if state is None else [file, release])("database zentoria_core is not there")
    assert ("zentoria_core" in said) is shown


def test_what_is_no_secret_is_reported_as_it_is() -> None:
    open_step = {
        "kind": "command",
        "secret": False,
        "check_stdin": None,
        "expect": None,
        "apply_stdin": "CREATE ROLE x",
    }
    assert Mask([open_step])("CREATE ROLE x") == "CREATE ROLE x"
