"""Zentoria beside Ansible: five containers in a lab, cold, unchanged, and with one changed file in one container.

Both have the same lab, template, package cache and end state, and both are counted by the lab: requests in its access
log, sessions in sshd's log. Ansible has what an expert gives it (see ansible/ansible.cfg and ansible/playbook.yml).
What Zentoria does besides is left out on Ansible's side, and named in ``MORE``.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ruamel.yaml

from tests.bench.five import SERVICES, VMIDS, change_one_file, write_five
from tests.support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).with_name("ansible")
VENV = HERE / ".venv"
MORE = (
    "Zentoria also does, and its times include: firewall of every container with its proof, "
    "package timers and sshd off, tags and marks of ownership, lock, history, drift of options and firewall"
)
AIMS = {"cold": 3, "cold_pristine": 1.5, "no_change": 20, "one_change": 10, "one_change_one_host": 10}
"""How many times faster Zentoria is meant to be."""
_ONE = "proxy"
"""The container in which one file changes."""
_LATE = 420
_FILES = {
    "postgresql": [
        "/etc/postgresql/17/main/conf.d/zentoria.conf",
        "/etc/postgresql/17/main/pg_hba.conf",
        "/etc/postgresql/17/main/pg_ident.conf",
        "/etc/systemd/system/postgresql@17-main.service.d/zentoria.conf",
    ],
    "redis": [
        "/etc/redis/redis.conf",
        "/etc/redis/users.acl",
        "/etc/systemd/system/redis-server.service.d/zentoria.conf",
    ],
    "nginx": [
        "/etc/zentoria/tls/fullchain.pem",
        "/etc/zentoria/tls/privkey.pem",
        "/etc/nginx/nginx.conf",
        "/etc/nginx/zentoria/site.conf",
        "/etc/nginx/zentoria/forwarded.conf",
        "/etc/nginx/zentoria/headers.conf",
        "/etc/nginx/zentoria/unavailable.conf",
        "/etc/nginx/zentoria/websocket.conf",
        "/etc/systemd/system/nginx.service.d/zentoria.conf",
    ],
}
_BASE = ["/etc/apt/apt.conf.d/80zentoria", "/etc/hosts", "/etc/systemd/journald.conf.d/zentoria.conf"]
_UNITS = {"postgresql": "postgresql@17-main.service", "redis": "redis-server.service", "nginx": "nginx.service"}
_PACKAGES = {"postgresql": ["postgresql-17", "postgresql-17-pgvector"], "redis": ["redis-server"], "nginx": ["nginx"]}
_ASK = """
import grp, json, os, pwd, subprocess, sys
files, packages, unit = json.load(sys.stdin)
found = {}
for path in files:
    with open(path) as stream:
        text = stream.read()
    it = os.stat(path)
    found[path] = [text, oct(it.st_mode & 0o7777), pwd.getpwuid(it.st_uid).pw_name, grp.getgrgid(it.st_gid).gr_name]
ask = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\\n", *packages]
there = subprocess.run(ask, capture_output=True, text=True).stdout
active = subprocess.run(["systemctl", "is-active", unit], capture_output=True, text=True).stdout
print(json.dumps({"files": found, "packages": there, "unit": active}))
"""
Figures = dict[str, Any]
State = dict[str, Any]


def compare(lab: str) -> dict[str, Figures]:
    """Measure both in the lab of that name; rows for the bench's table, ratios first.

    Raises:
        AssertionError: a command failed, or the two end states differ.
    """
    install()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        stack = Stack(lab, write_five(folder / "project"))
        stack.reset()
        try:
            ours, first, second = _zentoria(stack)
            stack.reset()
            peer = _Ansible(stack, folder, first)
            theirs = _ansible(peer, first, second)
        finally:
            stack.reset()
    found: dict[str, Figures] = {"beside Ansible": conditions()}
    for what, aim in AIMS.items():
        found[f"Ansible / Zentoria, {what}"] = ratios(theirs[what], ours[what]) | {"aim": aim}
    found |= {f"Zentoria, {what}": figures for what, figures in ours.items()}
    return found | {f"Ansible, {what}": figures for what, figures in theirs.items()}


def conditions() -> Figures:
    """What one must know to read the figures: versions, and how Ansible is set up."""
    config = configparser.ConfigParser()
    config.read(HERE / "ansible.cfg")
    lock = (HERE / "requirements.lock").read_text()
    versions = {
        name: found[1] for name in ("ansible", "ansible-core") if (found := re.search(rf"(?m)^{name}==(\S+)", lock))
    }
    collection = VENV / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    manifest = collection / "ansible_collections/community/proxmox/MANIFEST.json"
    if manifest.exists():
        versions["community.proxmox"] = json.loads(manifest.read_text())["collection_info"]["version"]
    return {
        **versions,
        "forks": config.getint("defaults", "forks"),
        "strategy": config.get("defaults", "strategy"),
        "pipelining": "set, without effect: proxmox_pct_remote has none",
        "processors": len(os.sched_getaffinity(0)),
    }


def ratios(theirs: Figures, ours: Figures) -> Figures:
    """How many times more the peer needs of each; None where we need nothing."""
    return {f"{key}_ratio": round(theirs[key] / ours[key], 2) if ours[key] else None for key in ours if key != "load"}


def install() -> None:
    """Ansible's own virtual environment, made anew when its lock has changed."""
    lock, done = HERE / "requirements.lock", VENV / "lock"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    uv = str(ROOT / ".uv/bin/uv")
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True)
    python = str(VENV / "bin/python")
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(lock)], check=True)
    shutil.copy(lock, done)


