"""What a service says to systemd: which sockets it took, that it is ready, that it lives, that it stops."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping

FIRST_FD = 3
"""``SD_LISTEN_FDS_START`` of sd_listen_fds(3)."""


def activated_sockets(environ: MutableMapping[str, str] | None = None) -> dict[str, socket.socket]:
    """Listening sockets that systemd passed, by name; empty when the process was started without them.

    The variables are removed, so that no child takes the sockets for its own. Two sockets of one name (a unit with
    two ``ListenStream=`` lines) get ``-2``, ``-3`` behind it.

    Raises:
        OSError: a descriptor that was promised is not a listening stream socket.
    """
    environ = os.environ if environ is None else environ
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    environ.pop("LISTEN_PIDFDID", None)
    if not count.isdecimal() or pid != str(os.getpid()):
        return {}
    sockets: dict[str, socket.socket] = {}
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else "unknown"
        unique, number = name, 1
        while unique in sockets:
            number += 1
            unique = f"{name}-{number}"
        sock = socket.socket(fileno=FIRST_FD + index)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(f"descriptor {FIRST_FD + index} ({name}) is not a listening stream socket")
        sock.set_inheritable(False)
        sock.setblocking(False)
        sockets[unique] = sock
    return sockets


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address of ours and listens when the server starts.

    Raises:
        OSError: the address is taken or not ours.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def notify(state: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send ``READY=1`` and the like to the service manager, as sd_notify(3) does.

    Returns:
        Whether it was sent. A service that runs without systemd, or whose manager does not listen any more, goes on.
    """
    path = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(1)
            sock.sendto(state.encode(), address)
    except OSError:
        return False
    return True


def watchdog_interval(environ: Mapping[str, str] | None = None) -> float | None:
    """Seconds between two ``WATCHDOG=1`` messages: half of what the unit allows; None when it asks for none."""
    environ = os.environ if environ is None else environ
    usec = environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 2_000_000 or None


class Manager:
    """systemd as the one who watches over a server that is its service's only process."""

    def __init__(self) -> None:
        self.interval = watchdog_interval()

    def ready(self) -> None:
        """Requests are answered from now on."""
        notify("READY=1")

    def alive(self) -> bool:
        """Pet the watchdog. A service that runs without systemd goes on."""
        notify("WATCHDOG=1")
        return True

    def stopping(self) -> None:
        """The service drains and stops."""
        notify("STOPPING=1")
