"""Tries connections from inside a guest, all at once."""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from . import packets

CONNECTED = "connected"
"""TCP: taken; UDP: answered."""
REFUSED = "refused"
"""The host answered that nothing listens (or something on the way answered in its name)."""
SILENT = "silent"
UNREACHABLE = "unreachable"
"""Another host answered that it does not pass it on. So it left the guest."""
LOCAL = "local"
"""It never left, or the next host is not there; followed by why."""

_SPARE = 64
"""Descriptors that are left for other things than probes."""
_SENDS = 3
"""Times that a datagram is sent."""
_IP_RECVERR = 11
_FROM_ICMP = 2
_IN_PROGRESS = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK})


class _Try:
    """One probe under way."""

    def __init__(self, number: int, protocol: str, wait: float, hops: int) -> None:
        self.number = number
        self.wait = wait
        self.own = ""
        self.sends = 1 if protocol == "tcp" else _SENDS
        self.left = self.sends
        self.is_tcp = protocol == "tcp"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if self.is_tcp else socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        if hops:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)

    def meaning(self, code: int) -> str:
        """What an error says."""
        if code == errno.ECONNREFUSED:
            return REFUSED
        if code == errno.ETIMEDOUT:
            return SILENT
        # The kernel says that a neighbour is not there with an ICMP of its own, from this guest's own address.
        return UNREACHABLE if self._reporter() not in ("", self.own) else f"{LOCAL}: {os.strerror(code)}"

    def _reporter(self) -> str:
        """Address of the host whose ICMP brought an error; empty when none did."""
        try:
            _, found, _, _ = self.socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return ""
        for level, kind, data in found:
            # struct sock_extended_err, and the sockaddr_in of who says so.
            if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) and len(data) >= 24 and data[4] == _FROM_ICMP:
                return socket.inet_ntoa(data[20:24])
        return ""


class Attempts:
    """Tries TCP and UDP targets.

    Args:
        run: goes with datagrams.
        at_once: how many are under way at a time.
    """

    def __init__(self, run: str, at_once: int) -> None:
        self._run = run
        self._at_once = min(at_once, _room())
        self._results: dict[int, str] = {}
        self._selector = selectors.DefaultSelector()
        self._busy: dict[int, _Try] = {}
        self._until: list[tuple[float, int]] = []

    def run(self, targets: Iterable[tuple[int, str, str, int, float, int]]) -> dict[int, str]:
        """Try all of them; what came of each, by number.

        Args:
            targets: number, protocol, address, port, seconds to wait, and how many hosts may pass it on (0: many).
        """
        waiting = deque(targets)
        with self._selector:
            while waiting or self._busy:
                while waiting and len(self._busy) < self._at_once:
                    self._start(*waiting.popleft())
                if not self._until:
                    continue
                for key, _ in self._selector.select(max(0.0, self._until[0][0] - time.monotonic())):
                    self._hear(key.data)
                self._expire()
        return self._results

    def _start(self, number: int, protocol: str, address: str, port: int, wait: float, hops: int) -> None:
        one = _Try(number, protocol, wait, hops)
        code = one.socket.connect_ex((address, port))
        if code not in _IN_PROGRESS:
            one.socket.close()
            self._results[number] = REFUSED if code == errno.ECONNREFUSED else f"{LOCAL}: {os.strerror(code)}"
            return
        one.own = one.socket.getsockname()[0]
        self._busy[number] = one
        self._selector.register(one.socket, selectors.EVENT_WRITE if one.is_tcp else selectors.EVENT_READ, one)
        self._send(one)

    def _send(self, one: _Try) -> None:
        """Send a datagram (a connection's packets are the kernel's), and set the time to look again."""
        one.left -= 1
        if not one.is_tcp:
            try:
                one.socket.send(packets.token(self._run, one.number))
            except OSError as error:
                self._finish(one, one.meaning(error.errno or 0))
                return
        heapq.heappush(self._until, (time.monotonic() + one.wait / one.sends, one.number))

    def _hear(self, one: _Try) -> None:
        if one.number not in self._busy:
            return
        if one.is_tcp:
            code = one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._finish(one, one.meaning(code) if code else CONNECTED)
            return
        try:
            one.socket.recv(2048)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(one, one.meaning(error.errno or 0))
        else:
            self._finish(one, CONNECTED)

    def _expire(self) -> None:
        now = time.monotonic()
        while self._until and self._until[0][0] <= now:
            _, number = heapq.heappop(self._until)
            one = self._busy.get(number)
            if one is None:
                continue
            if one.left:
                self._send(one)
            else:
                self._finish(one, SILENT)

    def _finish(self, one: _Try, result: str) -> None:
        self._results[one.number] = result
        del self._busy[one.number]
        self._selector.unregister(one.socket)
        one.socket.close()


def _room() -> int:
    """How many sockets this process may have; the soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, soft - _SPARE)


class Forger:
    """Sends SYNs whose source address may be another guest's. Whether they come in is seen at the other end."""

    def __init__(self, syns: Iterable[tuple[int, packets.Syn]]) -> None:
        self._syns = list(syns)

    def send(self) -> dict[int, str]:
        """Send each of them once; empty text for one that was sent, else why not."""
        if not self._syns:
            return {}
        results: dict[int, str] = {}
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        except OSError as error:
            return {number: error.strerror or str(error) for number, _ in self._syns}
        with raw:
            for number, syn in self._syns:
                try:
                    raw.sendto(packets.syn(syn), (syn[1], 0))
                except OSError as error:
                    results[number] = error.strerror or str(error)
                else:
                    results[number] = ""
        return results


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out a request to probe.

    Args:
        request: ``run``, ``targets`` ([number, protocol, address, port, seconds, hops] each), ``syns`` ([number, SYN]
            each), ``at_once``.

    Returns:
        ``results`` and ``sent``, both by number.
    """
    forger = Forger((number, tuple(syn)) for number, syn in request["syns"])
    forger.send()
    results = Attempts(request["run"], request["at_once"]).run(tuple(one) for one in request["targets"])
    sent = forger.send()  # again, in case that one was lost
    return {"results": results, "sent": sent}
