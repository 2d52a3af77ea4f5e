"""What comes over SSH becomes at most one program, of the few that pct knows, and pct's own words otherwise."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zentoria_infra.lab.shell import pct, pct_api
from zentoria_infra.lab.shell.pct import Parsed, Pct, PctError, Settings, parse

HOSTILE = (
    "pct exec 404 -- sh -c 'id; rm -rf /'",
    "pct list; rm -rf /",
    "pct list && id",
    "pct list | tee /etc/passwd",
    "pct exec 404 -- true\nid",
    "pct exec '404; id' -- true",
    "pct exec 404$(id) -- true",
    "pct exec 404 -- `id`",
    "pct exec ../../1 -- true",
    "/bin/sh -c id",
    "env pct list",
    "pct exec 404 --rcfile /x -- id",
    "pct push 404 ../../etc/shadow /tmp/x",
    "pct pull 404 /etc/passwd /etc/cron.d/x",
    "pct set 404 --hookscript local:snippets/x",
    "pct rollback 404 ../../405/snapshot/x",
    "pct delsnapshot 404 x/../y --force",
    "PATH=/tmp pct list",
    "",
    "'",
    "pct",
    "pct\0list",
    "conntrack",
    "conntrack -F",
    "conntrack -E",
    "conntrack -U -m 1",
    "conntrack -D -s 10.10.40.4; id",
    "conntrack -D -s '$(id)'",
    "conntrack -D -p tcp --dport 65536",
    "conntrack -D -s",
    "conntrack -L expect",
    "conntrack -L --any-nat 1.2.3.4",
    "conntrack -D -s 10.10.40.4 id",
    "/tmp/conntrack -L",
)


class Became(Exception):
    """The program that would have taken our place."""

    def __init__(self, file: str, argv: list[str], env: dict[str, str]) -> None:
        super().__init__(file)
        self.file = file
        self.argv = argv
        self.env = env


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pct]:
    root = tmp_path_factory.mktemp("node")
    (root / "pve/lxc").mkdir(parents=True)
    (root / "pve/lxc/404.conf").write_text("hostname: db\n")
    (root / "files").mkdir()
    (root / "files/page").write_text("hello")
    values = {
        "node": "pve", "pve": str(root / "pve"), "guests": str(root / "guests"), "netns": "zt-test",
        "socket": str(root / "none.sock"), "files": str(root / "files"), "path": "/usr/bin:/bin",
        "package": str(root),
    }  # fmt: skip
    text = Settings.render(values, ["lxc-attach", "-n", pct.VMID_MARK, "--"])
    patch = pytest.MonkeyPatch()
    patch.setattr(Pct, "_pid", lambda self, vmid: 1234)
    patch.setattr(pct, "os", Os())
    yield Pct(Settings(text))
    patch.undo()


class Os:
    """The module ``os`` for pct alone, with which nothing is executed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def execvpe(self, file: str, argv: list[str], env: dict[str, str]) -> None:
        raise Became(file, argv, env)

    def chdir(self, path: str) -> None:
        assert path == "/"

    def dup2(self, descriptor: int, other: int) -> None:
        os.close(descriptor)


def run(node: Pct, line: str) -> Became | str | int:
    """What a line does: a program, words on standard error, or an exit code."""
    try:
        return node.run(parse(line))
    except Became as became:
        return became
    except PctError as error:
        return str(error)


@pytest.mark.parametrize("line", HOSTILE)
def test_nothing_but_one_guest_program_comes_of_a_hostile_line(node: Pct, line: str) -> None:
    outcome = run(node, line)
    if isinstance(outcome, Became):
        words = shlex.split(line)
        assert words[:3] == ["pct", "exec", "404"]
        assert outcome.argv[:4] == ["lxc-attach", "-n", "404", "--"]
    else:
        assert isinstance(outcome, str), outcome


WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["pct", "exec", "push", "pull", "set", "404", "--", "-", ";", "&&", "|", "$(id)", "`id`", "\n", "'"]
    ),
)


