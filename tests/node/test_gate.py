"""The forced command of Zentoria's SSH key: what it runs, and that nothing else is ever run."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.lab.api import guestconf
from zentoria_infra.node import gate, state
from zentoria_infra.plan import ownership
from zentoria_infra.proxmox import conntrack

SITE = "home"
CONF = {
    404: "#zentoria-db%3A databases\n#\n#zentoria-id%3A home/404\nmemory: 512\n",
    405: "#mine\nmemory: 512\n",
    406: "#zentoria-id%3A other/406\nmemory: 512\n",
    407: "memory: 512\n\n[before]\n#zentoria-id%3A home/407\nmemory: 512\n",
    410: "#zentoria-id%3A home/410\nmemory: 512\n",
}
"""404 and 410 are ours. 405 has no mark, 406 that of another site, 407 only in a snapshot; 410 is not in the list."""
PCT = ["/usr/sbin/pct"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> gate.Settings:
    guests = tmp_path_factory.mktemp("lxc")
    for vmid, text in CONF.items():
        (guests / f"{vmid}.conf").write_text(text)
    values = {"site": SITE, "vmids": [404, 405, 406, 407, 499], "networks": ["10.10.40.0/20", "fd00::/64"]}
    return gate.Settings(json.dumps({**values, "features": ["nesting", "keyctl"], "guests": str(guests)}))


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("pct exec 404 -- ls", [*PCT, "exec", "404", "--", "ls"]),
        (
            shlex.join(["pct", "exec", "404", "--", "sh", "-c", "echo 'a b'; id >x\n$(id)", "--", "ä"]),
            [*PCT, "exec", "404", "--", "sh", "-c", "echo 'a b'; id >x\n$(id)", "--", "ä"],
        ),
        ("pct status 404", [*PCT, "status", "404"]),
        ("pct config 404", [*PCT, "config", "404"]),
        ("pct set 404 --features keyctl=1,nesting=1", [*PCT, "set", "404", "--features", "keyctl=1,nesting=1"]),
        (
            "conntrack -D -s 10.10.40.4 -d 192.0.2.1 -p tcp --dport 443",
            ["/usr/sbin/conntrack", "-D", "-s", "10.10.40.4", "-d", "192.0.2.1", "-p", "tcp", "--dport", "443"],
        ),
        ("conntrack -D -d fd00::4", ["/usr/sbin/conntrack", "-D", "-d", "fd00::4"]),
        (
            "zentoria-state --site home begin 0123456789abcdef --lease 60.000 --get applied",
            [
                *gate.PROGRAMS["zentoria-state"], "--site", "home", "begin", "0123456789abcdef",
                "--lease", "60.000", "--get", "applied",
            ],
        ),
    ],
)  # fmt: skip
def test_what_the_clients_send_is_run(settings: gate.Settings, line: str, argv: list[str]) -> None:
    assert gate.decide(line, settings) == argv


ADDRESSES = st.one_of(st.just(""), st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


@given(
    st.sampled_from(["10.10.40.4", "10.10.47.254", "fd00::1"]), ADDRESSES, st.booleans(),
    st.sampled_from(["", "tcp", "udp", "icmp", "ipv6-icmp", "47"]), st.integers(0, 65535),
)  # fmt: skip
def test_every_connection_of_ours_can_be_cut(
    settings: gate.Settings, ours: str, other: str, turned: bool, protocol: str, port: int
) -> None:
    ends = (other, ours) if turned else (ours, other)
    options = conntrack._options(*ends, protocol, port if protocol else 0)
    assert gate.decide(shlex.join(["conntrack", "-D", *options]), settings)[1:] == ["-D", *options]


ATTACKS = {
    "": "no shell",
    "   ": "no shell",
    "sh": "not 'sh'",
    "/bin/bash -i": "not '/bin/bash'",
    "internal-sftp": "not 'internal-sftp'",
    "scp -t /": "not 'scp'",
    "env pct status 404": "not 'env'",
    "/usr/sbin/pct status 404": "not '/usr/sbin/pct'",
    "PCT status 404": "not 'PCT'",
    "\uff50ct status 404": "not ",
    "pct": "needs a command",
    "pct list": "needs a command",
    "pct enter 404": "not pct 'enter'",
    "pct destroy 404": "not pct 'destroy'",
    "pct push 404 /etc/shadow /x": "not pct 'push'",
    "pct pull 404 /x /etc/cron.d/x": "not pct 'pull'",
    "pct EXEC 404 -- id": "not pct",
    "pct exec 410 -- id": "none of the VMIDs",
    "pct exec 405 -- id": "not Zentoria's",
    "pct exec 406 -- id": "not Zentoria's",
    "pct exec 407 -- id": "not Zentoria's",
    "pct exec 499 -- id": "there is no container 499",
    "pct status 405": "not Zentoria's",
    "pct config 100": "none of the VMIDs",
    "pct exec 404 id": "not allowed with these arguments",
    "pct exec 404": "not allowed",
    "pct exec 404 --": "not allowed",
    "pct exec 404 --keep-env 1 -- id": "not allowed",
    "pct exec -- 404 id": "no VMID",
    "pct exec --verbose 404 -- id": "no VMID",
    "pct --help exec 404 -- id": "not pct '--help'",
    "pct -- exec 404 -- id": "not pct '--'",
    "pct exec 0404 -- id": "no VMID",
    "pct exec 4_04 -- id": "no VMID",
    "pct exec +404 -- id": "no VMID",
    "pct exec 404.0 -- id": "no VMID",
    "pct exec \uff14\uff10\uff14 -- id": "no VMID",
    "pct exec '404\n' -- id": "no VMID",
    "pct exec '404 ' -- id": "no VMID",
    "pct exec 404/../405 -- id": "no VMID",
    "pct exec ../404 -- id": "no VMID",
    "pct exec '' -- id": "no VMID",
    "pct status 404; reboot": "no VMID",
    "pct status 404 ; reboot": "not allowed",
    "pct status 404\nreboot": "not allowed",
    "pct status 404 && reboot": "not allowed",
    "pct status $(reboot)": "no VMID",
    "pct status `reboot`": "no VMID",
    "pct status 404 --verbose": "not allowed",
    "pct config 404 --current": "not allowed",
    "pct set 404": "not allowed",
    "pct set 404 --memory 99999": "not allowed",
    "pct set 404 --features nesting=1 --memory 9": "not allowed",
    "pct set 404 --mp0 /,mp=/host --features nesting=1": "not allowed",
    "pct set 404 --features=nesting=1": "not allowed",
    "pct set 404 -features nesting=1": "not allowed",
    "pct set 404 --features mknod=1": "none of this site",
    "pct set 404 --features nesting=1,mount=nfs": "none of this site",
    "pct set 404 --features 'nesting=1\n'": "none of this site",
    "pct set 404 --features ''": "none of this site",
    "pct set 404 --hookscript local:snippets/x": "not allowed",
    "conntrack -F": "-D comes first",
    "conntrack": "-D comes first",
    "conntrack -D": "neither end",
    "conntrack -D -p tcp": "neither end",
    "conntrack -D -s 192.0.2.1 -d 192.0.2.2": "neither end",
    "conntrack -D -s 0.0.0.0/0 -d 10.10.40.4": "no address",
    "conntrack -D -s 10.10.40.4 -s 192.0.2.1": "not '-s'",
    "conntrack -D -s 'fe80::1%;x' -d 10.10.40.4": "no address",
    "conntrack -D -d 10.10.40.4 -p tcp -o xml": "not '-o'",
    "conntrack -D -d 10.10.40.4 --dport 80": "without its protocol",
    "conntrack -D -d 10.10.40.4 -p tcp --dport 80,90": "does not fit",
    "conntrack -D -d 10.10.40.4 -p": "without a value",
    "conntrack -D -d 10.10.40.4 conntrack": "not 'conntrack'",
    "zentoria-state": "alone",
    "zentoria-state show": "alone",
    "zentoria-state --site other show": "alone",
    "zentoria-state --site=home show": "alone",
    "zentoria-state --site home --site other show": "alone",
    "zentoria-state --site home show --site other": "not '--site'",
    "zentoria-state --site home show --sit=other": "not '--sit=other'",
    "zentoria-state --site home get ../../etc/shadow": "not '../../etc/shadow'",
    "zentoria-state --site home get -- x": "not '--'",
    "pct exec 404 -- 'x": "cannot be read",
    "pct exec 404 -- x\\": "cannot be read",
    "pct exec 404 -- x\0y": "no command",
    "pct exec 404 -- " + "x" * (1 << 20): "no command",
}


@pytest.mark.parametrize("line", ATTACKS, ids=lambda line: ascii(line[:60]))
def test_nothing_else_is_run(settings: gate.Settings, line: str) -> None:
    with pytest.raises(gate.RefusedError, match=re.escape(ATTACKS[line])):
        gate.decide(line, settings)


WORDS = st.sampled_from(
    [
        "pct", "exec", "status", "config", "set", "push", "404", "405", "406", "410", "999", "--", "-", "--features",
        "nesting=1", "keyctl=0", "mknod=1", "--memory", "sh", "-c", "id", ";", "&&", "|", "$(id)", "`id`", "\n", "'",
        '"', "\\", "conntrack", "-D", "-F", "-s", "-d", "-p", "tcp", "--dport", "443", "10.10.40.4", "192.0.2.1",
        "0.0.0.0/0", "zentoria-state", "--site", "home", "other", "show", "get", "../x", "--lease", "\udcff",
        "\uff14\uff10\uff14", "\x85", " ", "",
    ]
)  # fmt: skip
PIECES = st.one_of(WORDS, st.text(max_size=8))
PLAUSIBLE = st.sampled_from(
    [
        ["pct", "exec", "404", "--"], ["pct", "exec", "410", "--"], ["pct", "set", "404", "--features"],
        ["conntrack", "-D", "-s"], ["conntrack", "-D", "-s", "192.0.2.1"], ["conntrack", "-D", "-d", "10.10.40.4"],
        ["pct", "status"], ["zentoria-state", "--site", "home"], [],
    ]
)  # fmt: skip
LINES = st.one_of(
    st.builds(lambda head, tail: shlex.join([*head, *tail]), PLAUSIBLE, st.lists(PIECES, max_size=6)),
    st.builds(lambda head, tail: " ".join([*head, *tail]), PLAUSIBLE, st.lists(PIECES, max_size=6)),
    st.text(max_size=60),
)


def is_allowed(argv: Sequence[str]) -> bool:
    """What may ever be run, said in another way than the gate says it."""
    match list(argv):
        case ["/usr/sbin/pct", "exec", "404", "--", _, *_]:
            return True
        case ["/usr/sbin/pct", "status" | "config", "404"]:
            return True
        case ["/usr/sbin/pct", "set", "404", "--features", flags]:
            return set(flags.split(",")) <= {"nesting=0", "nesting=1", "keyctl=0", "keyctl=1"}
        case ["/usr/sbin/conntrack", "-D", *options]:
            pairs = dict(zip(options[::2], options[1::2], strict=True))
            ends = [pairs.get("-s", ""), pairs.get("-d", "")]
            ours = any(re.fullmatch(r"10\.10\.(3[2-9]|4[0-7])\.\d+|fd00::[0-9a-f:]*", end) for end in ends)
            return ours and pairs.keys() <= {"-s", "-d", "-p", "--dport"} and len(pairs) * 2 == len(options)
        case ["/usr/bin/python3", "-IS", "/usr/local/sbin/zentoria-state", "--site", "home", verb, *more]:
            return verb.isalpha() and "--site" not in more and not any("/" in word for word in more)
    return False


@hypothesis.settings(max_examples=1500)
@given(LINES)
def test_whatever_is_sent_only_what_is_allowed_runs(settings: gate.Settings, line: str) -> None:
    try:
        argv = gate.decide(line, settings)
    except gate.RefusedError:
        return
    assert is_allowed(argv), argv


def test_the_mark_is_that_of_the_plan_as_proxmox_writes_it() -> None:
    """As Proxmox encodes a description: by the lab, which replays the real server's recordings."""
    text = ownership.description("zentoria-db", "Größe: 100 % [x] #1", SITE, 404)
    conf = guestconf.render(guestconf.GuestConf({"description": text, "memory": "512"}))
    assert conf.startswith("#")
    assert gate.description(conf).strip() == text
    assert ownership.owner(gate.description(conf), SITE, 404) is ownership.Owner.OURS


