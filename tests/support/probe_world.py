"""Network namespaces in place of guests, with a router between them that filters as a test says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

from zentoria_infra.guest import bundle

RUN = "00112233445566aa"


class ProbeGuest:
    """A namespace with one address; the prober is streamed into it as into a guest."""

    def __init__(self, netns: str, address: str) -> None:
        self.netns = netns
        self.address = address

    def command(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.netns}", "--", *argv]

    def ask(self, mode: str, **request: Any) -> dict[str, Any]:
        """One run of the prober. It must end, and close its streams, although listeners stay."""
        text = json.dumps({"version": 1, "mode": mode, "run": RUN, **request}).encode()
        done = subprocess.run(
            self.command(*bundle.agent_argv()),
            input=bundle.prober() + b"%d\n" % len(text) + text,
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def listen(self, *ports: tuple[str, int], syns: Any = (), seconds: float = 20, run: str = RUN) -> dict[str, Any]:
        wanted = [[protocol, self.address, port] for protocol, port in ports]
        return self.ask("listen", run=run, listen=wanted, syns=list(syns), seconds=seconds)

    def probe(self, *targets: tuple[Any, str, int], syns: Any = (), wait: float = 0.6, hops: int = 0) -> dict[str, Any]:
        """Try (who, protocol, port) each, numbered from 0."""
        numbered = [
            [number, protocol, who if isinstance(who, str) else who.address, port, wait, hops]
            for number, (who, protocol, port) in enumerate(targets)
        ]
        return self.ask("probe", targets=numbered, syns=list(syns), at_once=400)

    def pids(self) -> list[int]:
        done = subprocess.run(["ip", "netns", "pids", self.netns], capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    def sockets(self) -> list[str]:
        """Every socket that is in the namespace: TCP, UDP, packet and abstract ones."""
        done = subprocess.run(
            self.command("ss", "--no-header", "--all", "--numeric", "--tcp", "--udp", "--packet", "--unix"),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()


class ProbeWorld:
    """Guests by name behind one router."""

    def __init__(self, tag: str) -> None:
        self._router = f"zt-{tag}-r"
        self.guests: dict[str, ProbeGuest] = {}
        self._tag = tag

    def add(self, name: str) -> ProbeGuest:
        number = len(self.guests) + 1
        guest = ProbeGuest(f"zt-{self._tag}-{name}", f"10.77.{number}.2")
        _ip("netns", "add", guest.netns)
        self.guests[name] = guest
        there = f"v{name}"
        _ip("-n", self._router, "link", "add", there, "type", "veth", "peer", "name", "eth0", "netns", guest.netns)
        _ip("-n", self._router, "addr", "add", f"10.77.{number}.1/24", "dev", there)
        _ip("-n", self._router, "link", "set", there, "up")
        _ip("-n", guest.netns, "link", "set", "lo", "up")
        _ip("-n", guest.netns, "addr", "add", f"{guest.address}/24", "dev", "eth0")
        _ip("-n", guest.netns, "link", "set", "eth0", "up")
        _ip("-n", guest.netns, "route", "add", "default", "via", f"10.77.{number}.1")
        return guest

    def router(self, *argv: str, text: str = "") -> None:
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._router}", "--", *argv], input=text.encode(), check=True, timeout=20
        )

    def filter(self, *rules: str) -> None:
        """Drop what no rule accepts; what belongs to a connection passes."""
        lines = ["ct state established,related accept", *rules]
        body = "\n".join(f"    {line}" for line in lines)
        chain = f"  chain c {{\n    type filter hook forward priority 0; policy drop;\n{body}\n  }}"
        self.router("nft", "-f", "-", text=f"flush ruleset\ntable ip t {{\n{chain}\n}}\n")

    def start(self) -> None:
        _ip("netns", "add", self._router)
        self.router("sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")

    def close(self) -> None:
        for netns in [*(guest.netns for guest in self.guests.values()), self._router]:
            done = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True, check=False)
            for pid in done.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "del", netns], check=False)


@contextlib.contextmanager
def probe_world(*names: str) -> Iterator[ProbeWorld]:
    """A world with guests of these names, and no filter."""
    world = ProbeWorld(f"p{os.getpid() % 100000}")
    try:
        world.start()
        for name in names:
            world.add(name)
        yield world
    finally:
        world.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)
