"""Temporary listeners: they stand in where no service listens, see what comes in, and end by themselves."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import packets
from .sniff import Sniffer

NAME = "\0zentoria-probe"
"""Of the socket that takes orders: abstract, so that it is no file. One in each guest, so that no second run's
listeners are taken for services."""

_BACKLOG = 128
_HANDOVER = 5.0
"""Seconds that the listeners of an earlier run have to end."""
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Refused(Exception):
    """It cannot be done here; the text says why."""


def start(request: dict[str, Any]) -> dict[str, Any]:
    """Listen on everything that is free, and go on in the background until told to stop or until the deadline.

    Args:
        request: ``run``, ``listen`` ([protocol, address, port] each), ``syns`` ([number, SYN] each), ``seconds``.

    Returns:
        ``held``: those of ``listen`` on which a service listens; ``failed``: those that could not be had, and why;
        ``sniffing``: empty, or why packets cannot be seen.
    """
    stop()
    listeners = _Listeners(request)
    report = listeners.open()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        _detach(listeners, float(request["seconds"]))
    os.waitpid(child, 0)
    return report


def stop() -> None:
    """End the listeners of any run."""
    with contextlib.suppress(FileNotFoundError, ConnectionError):
        ask({"do": "stop"})


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """Give an order to this guest's listeners, and wait for what they say.

    Raises:
        ConnectionError: there are none.
        Refused: they do not answer, or are another run's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_HANDOVER)
        try:
            line.connect(NAME)
            line.sendall(json.dumps(order).encode() + b"\n")
            with line.makefile("rb") as stream:
                answer = stream.readline()
        except TimeoutError:
            raise Refused(f"the listeners do not answer within {_HANDOVER:.0f} s") from None
    if not answer:
        raise ConnectionResetError(errno.ECONNRESET, "the listeners ended")
    found: dict[str, Any] = json.loads(answer)
    if "error" in found:
        raise Refused(found["error"])
    return found


def _detach(listeners: _Listeners, seconds: float) -> None:
    """Become a process of its own, which holds nothing of the command that began it. Does not come back."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)  # ends the process whatever it is at
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        kept = {0, 1, 2, *listeners.descriptors}
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in kept:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        listeners.serve()
    finally:
        os._exit(0)


class _Listeners:
    """All sockets of one run in one guest."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._run: str = request["run"]
        self._wanted: list[tuple[str, str, int]] = [(one[0], one[1], one[2]) for one in request["listen"]]
        self._syns: list[tuple[int, packets.Syn]] = [(number, tuple(syn)) for number, syn in request["syns"]]
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._tcp: list[socket.socket] = []
        self._udp: list[socket.socket] = []
        self._sniffer: Sniffer | None = None
        self._stopping = False

    @property
    def descriptors(self) -> Sequence[int]:
        sniffer = [self._sniffer.socket] if self._sniffer is not None else []
        return [one.fileno() for one in (self._orders, *self._tcp, *self._udp, *sniffer)]

    def open(self) -> dict[str, Any]:
        try:
            self._orders.bind(NAME)
        except OSError:
            raise Refused("another verification is at work in this guest") from None
        self._orders.listen(4)
        sniffing = ""
        try:
            self._sniffer = Sniffer(self._run, self._syns)
        except OSError as error:
            sniffing = error.strerror or str(error)
        held: list[tuple[str, str, int]] = []
        failed: list[tuple[str, str, int, str]] = []
        for kind, address, port in self._wanted:
            one = socket.socket(socket.AF_INET, _KINDS[kind])
            try:
                # Its own address, and not all: a service may have the port on 127.0.0.1 only.
                one.bind((address, port))
                if kind == "tcp":
                    # Nobody accepts: the kernel completes connections. Whoever closes first has the port in TIME_WAIT
                    # for a minute, and that must not be we.
                    one.listen(_BACKLOG)
            except OSError as error:
                one.close()
                if error.errno == errno.EADDRINUSE and (kind == "udp" or _answers(address, port)):
                    held.append((kind, address, port))
                else:
                    failed.append((kind, address, port, error.strerror or str(error)))
                continue
            one.setblocking(False)
            (self._tcp if kind == "tcp" else self._udp).append(one)
        return {"held": held, "failed": failed, "sniffing": sniffing}

    def serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._orders, selectors.EVENT_READ, self._order)
            for one in self._udp:
                selector.register(one, selectors.EVENT_READ, _echo(one, self._run))
            if self._sniffer is not None:
                selector.register(self._sniffer.socket, selectors.EVENT_READ, self._sniffer.drain)
            while not self._stopping:
                for key, _ in selector.select():
                    key.data()

    def _order(self) -> None:
        line, _ = self._orders.accept()
        with line:
            line.settimeout(1.0)
            with contextlib.suppress(OSError, ValueError):
                _, who, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                if who != os.getuid():
                    return
                with line.makefile("rb") as stream:
                    order = json.loads(stream.readline(4096))
                answer = self._answer(order)
                line.sendall(json.dumps(answer).encode() + b"\n")

    def _answer(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "collect" and order["run"] != self._run:
            return {"error": "another verification has taken over in this guest"}
        if self._sniffer is not None:
            self._sniffer.drain()
        self._close()
        return {"seen": sorted(self._sniffer.seen) if self._sniffer is not None else []}

    def _close(self) -> None:
        """Close everything before the answer: the next run may take the ports when it has that."""
        self._stopping = True
        for one in (self._orders, *self._tcp, *self._udp, *([self._sniffer.socket] if self._sniffer else [])):
            one.close()


def _echo(one: socket.socket, run: str) -> Callable[[], None]:
    def echo() -> None:
        with contextlib.suppress(OSError):
            data, sender = one.recvfrom(2048)
            if packets.read_token(data, run) is not None:
                one.sendto(data, sender)

    return echo


def _answers(address: str, port: int) -> bool:
    """Whether something takes connections there; it is asked again for a moment, as it may be starting."""
    until = time.monotonic() + 1.0
    while True:
        try:
            socket.create_connection((address, port), 1.0).close()
        except OSError:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        else:
            return True