def test_the_state_program_has_no_options_that_the_gate_does_not_know() -> None:
    subparsers = next(action for action in state._parser()._actions if action.dest == "verb")
    verbs: dict[str, argparse.ArgumentParser] = dict(subparsers.choices or {})
    assert set(verbs) == gate._STATE_VERBS
    options = {text for parser in verbs.values() for action in parser._actions for text in action.option_strings}
    assert options == gate._STATE_OPTIONS


@pytest.fixture
def installed(settings: gate.Settings, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The gate's settings in a file, and a ``pct`` that tells its words and environment."""
    told = tmp_path / "told"
    pct = tmp_path / "pct"
    pct.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >{told}\nenv >{told}.env\ncat\nexit 42\n")
    pct.chmod(0o755)
    file = tmp_path / "settings.json"
    values = {"site": SITE, "vmids": [404], "networks": [], "features": [], "programs": {"pct": [str(pct)]}}
    file.write_text(json.dumps({**values, "guests": settings.guests}))
    file.chmod(0o600)
    yield file, told


def _start(file: Path, line: bytes) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-IS", gate.__file__, str(file)]
    environment = {b"SSH_ORIGINAL_COMMAND": line, b"SSH_CONNECTION": b"192.0.2.7 1 192.0.2.8 22", b"LD_X": b"1"}
    return subprocess.run(argv, env=environment, input=b"in", capture_output=True, timeout=30, check=False)


def test_the_program_takes_its_place(installed: tuple[Path, Path]) -> None:
    file, told = installed
    done = _start(file, b"pct exec 404 -- printf '\xff\xc3\xa4 %s' 'a\nb'")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"in", b"")
    assert told.read_bytes() == b"exec\x00404\x00--\0printf\0\xff\xc3\xa4 %s\0a\nb\0"
    environment = told.with_name("told.env").read_text()
    assert "LD_X" not in environment
    assert "192.0.2.7" not in environment, "it would reach the container"


def test_a_refusal_has_words_and_a_code(installed: tuple[Path, Path]) -> None:
    file, told = installed
    done = _start(file, b"reboot")
    assert (done.returncode, done.stdout) == (gate.REFUSED, b"")
    assert done.stderr == b"zentoria-gate: only Zentoria's own commands may be run here: not 'reboot'\n"
    assert not told.exists()


@pytest.mark.parametrize("spoil", ["others may write it", "no JSON", "another shape", "not there", "no pct"])
def test_bad_settings_let_nothing_through(installed: tuple[Path, Path], spoil: str) -> None:
    file, told = installed
    if spoil == "others may write it":
        file.chmod(0o620)
    elif spoil == "not there":
        file.unlink()
    elif spoil == "no pct":
        values = json.loads(file.read_text())
        file.write_text(json.dumps({**values, "programs": {"pct": ["/no/such/pct"]}}))
    else:
        file.write_text("{" if spoil == "no JSON" else '{"site": "home", "vmids": "404"}')
    done = _start(file, b"pct exec 404 -- id")
    assert done.returncode == gate.REFUSED
    assert b"Traceback" not in done.stderr
    assert not told.exists()
