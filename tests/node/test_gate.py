"""The forced command of Zentoria's SSH key: what it runs, and that nothing else is ever run."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.lab.api import guestconf
from zentoria_infra.node import gate, state
from zentoria_infra.plan.model import ownership
from zentoria_infra.proxmox.shell import conntrack, starting

SITE = "home"
OURS = "#zentoria-id%3A home/{}\nmemory: 512\nrootfs: local:{}/vm-{}-disk-0.raw,size=4G\nunprivileged: 1\n"
CONF = {
    404: "#zentoria-db%3A databases\n#\n#zentoria-id%3A home/404\nmemory: 512\nunprivileged: 1\n",
    405: "#mine\nmemory: 512\nunprivileged: 1\n",
    406: "#zentoria-id%3A other/406\nmemory: 512\nunprivileged: 1\n",
    407: "memory: 512\nunprivileged: 1\n\n[before]\n#zentoria-id%3A home/407\nmemory: 512\n",
    410: "#zentoria-id%3A home/410\nmemory: 512\nunprivileged: 1\n",
    412: OURS.format(412, 412, 412),
    420: "#zentoria-id%3A home/420\nmemory: 512\nrootfs: local:420/vm-420-disk-0.raw\n",
}
"""404, 412 and 420 are ours, and 420 is privileged: so the inventory says. 405 has no mark, 406 that of another site,
407 only in a snapshot; 410 is not in the list."""
PCT = ["/usr/sbin/pct"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> gate.Settings:
    guests = tmp_path_factory.mktemp("lxc")
    for vmid, text in CONF.items():
        (guests / f"{vmid}.conf").write_text(text)
    vmids = [404, 405, 406, 407, 412, 420, 499]
    values = {"site": SITE, "vmids": vmids, "networks": ["10.10.40.0/20", "fd00::/64"], "privileged": [420]}
    features = {"404": ["nesting"], "412": ["nesting", "keyctl"]}
    return gate.Settings(json.dumps({**values, "features": features, "guests": str(guests)}))


def digest(vmid: int) -> str:
    """As Proxmox tells it: SHA-1 of the file."""
    return hashlib.sha1(CONF[vmid].encode()).hexdigest()  # noqa: S324 - it is Proxmox's


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
        (
            "pct set 412 --features keyctl=1,nesting=1",
            [*PCT, "set", "412", "--features", "keyctl=1,nesting=1", "--digest", digest(412)],
        ),
        ("pct exec 420 -- ls", [*PCT, "exec", "420", "--", "ls"]),
        (
            "conntrack -D -s 10.10.40.4 -d 192.0.2.1 -p tcp --dport 443",
            ["/usr/sbin/conntrack", "-D", "-s", "10.10.40.4", "-d", "192.0.2.1", "-p", "tcp", "--dport", "443"],
        ),
        ("conntrack -D -d fd00::4", ["/usr/sbin/conntrack", "-D", "-d", "fd00::4"]),
        ("zentoria-firewall pending", [*gate.PROGRAMS["zentoria-firewall"], "pending"]),
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
    "zentoria-firewall close": "for what is pending",
    "zentoria-firewall": "for what is pending",
    "pve-firewall stop": "not 'pve-firewall'",
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
    "pct set 404 --features mknod=1": "none of container 404",
    "pct set 404 --features keyctl=1": "none of container 404",
    "pct set 412 --features keyctl=1,fuse=1": "none of container 412",
    "pct set 420 --features nesting=1": "none of container 420",
    "pct set 404 --features nesting=1 --digest x": "not allowed",
    "pct set 404 --features nesting=1,mount=nfs": "none of container 404",
    "pct set 404 --features 'nesting=1\n'": "none of container 404",
    "pct set 404 --features ''": "none of container 404",
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
        case ["/usr/sbin/pct", "set", "404", "--features", flags, "--digest", seen]:
            return set(flags.split(",")) <= {"nesting=0", "nesting=1"} and seen == digest(404)
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


REMADE = {
    "privileged": ("unprivileged: 1", ""),
    "privileged, in so many words": ("unprivileged: 1", "unprivileged: 0"),
    "privileged, said twice": ("unprivileged: 1", "unprivileged: 1\nunprivileged: 0"),
    "unprivileged in a snapshot alone": ("unprivileged: 1", "\n[before]\nunprivileged: 1"),
    "unprivileged in what is pending alone": ("unprivileged: 1", "\n[pve:pending]\nunprivileged: 1"),
    "unprivileged in its notes alone": ("unprivileged: 1", "#unprivileged: 1\ndescription: unprivileged%3A 1"),
    "a folder of the node": ("unprivileged: 1", "unprivileged: 1\nmp0: /etc,mp=/host"),
    "a folder of the node, named": ("unprivileged: 1", "unprivileged: 1\nmp12: mp=/host,volume=/,ro=1"),
    "a folder of the node, after a volume": ("unprivileged: 1", "unprivileged: 1\nmp0: local:1/x.raw,volume=/,mp=/x"),
    "a disk of the node": ("unprivileged: 1", "unprivileged: 1\nmp0: /dev/sda1,mp=/host"),
    "the node's root": ("rootfs: local:412/vm-412-disk-0.raw,size=4G", "rootfs: /"),
    "a device": ("unprivileged: 1", "unprivileged: 1\ndev0: /dev/mem"),
    "a raw line": ("unprivileged: 1", "unprivileged: 1\nlxc.mount.entry: / host none bind"),
    "a raw line with =": ("unprivileged: 1", "unprivileged: 1\nlxc.idmap = u 0 0 65536"),
    "a hook script": ("unprivileged: 1", "unprivileged: 1\nhookscript: local:snippets/x.pl"),
    "what begins like a snapshot and is none": ("memory: 512", "[no snapshot]\nmemory: 512"),
    "what is a snapshot in Unicode alone": (
        "unprivileged: 1",
        "unprivileged: 1\n[before]\u00a0\nlxc.idmap: u 0 0 65536",
    ),
    "what is a number in Unicode alone": ("memory: 512", "memory: 512\nmp\u0663: local:412/x.raw,mp=/x"),
    "unprivileged under another name": ("unprivileged: 1", "unprivileged1: 1"),
    "a volume under another name": ("memory: 512", "memory: 512\nrootfs1: local:412/x.raw"),
    "what is no option": ("memory: 512", "memory 512"),
    "an option that nobody knows": ("memory: 512", "memory: 512\nnewer-than-this: 1"),
}
"""Our container, remade by whoever has the token: with our mark, but with a hold on the node."""


@pytest.mark.parametrize("how", REMADE)
@pytest.mark.parametrize("line", ["pct exec 412 -- id", "pct set 412 --features nesting=1"])
def test_root_of_a_container_is_never_root_of_the_node(
    settings: gate.Settings, tmp_path: Path, how: str, line: str
) -> None:
    settings = gate.Settings(json.dumps({
        "site": SITE, "vmids": [412], "networks": [], "features": {"412": ["nesting"]}, "guests": str(tmp_path),
    }))  # fmt: skip
    conf = tmp_path / "412.conf"
    before, after = REMADE[how]
    conf.write_text(CONF[412])
    gate.decide(line, settings)
    conf.write_text(CONF[412].replace(before, after))
    assert conf.read_text() != CONF[412]
    assert gate.decide("pct config 412", settings)
    with pytest.raises(gate.RefusedError, match=r"privileged|mounted|hold on the node"):
        gate.decide(line, settings)


def test_what_our_containers_have_is_no_hold_on_the_node(tmp_path: Path) -> None:
    """All that the plan sets, and that users may: a configuration of the real server's shape."""
    settings = gate.Settings(json.dumps({
        "site": SITE, "vmids": [412], "networks": [], "features": {}, "guests": str(tmp_path),
    }))  # fmt: skip
    (tmp_path / "412.conf").write_text(
        CONF[412]
        + "arch: amd64\ncores: 2\nfeatures: keyctl=1,nesting=1\nhostname: ai\nnameserver: 192.0.2.1\nonboot: 1\n"
        "mp0: local-lvm:vm-412-disk-1,mp=/var/lib/x,backup=1,size=8G\nmp1: volume=local:412/vm-412-disk-2.raw,mp=/y\n"
        "net0: name=eth0,bridge=vmbr40,firewall=1,hwaddr=BC:24:11:00:00:01,ip=10.10.40.1/20,type=veth\n"
        "ostype: debian\nparent: before\nprotection: 1\nsearchdomain: x.internal\nstartup: order=1\nswap: 0\n"
        "tags: zentoria;zone-data\ntimezone: host\nunused0: local:412/vm-412-disk-9.raw\nlock: backup\n"
        "\n[pve:pending]\nmemory: 1024\n\n[before]\nlxc.idmap: u 0 0 1\nmp0: /etc,mp=/x\n"
    )
    assert gate.decide("pct exec 412 -- id", settings)


