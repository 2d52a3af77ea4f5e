"""Brings compiled rules into a network namespace, and finds out beforehand whether the machine can do that."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from zentoria_infra.lab.firewall.compiler import Compiled
from zentoria_infra.lab.lxc import requirements
from zentoria_infra.lab.lxc.commands import PATH, run
from zentoria_infra.lab.network import netns
from zentoria_infra.lab.runtime import RuntimeFailure

_LET_GO = 0.3
"""Seconds to wait for the kernel."""
_BRIDGE = Path("/proc/sys/net/bridge")
_SWITCHES = {"bridge-nf-call-iptables": "1", "bridge-nf-call-ip6tables": "1", "bridge-nf-call-arptables": "0"}
_SAMPLE_SETS = """create zt4 hash:net family inet hashsize 64 maxelem 65536
add zt4 192.0.2.0/24 nomatch
create zt6 hash:net family inet6 hashsize 64 maxelem 65536
"""
_SAMPLE = (
    "*filter",
    ":INPUT ACCEPT [0:0]",
    ":FORWARD ACCEPT [0:0]",
    ":OUTPUT ACCEPT [0:0]",
    ":zt - [0:0]",
    "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A FORWARD -m physdev --physdev-in fwln+ --physdev-is-bridged -j zt",
    "-A FORWARD -m mac ! --mac-source 02:00:00:00:00:01 -g zt",
    "-A zt -j MARK --set-xmark 0x0/0x80000000",
    "-A zt -m mark --mark 0x80000000/0x80000000 -j RETURN",
    "-A zt -p tcp -m multiport --dports 1,2:3 -j REJECT --reject-with tcp-reset",
)
_SAMPLES = {
    4: (
        "-A zt -m set ! --match-set zt4 src -j DROP",
        "-A zt -m iprange --src-range 192.0.2.1-192.0.2.2 -j DROP",
        "-A zt -m addrtype --dst-type BROADCAST -j DROP",
        "-A zt -p icmp -m icmp --icmp-type 3/4 -j REJECT --reject-with icmp-host-prohibited",
    ),
    6: (
        "-A zt -m set ! --match-set zt6 src -j DROP",
        "-A zt -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j REJECT --reject-with icmp6-adm-prohibited",
    ),
}
"""One line for each thing that compiled rules are made of."""


@dataclasses.dataclass(frozen=True)
class Tools:
    """What works here: the programs that load the tables, by IP version. The kernel may have no IPv6."""

    restore: dict[int, str]


class NotPossible(Exception):
    """This machine cannot filter a lab's packets; the text says why, and how it could."""


def probe() -> Tools:
    """Try everything in a network namespace that ends at once.

    Raises:
        NotPossible: something is missing.
    """
    if lacking := requirements.firewall_missing():
        raise NotPossible(requirements.sentence(lacking, "it takes"))
    if not _BRIDGE.is_dir():
        raise NotPossible("the kernel does not hand bridged packets to the filter: modprobe br_netfilter")
    versions = [4, *([6] if Path("/proc/net/if_inet6").exists() else [])]
    return Tools({version: _restore(version) for version in versions})


def _restore(version: int) -> str:
    """The program that loads tables of an IP version: that of nf_tables, or that of old."""
    said = ""
    for kind in ("nft", "legacy"):
        program = f"ip{'6' if version == 6 else ''}tables-{kind}-restore"
        if shutil.which(program, path=PATH) is None:
            continue
        script = f"ipset restore && exec {program} <<EOF\n{_sample(version)}EOF\n"
        try:
            run(["unshare", "--net", "--", "sh", "-c", script], feed=_SAMPLE_SETS, timeout=30)
        except RuntimeFailure as failure:
            said = said or str(failure).rpartition("exit code ")[2]
            continue
        return program
    raise NotPossible(f"iptables or ipset lack something here: {' '.join(said.split()) or 'no iptables-restore'}")


def _sample(version: int) -> str:
    return "\n".join([*_SAMPLE, *_SAMPLES[version], "COMMIT", ""])


class Kernel:
    """The filter of one network namespace.

    Args:
        namespace: its name.
        tools: what works here.
    """

    def __init__(self, namespace: str, tools: Tools) -> None:
        self._namespace = namespace
        self._tools = tools

    def prepare(self) -> None:
        """Hand packets that go over the namespace's bridges to its filter; other namespaces stay as they are."""

        def write() -> None:
            for name, value in _SWITCHES.items():
                with contextlib.suppress(FileNotFoundError):
                    (_BRIDGE / name).write_text(value)

        netns.run_in(self._namespace, write)

    def apply(self, compiled: Compiled) -> None:
        """Put compiled rules in place of those that are there; each IP version changes in one step.

        Raises:
            RuntimeFailure: the kernel refused; what is there stays.
        """
        present = set(self._run(["ipset", "list", "-name"]).split())
        fresh = [one for one in compiled.sets if one.name not in present]
        if fresh:
            lines = [line for one in fresh for line in one.lines()]
            self._run(["ipset", "-exist", "restore"], "\n".join(lines) + "\n")
        for version, program in self._tools.restore.items():
            self._run([program], compiled.tables[version])
        self._drop(present - {one.name for one in compiled.sets})

    def _drop(self, names: Collection[str]) -> None:
        """Take IP sets away. The kernel lets go of old rules a moment later; what it holds even then goes next time."""
        left = set(names)
        end = time.monotonic() + _LET_GO
        while left:
            for name in sorted(left):
                with contextlib.suppress(RuntimeFailure):
                    self._run(["ipset", "destroy", name])
                    left.discard(name)
            if not left or time.monotonic() > end:
                return
            time.sleep(0.02)

    def _run(self, argv: Sequence[str], feed: str | None = None) -> str:
        return run([*netns.enter_argv(self._namespace), *argv], feed=feed, timeout=30)
