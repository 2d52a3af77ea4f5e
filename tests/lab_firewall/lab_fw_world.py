"""A lab's network with plain network namespaces in place of containers: real packets, real rules, fast."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from zentoria_infra.lab.firewall import kernel
from zentoria_infra.lab.firewall.enforcer import Enforcer
from zentoria_infra.lab.firewall.host import Facts
from zentoria_infra.lab.firewall.reading import Reader
from zentoria_infra.lab.lxc import config
from zentoria_infra.lab.lxc.network import OUTSIDE, Network
from zentoria_infra.lab.lxc.outside import FAR, Outside
from zentoria_infra.lab.network import netns

T = TypeVar("T")
GATEWAY = "10.10.47.254"
FACTS = Facts("10.99.0.0/24", OUTSIDE, (GATEWAY, 3128))
WAIT = 0.25
"""Seconds after which a packet that has not come will not come: all is on this machine."""
OPEN = "[OPTIONS]\nenable: 1\npolicy_in: ACCEPT\n"


def why_not() -> str:
    """Why packets cannot be filtered here; empty when they can."""
    if os.geteuid() != 0:
        return "filtering packets needs root"
    try:
        kernel.probe()
    except kernel.NotPossible as impossible:
        return str(impossible)
    return ""


class World:
    """One lab's network, its files, and guests.

    Args:
        folder: for the files.
        facts: about the node.
        suffix: of its name, for a second one at a time.
    """

    def __init__(self, folder: Path, facts: Facts = FACTS, suffix: str = "") -> None:
        self.name = f"zt-f{os.getpid() % 1_000_000}{suffix}"
        self.pve = folder
        self.network = Network(self.name)
        self.enforcer = Enforcer(
            self.name,
            Reader(folder, "pve"),
            facts,
            folder / "state.json",
            cycle=0.25,
            applied_file=folder / "in-force.json",
        )
        self._holders: dict[int, subprocess.Popen[bytes]] = {}
        for part in ("firewall", "lxc", "nodes/pve"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def up(self) -> None:
        self.network.up()

    def down(self) -> None:
        self.enforcer.stop()
        for vmid, holder in self._holders.items():
            holder.kill()
            holder.wait()
            subprocess.run(["ip", "netns", "delete", self.inside(vmid)], check=True)
        self.network.down()

    def inside(self, vmid: int) -> str:
        """The namespace that stands for a container."""
        return f"{self.name}-{vmid}"

    def guest(self, vmid: int, *, firewall: bool = True, address: str = "") -> None:
        """Make a container, or change its network device."""
        last = vmid - 400
        net0 = (
            f"name=eth0,bridge=vmbr40,firewall={int(firewall)},gw={GATEWAY},hwaddr=BC:24:11:00:00:{last:02X},"
            f"ip={address or ip(vmid)}/20,type=veth"
        )
        if vmid not in self._holders:
            subprocess.run(["ip", "netns", "add", self.inside(vmid)], check=True)
            argv = [*netns.enter_argv(self.inside(vmid)), "sh", "-c", "echo; exec sleep 3600"]
            holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
            assert holder.stdout is not None
            with holder.stdout as said:
                said.readline()  # it is in its namespace now
            self._holders[vmid] = holder
            self._ip(vmid, "link set dev lo up")
        (self.pve / f"lxc/{vmid}.conf").write_text(f"net0: {net0}\n")
        self.enforcer.sync()
        self.network.plug(vmid, config.nets({"net0": net0})[0], self._holders[vmid].pid)

    def forge(self, vmid: int, address: str) -> None:
        """Give a container an address that is not its own."""
        self._ip(vmid, f"addr replace {address}/20 dev eth0")

    def _ip(self, vmid: int, line: str) -> None:
        subprocess.run([*netns.enter_argv(self.inside(vmid)), "ip", *line.split()], check=True)

    def write(self, cluster: str | None = None, host: str | None = None, **guests: str) -> None:
        """Write firewall files (``vm404="..."``) and have them in force."""
        if cluster is not None:
            (self.pve / "firewall/cluster.fw").write_text(cluster)
        if host is not None:
            (self.pve / "nodes/pve/host.fw").write_text(host)
        for name, text in guests.items():
            (self.pve / f"firewall/{name.removeprefix('vm')}.fw").write_text(text)
        self.enforcer.sync()
        assert self.enforcer.state.failure == ""

    def conntrack(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [*netns.enter_argv(self.name), "conntrack", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def saved(self) -> str:
        """The rules that are in the kernel."""
        argv = [*netns.enter_argv(self.name), "iptables-save"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def sets(self) -> str:
        argv = [*netns.enter_argv(self.name), "ipset", "save"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    # traffic

    def run(self, where: int | None, function: Callable[[], T]) -> T:
        """Call something inside a container; None: on the node."""
        return netns.run_in(self.name if where is None else self.inside(where), function)

    @contextlib.contextmanager
    def listen(self, where: int | None, port: int, address: str = GATEWAY) -> Iterator[socket.socket]:
        """Listen in a container; on the node at an address of its own."""
        space, own = (self.name, address) if where is None else (self.inside(where), ip(where))
        with netns.listen_in(space, own, port) as listener:
            yield listener

    def tcp(self, where: int | None, to: str, port: int, source: str = "") -> str:
        """How a TCP connection ends: ``open``, ``refused``, ``timeout``, ``unreachable``."""
        with self.run(where, socket.socket) as client:
            client.settimeout(WAIT)
            if source:
                client.bind((source, 0))
            try:
                client.connect((to, port))
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                return "timeout"
            except OSError:
                return "unreachable"
            return "open"

    def udp(
        self, where: int | None, to: int, port: int, *, sport: int = 0, source: str = "", address: str = ""
    ) -> bool:
        """Whether a datagram to container ``to`` comes in there."""
        with self.run(to, datagrams) as receiver, self.run(where, datagrams) as sender:
            receiver.bind((ip(to), port))
            receiver.settimeout(WAIT)
            sender.bind((source, sport))
            with contextlib.suppress(PermissionError):
                sender.sendto(b"hello", (address or ip(to), port))
            try:
                return receiver.recv(16) == b"hello"
            except TimeoutError:
                return False

    def icmp(self, where: int | None, to: int, kind: int, code: int = 0) -> bool:
        """Whether an ICMP message to container ``to`` comes in there."""
        payload = struct.pack("!HH", 4711, 1) + b"zentoria"
        head = struct.pack("!BBH", kind, code, 0) + payload
        words = struct.unpack(f"!{len(head) // 2}H", head)
        total = sum(words)
        total = (total >> 16) + (total & 0xFFFF)
        message = struct.pack("!BBH", kind, code, ~(total + (total >> 16)) & 0xFFFF) + payload
        raw = lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)  # noqa: E731 - for a thread
        with self.run(to, raw) as receiver, self.run(where, raw) as sender:
            receiver.settimeout(WAIT)
            sender.sendto(message, (ip(to), 0))
            with contextlib.suppress(TimeoutError):
                while True:
                    if receiver.recv(2048)[20:22] == bytes([kind, code]):
                        return True
        return False


def datagrams() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def ip(vmid: int) -> str:
    """The address of a container."""
    return f"10.10.40.{vmid - 400}"


def filtered(rules: Mapping[str, str] | str = "", options: str = "", more: str = "") -> str:
    """A container's firewall file: closed both ways but for these rules."""
    listed = rules if isinstance(rules, str) else "\n".join(rules.values())
    closed = "enable: 1\npolicy_in: DROP\npolicy_out: DROP\ndhcp: 0\nipfilter: 1\nmacfilter: 1\nndp: 0\nradv: 0"
    return f"[OPTIONS]\n{closed}\n{options}\n{more}\n[RULES]\n{listed}\n"


@contextlib.contextmanager
def world_with_an_outside(folder: Path, guest: int) -> Iterator[World]:
    """A node with its firewall, a guest, and beyond its public bridge somebody who answers on port 80."""
    world = World(folder)
    world.up()
    outside = Outside(world.name)
    try:
        outside.up()
        assert world.enforcer.start() == ""
        world.guest(guest)
        with netns.listen_in(outside.namespace, FAR, 80):
            yield world
    finally:
        outside.down()
        world.down()