@pytest.fixture
def installed(settings: gate.Settings, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The gate's settings in a file, and a ``pct`` that tells its words and environment."""
    told = tmp_path / "told"
    pct = tmp_path / "pct"
    pct.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >{told}\nenv >{told}.env\ncat\nexit 42\n")
    pct.chmod(0o755)
    file = tmp_path / "settings.json"
    values = {"site": SITE, "vmids": [404], "networks": [], "features": {}, "programs": {"pct": [str(pct)]}}
    file.write_text(json.dumps({**values, "guests": settings.guests, "locks": str(tmp_path / "lock")}))
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


def _settings_with(file: Path, **more: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def _lock(file: Path) -> Path:
    return Path(json.loads(file.read_text())["locks"]) / "pve-config-404.lock"


def _free(lock: Path) -> bool:
    """Whether Proxmox could change the container now."""
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounts of its own need root")
def test_nobody_changes_the_container_between_the_look_and_the_program_inside(
    installed: tuple[Path, Path], tmp_path: Path
) -> None:
    """As pct does it: it takes a while, then a child of lxc-attach goes inside."""
    file, _ = installed
    go, came = tmp_path / "go", tmp_path / "came"
    os.mkfifo(go)
    pct = tmp_path / "pct"
    pct.write_text(f"#!/bin/sh\ntouch {came}\ncat {go}\nunshare -m sleep 60 &\nwait\n")
    environment = {"SSH_ORIGINAL_COMMAND": "pct exec 404 -- id"}
    argv = [sys.executable, "-IS", gate.__file__, str(file)]
    with subprocess.Popen(argv, env=environment, start_new_session=True) as process:
        try:
            _until(came.exists, "pct was not started")
            assert not _free(_lock(file)), "the token could remove it now, and make it anew"
            go.write_text("")
            _until(lambda: _free(_lock(file)), "the lock is for the way inside alone")
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_lock_is_given_back_when_pct_ends_at_once(installed: tuple[Path, Path]) -> None:
    file, _ = installed
    assert _start(file, b"pct exec 404 -- id").returncode == 42
    _until(lambda: _free(_lock(file)), "the lock is still held")


def test_what_does_not_get_inside_is_ended(installed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = installed
    Path(json.loads(file.read_text())["programs"]["pct"][0]).write_text("#!/bin/sh\nexec sleep 60\n")
    program = f"import sys; sys.path.insert(0, {str(Path(gate.__file__).parent)!r}); import gate; "
    program += f"gate.INSIDE_SECONDS = 0.2; sys.exit(gate.main([{str(file)!r}]))"
    environment = {"SSH_ORIGINAL_COMMAND": "pct exec 404 -- id"}
    done = subprocess.run([sys.executable, "-IS", "-c", program], env=environment, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    _until(lambda: _free(_lock(file)), "the lock is still held")


def test_a_slow_node_is_given_as_long_as_the_client_gives_it() -> None:
    assert gate.INSIDE_SECONDS >= starting.PATIENCE


def test_a_container_that_is_being_changed_is_waited_for_and_then_looked_at(
    installed: tuple[Path, Path], tmp_path: Path
) -> None:
    """It is destroyed and made anew, privileged, while the gate waits."""
    file, told = installed
    (tmp_path / "404.conf").write_text(CONF[404])
    _settings_with(file, guests=str(tmp_path))
    _lock(file).parent.mkdir()
    with _lock(file).open("a") as proxmox:
        fcntl.flock(proxmox, fcntl.LOCK_EX)
        argv = [sys.executable, "-IS", gate.__file__, str(file)]
        environment = {"SSH_ORIGINAL_COMMAND": "pct exec 404 -- id"}
        process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        opened = Path(f"/proc/{process.pid}/fd")
        _until(lambda: any(os.path.realpath(one) == str(_lock(file)) for one in opened.iterdir()), "it does not wait")
        (tmp_path / "404.conf").write_text(CONF[404].replace("unprivileged: 1\n", ""))
    _, said = process.communicate(timeout=20)
    assert (process.returncode, told.exists()) == (gate.REFUSED, False)
    assert b"404 is privileged" in said


def test_settings_of_an_older_bootstrap_grant_no_features_and_work_all_the_same() -> None:
    """Another site's `bootstrap` replaces the gate that both share."""
    old = gate.Settings(json.dumps({"site": "home", "vmids": [404], "networks": [], "features": ["nesting"]}))
    assert old.features == {}
    assert old.vmids == {404}
