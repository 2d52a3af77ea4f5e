"""``zentoria-firewall``: what Proxmox's firewall has in force, and openings closed that nobody looks after any more.

``zentoria-firewall pending`` prints one JSON object: chains that are in the kernel as the files say (``there``), and
those that are not (``pending``). It asks ``pve-firewall compile``, which compiles the files as the daemon does in each
of its cycles, compares each chain with what is in the kernel, and changes nothing (PVE::Service::pve_firewall, method
``compile``; PVE::Firewall::get_ruleset_status prints ``exists``, ``create`` or ``update`` for each). The rules are not
told: those of other guests are nobody's business.

``zentoria-firewall close`` is run each minute by a timer of systemd. Package sources of a container are open while a
run of ``zentoria`` is at work on it, and that run closes them. When its workstation dies, the site's lock, which the
run renews, expires (``zentoria-state``), and what is still open of that site then is closed from here.

It is installed as ``/usr/local/sbin/zentoria-firewall``, and needs nothing but Python's standard library.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is not imported for real: it takes longer than all the rest
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

PROTOCOL = 1
"""In every answer, as ``zentoria-firewall``."""
SETTINGS = "/etc/zentoria"
"""Folder with the settings of the sites, which ``zentoria-gate`` reads as well."""
STATE = "/var/lib/zentoria"
PVE = "/etc/pve"
COMPILE = ["/usr/sbin/pve-firewall", "compile"]
PVESH = ["/usr/bin/pvesh"]
SHOW = ["/usr/bin/python3", "-IS", "/usr/local/sbin/zentoria-state"]
SECONDS = 60.0

_CHAIN = re.compile(r"(exists|update|create) (\S+) \(")
_MARK = re.compile(r"^(?:#|description: *)?zentoria-id: ([a-z0-9-]+)/([0-9]+)\s*$", re.MULTILINE)
"""As in plan/ownership.py, which makes it. In files, notes are comments with ``%XX`` for what is special."""


class Failure(Exception):
    """It could not be done; the text says why."""


def states(text: str) -> dict[str, Any]:
    """The state of each chain and IP set, from what ``pve-firewall compile`` prints.

    The rules of bridges come last in a cycle and are left out: where ebtables is not Proxmox's own, they are compared
    with what another tool prints and never found equal.
    """
    section = ""
    there: set[str] = set()
    pending: set[str] = set()
    for line in text.splitlines():
        if line.endswith("cmdlist:"):
            section = line
        elif not section.startswith("ebtables") and (found := _CHAIN.match(line)):
            (there if found[1] == "exists" else pending).add(found[2])
    enabled = "firewall disabled" not in text.splitlines()
    return {"enabled": enabled, "there": sorted(there - pending), "pending": sorted(pending)}


class Node:
    """What is asked of Proxmox on the node itself. The lab has another one."""

    def compiled(self) -> str:
        """What ``pve-firewall compile`` prints. Raises Failure."""
        return _output(COMPILE)

    def rules(self, node: str, vmid: int) -> list[dict[str, Any]]:
        """The rules of a container's firewall. Raises Failure."""
        path = f"/nodes/{node}/lxc/{vmid}/firewall/rules"
        found = json.loads(_output([*PVESH, "get", path, "--output-format", "json"]))
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def drop(self, node: str, vmid: int, rule: Mapping[str, Any]) -> None:
        """Remove a rule, unless the list has changed since it was read. Raises Failure."""
        path = f"/nodes/{node}/lxc/{vmid}/firewall/rules/{int(rule['pos'])}"
        _output([*PVESH, "delete", path, "--digest", str(rule["digest"])])

    def is_at_work(self, site: str) -> bool:
        """Whether a run of a site holds its lock. Raises Failure."""
        answer = json.loads(_output([*SHOW, "--site", site, "show"]))
        held = answer["held"]
        return held is not None and float(held["left"]) > 0


