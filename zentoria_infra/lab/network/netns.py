"""Work inside a lab's network namespace from a process that stays outside of it.

A socket belongs for ever to the namespace it was made in, whichever thread or process uses it later. So a
thread of its own enters the namespace, makes the socket, and ends: the rest of the process never moves.
For programs there is :func:`enter_argv`. We use ``nsenter --net`` and not ``ip netns exec``: the second
remounts /sys and hides the cgroups.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from zentoria_infra.errors import LabError

FOLDER = Path("/run/netns")
"""Where iproute2 keeps named network namespaces."""

_CLONE_NEWNET = 0x40000000

T = TypeVar("T")


def path(name: str) -> Path:
    """The file that names a network namespace."""
    return FOLDER / name


def exists(name: str) -> bool:
    """Whether the network namespace is there. An empty file that is left behind is none."""
    try:
        return os.stat(path(name)).st_dev != os.stat(FOLDER).st_dev
    except FileNotFoundError:
        return False


def enter_argv(name: str) -> list[str]:
    """The prefix that runs a program inside the namespace: ``[*enter_argv(netns), "ip", "addr"]``."""
    return ["nsenter", f"--net={path(name)}", "--"]


def run_in(name: str, function: Callable[[], T]) -> T:
    """Call ``function`` in a thread that has entered the namespace, and return what it returns.

    Whatever opens a socket or reads ``/proc/sys/net`` in there sees the namespace. What ``function`` raises
    is raised here. It must not hand work to other threads.

    Raises:
        LabError: there is no such namespace, or we may not enter it (it takes root).
    """
    if not exists(name):
        raise LabError(
            "enter the lab's network", on=name, got="there is no such network namespace",
            todo="start the lab with 'zentoria lab up'",
        )  # fmt: skip
    call = _Call(name, function)
    thread = threading.Thread(target=call.run, name=f"netns-{name}", daemon=True)
    thread.start()
    thread.join()
    if call.failure is not None:
        raise call.failure
    return call.values[0]


def socket_in(
    name: str,
    family: socket.AddressFamily = socket.AF_INET,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    """Make a socket inside the namespace; the caller binds or connects it, and closes it.

    It works with asyncio as any other: ``await loop.sock_connect(socket_in(netns), (host, port))`` reaches
    the guests, and ``asyncio.start_server(handler, sock=listen_in(...))`` serves them.

    Raises:
        LabError: see :func:`run_in`.
    """
    return run_in(name, lambda: socket.socket(family, kind))


def listen_in(name: str, address: str, port: int, backlog: int = 128) -> socket.socket:
    """Make a TCP socket that listens on ``address:port`` (IPv4; port 0 takes a free one) in the namespace.

    Raises:
        LabError: see :func:`run_in`.
        OSError: the address is not in the namespace, or the port is taken.
    """
    listener = socket_in(name)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


class _Call(Generic[T]):
    """One function and its outcome, carried across a thread."""

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self._name = name
        self._function = function
        self.values: list[T] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            _enter(self._name)
            self.values.append(self._function())
        except BaseException as failure:  # raised again by run_in, in the caller's thread
            self.failure = failure


def _enter(name: str) -> None:
    """Move this thread into the namespace for good. ``os.setns`` comes with Python 3.12 only."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise LabError("enter the lab's network", on=name, got=os.strerror(code), todo="run the lab as root")
    finally:
        os.close(descriptor)