def _measured(stack: Stack, action: Callable[[], None]) -> Figures:
    """Wall time of an action, and what the lab has counted meanwhile."""
    before = _counts(stack)
    begun = time.monotonic()
    action()
    seconds = time.monotonic() - begun
    calls, sessions = (after - then for after, then in zip(_counts(stack), before, strict=True))
    busy = round(os.getloadavg()[0], 1)
    return {"seconds": round(seconds, 2), "api_calls": calls, "ssh_round_trips": sessions, "load": busy}


def _counts(stack: Stack) -> tuple[int, int]:
    """Requests at the API and commands over SSH since the lab is there."""
    access, sshd = stack.folder / "log/access.log", stack.folder / "log/sshd.log"
    requests = len(access.read_text().splitlines()) if access.exists() else 0
    return requests, sshd.read_text(errors="replace").count("Starting session:")


def _state(stack: Stack) -> State:
    """What is inside the containers, asked in each of them over SSH: Zentoria enters none that is not its own."""
    ssh = _proxmox(stack)["ssh"]
    known = stack.folder / "run/bench_known_hosts"
    known.write_text(f"[{ssh['host']}]:{ssh['port']} {ssh['host_key']}\n")
    enter = ["ssh", "-F", "none", "-i", ssh["key_file"], "-p", str(ssh["port"]), "-o", f"UserKnownHostsFile={known}"]
    found = {}
    for name, service in SERVICES.items():
        ask = json.dumps([_BASE + _FILES[service], _PACKAGES[service], _UNITS[service]])
        inside = shlex.join(["pct", "exec", str(VMIDS[name]), "--", "python3", "-c", _ASK])
        command = [*enter, f"{ssh['user']}@{ssh['host']}", inside]
        run = subprocess.run(command, input=ask, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, f"{name}: {run.stderr}"
        found[name] = json.loads(run.stdout)
    return found


def _proxmox(stack: Stack) -> Figures:
    """What the lab tells of its API and SSH."""
    text = (stack.folder / "site.yaml").read_text()
    return dict(ruamel.yaml.YAML(typ="safe", pure=True).load(text)["proxmox"])


def _zentoria(stack: Stack) -> tuple[dict[str, Figures], State, State]:
    up = ("up", "--yes", "--json")

    def run(*only: str) -> None:
        stack.zentoria(*up, *only, check=True)

    # Once as Ansible does it, from Debian's template, and once as a lab does by itself.
    stack.start("--pristine")
    pristine = _measured(stack, run)
    stack.reset()
    stack.start()
    cold = _measured(stack, run)
    first = _state(stack)
    warm = _median([_measured(stack, run) for _ in range(3)])
    undo = change_one_file(stack.project)
    one = _measured(stack, run)
    second = _state(stack)
    assert first != second, "the change changed no file"
    undo()
    limited = _measured(stack, lambda: run("--only", _ONE))
    assert _state(stack) == first, "the change was not taken back"
    return (
        {"cold": cold, "cold_pristine": pristine, "no_change": warm, "one_change": one, "one_change_one_host": limited},
        first,
        second,
    )


def _median(runs: list[Figures]) -> Figures:
    return runs[-1] | {"seconds": statistics.median(run["seconds"] for run in runs)}


def _ansible(peer: _Ansible, first: State, second: State) -> dict[str, Figures]:
    # One container first: what only Ansible needs in a guest (python3-apt) is in the package cache then.
    peer.stack.start()
    peer.prepare()
    peer.run("--limit", "redis")
    peer.stack.reset()
    peer.stack.start()
    peer.prepare()
    cold = _measured(peer.stack, peer.run)
    _same(first, _state(peer.stack))
    warm = _median([_measured(peer.stack, peer.run) for _ in range(2)])
    peer.write_templates(second)
    one = _measured(peer.stack, peer.run)
    _same(second, _state(peer.stack))
    peer.write_templates(first)
    limited = _measured(peer.stack, lambda: peer.run("--limit", _ONE))
    _same(first, _state(peer.stack))
    return {"cold": cold, "cold_pristine": cold, "no_change": warm, "one_change": one, "one_change_one_host": limited}


def _same(ours: State, theirs: State) -> None:
    """Raises AssertionError, naming what differs, but no text of a file."""
    for name, one in ours.items():
        other = theirs[name]
        different = [path for path in one["files"] if one["files"][path] != other["files"][path]]
        assert not different, f"{name}: {', '.join(different)} differ"
        for key in ("packages", "unit"):
            assert one[key] == other[key], f"{name}: {one[key]} is not {other[key]}"


class _Ansible:
    """The playbook with an inventory for a lab, in a folder of its own."""

    def __init__(self, stack: Stack, folder: Path, state: State) -> None:
        self.stack = stack
        self._folder = folder
        self._state = state
        self._env: dict[str, str] = {}

    def prepare(self) -> None:
        """Write inventory, known hosts and templates for the lab as it is now."""
        folder = self._folder
        for name in ("playbook.yml", "ansible.cfg"):
            shutil.copy(HERE / name, folder)
        pve = _proxmox(self.stack)
        ssh = pve["ssh"]
        user, _, token = pve["token_id"].partition("!")
        common = {
            "ansible_host": ssh["host"],
            "ansible_port": ssh["port"],
            "ansible_user": ssh["user"],
            "ansible_private_key_file": ssh["key_file"],
            "pve_host": pve["host"],
            "pve_port": pve["port"],
            "pve_user": user,
            "pve_token_id": token,
            "pve_node": pve["node"],
            "pve_pool": pve["pool"],
            "pve_storage": "local",
            "pve_template": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
            "nameserver": "10.10.47.254",
        }
        hosts = {name: self._host(name, service) for name, service in SERVICES.items()}
        inventory = {"all": {"children": {"containers": {"hosts": hosts, "vars": common}}}}
        (folder / "hosts.json").write_text(json.dumps(inventory, indent=1))
        (folder / ".ssh").mkdir(exist_ok=True)
        (folder / ".ssh/known_hosts").write_text(f"[{ssh['host']}]:{ssh['port']} {ssh['host_key']}\n")
        self.write_templates(self._state)
        self._env = {
            "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "REQUESTS_CA_BUNDLE": pve["ca_file"],
            "NO_PROXY": "127.0.0.1",
            "BENCH_TOKEN": Path(pve["token_secret_file"]).read_text().strip(),
        }

    def _host(self, name: str, service: str) -> dict[str, Any]:
        address = {"db": "40.4", "db-2": "40.24", "redis": "41.0", "redis-2": "40.30", "proxy": "40.8"}[name]
        data = {"postgresql": "/var/lib/postgresql", "redis": "/var/lib/redis"}.get(service)
        own = ["/etc/systemd/journald.conf.d", f"/etc/systemd/system/{_UNITS[service]}.d"]
        more = ["/etc/nginx/zentoria", "/etc/zentoria/tls", "/var/lib/zentoria/acme"] if service == "nginx" else []
        volumes = [{"id": "mp0", "storage": "local", "size": 1, "mountpoint": data, "options": {"backup": "1"}}]
        return {
            "proxmox_vmid": VMIDS[name],
            "net0": f"name=eth0,bridge=vmbr40,ip=10.10.{address}/20,gw=10.10.47.254",
            "volumes": volumes if data else [],
            "packages": _PACKAGES[service],
            "directories": own + more,
            "unit": _UNITS[service],
            "files": [
                {"path": path, "mode": mode.replace("0o", "0"), "owner": owner, "group": group}
                for path, (_, mode, owner, group) in self._state[name]["files"].items()
                if path != _BASE[0]
            ],
        }

    def write_templates(self, state: State) -> None:
        """Each file as a template; what they share in the state to reach is in them already."""
        for name, one in state.items():
            for path, (text, *_) in one["files"].items():
                template = self._folder / "templates" / name / path.lstrip("/")
                template.parent.mkdir(parents=True, exist_ok=True)
                template.write_text(f"{{% raw %}}{text}{{% endraw %}}")

    def run(self, *arguments: str) -> None:
        """One run of the playbook.

        Raises:
            AssertionError: it failed; the end of its output is in the message.
        """
        command = [str(VENV / "bin/ansible-playbook"), "--inventory", "hosts.json", "playbook.yml", *arguments]
        run = subprocess.run(
            command, cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=_LATE, check=False
        )
        assert run.returncode == 0, (
            f"ansible-playbook: exit {run.returncode}\n{run.stdout[-6000:]}\n{run.stderr[-2000:]}"
        )