def _output(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{argv[0]}: {error}") from None
    if done.returncode:
        raise Failure(
            f"{' '.join(argv[:3])} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return done.stdout


def sites_of(folder: str) -> dict[str, str]:
    """How comments of openings begin, by site, from the settings of all sites."""
    found: dict[str, str] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.json"))):
        with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as stream:
            values = json.load(stream)
            if isinstance(values, dict) and isinstance(values.get("opening"), str) and values["opening"]:
                found[str(values.get("site", ""))] = values["opening"]
    return found


def close(node: Node, sites: Mapping[str, str], state: str = STATE, pve: str = PVE) -> tuple[list[str], list[str]]:
    """Close what is open of sites that nobody is at work on.

    While a container is closed, no run can begin; between two of them one can, since ``pvesh`` takes its time, and the
    rest is then that run's.

    Args:
        node: Proxmox.
        sites: how comments of openings begin, by site.
        state: the folder of ``zentoria-state``.
        pve: Proxmox's files.

    Returns:
        What was closed, and what went wrong, in words.
    """
    closed: list[str] = []
    wrong: list[str] = []
    open_at: dict[str, list[tuple[str, int]]] = {}
    for site, name, vmid in _opened(sites, pve):
        open_at.setdefault(site, []).append((name, vmid))
    for site, guests in open_at.items():
        for name, vmid in guests:
            asked = False
            try:
                with _nobody_begins(os.path.join(state, site)):
                    if node.is_at_work(site):
                        break
                    asked = True
                    _close(node, name, vmid, sites[site], closed)
            except (Failure, OSError, ValueError, KeyError, TypeError) as failure:
                wrong.append(f"container {vmid}: {failure}" if asked else f"site {site}: {failure}")
                if not asked:
                    break
    return closed, wrong


def _opened(sites: Mapping[str, str], pve: str) -> Iterator[tuple[str, str, int]]:
    """Site, node and VMID of each container of ours with something open."""
    for path in sorted(glob.glob(os.path.join(glob.escape(pve), "firewall", "[1-9]*.fw"))):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except OSError:
            continue
        vmid = os.path.basename(path)[:-3]
        if not vmid.isdecimal() or not any(opening in text for opening in sites.values()):
            continue
        for node, config in _configurations(pve, vmid):
            for site, number in _MARK.findall(_decoded(config.partition("\n[")[0])):
                if number == vmid and site in sites and sites[site] in text:
                    yield site, node, int(vmid)


def _configurations(pve: str, vmid: str) -> Iterator[tuple[str, str]]:
    """Node and content of a container's configuration; it is on one node of the cluster."""
    for path in glob.glob(os.path.join(glob.escape(pve), "nodes", "*", "lxc", f"{vmid}.conf")):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            yield path.split(os.sep)[-3], stream.read()


def _decoded(text: str) -> str:
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)


def _close(node: Node, name: str, vmid: int, opening: str, closed: list[str]) -> None:
    """Remove the rules that open something, the last one first: the others keep their places."""
    for _ in range(1000):
        found = [one for one in node.rules(name, vmid) if str(one.get("comment", "")).lstrip().startswith(opening)]
        if not found:
            return
        last = max(found, key=lambda one: int(one["pos"]))
        node.drop(name, vmid, last)
        closed.append(f"container {vmid}: {str(last['comment']).strip()}")


@contextlib.contextmanager
def _nobody_begins(folder: str) -> Iterator[None]:
    """Keep runs from taking the site's lock: ``zentoria-state`` writes with a lock on this file."""
    try:
        guard = os.open(os.path.join(folder, ".guard"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # nothing was ever written there
        yield
        return
    try:
        fcntl.flock(guard, fcntl.LOCK_SH)
        yield
    finally:
        os.close(guard)


def _log(lines: Sequence[str], *, bad: bool) -> None:
    import syslog

    syslog.openlog("zentoria-firewall", syslog.LOG_PID, syslog.LOG_DAEMON)
    for line in lines:
        syslog.syslog(syslog.LOG_WARNING, ascii(line if bad else f"closed, nobody is at work on its site: {line}"))


def main(
    arguments: Sequence[str],
    node: Node | None = None,
    close_all: Callable[[Node], tuple[list[str], list[str]]] = lambda node: close(node, sites_of(SETTINGS)),
) -> int:
    """Carry out ``pending`` or ``close``, and answer on standard output."""
    answer: dict[str, Any] = {"zentoria-firewall": PROTOCOL}
    if list(arguments) == ["pending"]:
        try:
            answer |= states((node or Node()).compiled())
        except Failure as failure:
            answer["error"] = str(failure)
    elif list(arguments) == ["close"]:
        closed, wrong = close_all(node or Node())
        answer |= {"closed": closed}
        _log(closed, bad=False)
        _log(wrong, bad=True)
        if wrong:
            answer["error"] = "; ".join(wrong)
    else:
        answer["error"] = "it takes `pending` or `close`"
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