@given(st.lists(WORDS, max_size=8), st.booleans())
@example(["pct", "exec", "404", "--", "sh", "-c", "a;b"], True)
@example(["pct", "exec", "404", "--", "--", "x"], True)
@settings(max_examples=400, deadline=None)
def test_any_line_runs_at_most_what_it_names_in_its_own_words(node: Pct, words: list[str], quoted: bool) -> None:
    line = shlex.join(words) if quoted else " ".join(words)
    outcome = run(node, line)
    if isinstance(outcome, Became):
        sent = shlex.split(line)
        assert outcome.file == "lxc-attach"
        assert outcome.argv[:4] == ["lxc-attach", "-n", "404", "--"]
        rest = outcome.argv[4:]
        verb = sent[1]
        if verb == "exec":
            assert sent[-len(rest) :] == rest  # word for word what was sent, none split or joined
        else:
            assert rest[0] in ("/bin/sh", "/bin/cat")
        assert set(outcome.env) == {"PATH", "LC_ALL"}
    else:
        assert outcome != 0 or words[:2] == ["pct", "list"]


@pytest.mark.parametrize(
    "line",
    [
        "conntrack -D -s 10.10.40.5 -d 10.10.40.4 -p tcp --dport 5432",
        "conntrack -D -s 10.10.40.0/24 -f ipv4",
        "conntrack -L conntrack -d fe80::1 -f ipv6 -o extended",
        "conntrack -L",
    ],
)
def test_connections_are_those_of_the_labs_own_network(node: Pct, line: str) -> None:
    outcome = run(node, line)
    assert isinstance(outcome, Became)
    assert outcome.argv == ["nsenter", "--net=/run/netns/zt-test", "--", *shlex.split(line)]


def test_a_lab_without_guests_has_no_connections(node: Pct, capsys: pytest.CaptureFixture[str]) -> None:
    empty = Pct(Settings(Settings.render(node._settings.values, [])))
    assert run(empty, "conntrack -D -s 10.10.40.5") == 1
    assert "0 flow entries have been deleted" in capsys.readouterr().err
    assert run(empty, "conntrack -L") == 0


@given(st.text(max_size=60))
def test_whatever_is_sent_is_parsed_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except PctError as error:
        assert str(error)
    else:
        assert isinstance(found, Parsed)
        assert found.verb in (*pct.USAGE, "conntrack")


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=20), min_size=1, max_size=6))
def test_a_program_gets_the_arguments_that_the_client_quoted(argv: list[str]) -> None:
    assert list(parse(shlex.join(["pct", "exec", "404", "--", *argv])).extra) == argv


def test_the_double_dash_after_the_vmid_may_be_left_out() -> None:
    assert parse("pct exec 404 ls -- -l").extra == ("ls", "--", "-l")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pct exec 404", "missing command"),
        ("pct exec 999 -- id", "Configuration file 'nodes/pve/lxc/999.conf' does not exist"),
        ("pct exec", "400 not enough arguments\npct exec <vmid> [<extra-args>]"),
        ("pct status 404 405", "400 too many arguments\npct status <vmid> [OPTIONS]"),
        ("pct set 404 --memory", "Option memory requires an argument"),
        ("pct push 404 nosuch /x", "failed to open nosuch for reading"),
        ("pct push 404 /etc/passwd /x", "failed to open /etc/passwd: the lab's node has its files in"),
        ("pct push 404 page /x --perms 9", "invalid mode: '9'"),
        ("pct push 404 page /x --user 'a b'", "failed to get uid for: a b"),
        ("pct enter 404", "ERROR: unknown command 'pct enter'"),
        ("pct snapshot 404", "400 not enough arguments\npct snapshot <vmid> <snapname> [OPTIONS]"),
        ("pct snapshot 404 9x", "snapname: invalid format - invalid configuration ID '9x'"),
        ("pct unlock 404", "no lock found trying to remove any lock"),
        ("pct status 12", "value does not look like a valid VM ID"),
    ],
)
def test_errors_are_said_as_pct_says_them(node: Pct, line: str, said: str) -> None:
    outcome = run(node, line)
    assert isinstance(outcome, str)
    assert said in outcome


def test_unlock_takes_out_the_lock_and_nothing_else(node: Pct) -> None:
    file = Path(node._settings.values["pve"]) / "lxc/404.conf"
    before = "hostname: db\n\n[one]\nlock: backup\nhostname: db\n"
    try:
        file.write_text(f"arch: amd64\nlock: snapshot-delete\n{before}")
        assert run(node, "pct unlock 404") == 0
        assert file.read_text() == f"arch: amd64\n{before}"
    finally:
        file.write_text("hostname: db\n")


def test_snapshots_are_drawn_as_pct_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    rows: list[dict[str, object]] = [
        {"name": "current", "description": "You are here!", "parent": "a", "running": 1},
        {"name": "b", "snaptime": 1700000300, "parent": "a", "description": "second\nmore\n"},
        {"name": "a", "snaptime": 1700000000, "description": ""},
    ]
    assert pct_api.tree(rows) == [
        "`-> a                           2023-11-14 22:13:20     no-description",
        " `-> b                          2023-11-14 22:18:20     second",
        " `-> current                                            You are here!",
    ]


def test_a_container_that_does_not_run(node: Pct, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pct, "_pid", lambda self, vmid: 0)
    assert run(node, "pct exec 404 -- id") == "container '404' not running!"
    assert run(node, "pct push 404 page /x") == "can only push files to a running CT"
    assert run(node, "pct pull 404 /x page") == "can only pull files from a running VM"


def test_a_lab_without_guests_says_so(node: Pct) -> None:
    empty = Pct(Settings(Settings.render(node._settings.values, [])))
    assert run(empty, "pct exec 404 -- id") == "this lab has no guests inside (--guests none)"
    assert run(empty, "pct push 404 page /x") == "this lab has no guests inside (--guests none)"


@pytest.mark.parametrize(("perms", "mode"), [("644", "0644"), ("0600", "0600"), ("0x1ed", "0755"), ("4755", "4755")])
def test_push_takes_modes_as_pct_does(node: Pct, perms: str, mode: str) -> None:
    outcome = run(node, f"pct push 404 page /srv/page --perms {perms} --user www-data --group 33")
    assert isinstance(outcome, Became)
    assert outcome.argv[-4:] == ["/srv/page", mode, "www-data", "33"]


def test_options_of_set() -> None:
    found = parse(
        "pct set 404 --memory 512 -onboot --tags=a;b --description 'x y' --protection 0".replace(";b", "';b'")
    )
    assert found.options == {
        "memory": "512", "onboot": "1", "tags": "a;b", "description": "x y", "protection": "0",
    }  # fmt: skip


def test_the_program_itself_ends_with_255_and_needs_none_of_our_packages(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text(Settings.render({"node": "pve", "pve": str(tmp_path), "socket": "/none"}, []))
    argv = [sys.executable, "-I", "-S", "-E", pct.__file__, str(tmp_path / "settings")]
    environment: dict[str, Any] = {"SSH_ORIGINAL_COMMAND": "pct exec 404 -- id"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr == "Configuration file 'nodes/pve/lxc/404.conf' does not exist\n"
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); print(sorted(m for m in sys.modules if 'zentoria' in m))"
    seen = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, pct.__file__], capture_output=True, text=True, check=True
    )
    assert seen.stdout == "[]\n"


def test_a_script_that_push_runs_writes_mode_and_content(tmp_path: Path) -> None:
    target = tmp_path / "a b"
    argv = ["/bin/sh", "-c", pct._WRITE, "push", str(target), "0640", "", ""]
    subprocess.run(argv, input=b"one\0two", check=True)
    assert target.read_bytes() == b"one\0two"
    assert target.stat().st_mode & 0o7777 == 0o640
    subprocess.run([*argv[:5], "", "", ""], input=b"three", check=True)
    assert target.stat().st_mode & 0o7777 == 0o640, "without --perms the mode stays"


def test_it_is_as_slow_as_a_real_one_where_that_is_wanted(node: Pct) -> None:
    root = Path(node._settings.values["pve"]).parent
    (root / "pct-slow").write_text("0.2 1\n")
    begun = time.monotonic()
    try:
        assert isinstance(run(node, "pct exec 404 -- true"), Became)
        assert time.monotonic() - begun >= 0.2
    finally:
        (root / "pct-slow").unlink()
