"""The lab's TCP ports on 127.0.0.1: which are free, and who has one that is not."""

from __future__ import annotations

import socket
from collections.abc import Collection

import psutil

from zentoria_infra.errors import LabError
from zentoria_infra.lab.registry import Ports


def is_free(port: int) -> bool:
    """Whether we can listen on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int, seconds: float = 2.0) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=seconds).close()
    except OSError:
        return False
    return True


def holder(port: int) -> str:
    """Who listens on a port: ``pid 123 (nginx)``, or words that it cannot be seen."""
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        found = []
    for entry in found:
        if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port and entry.pid:
            try:
                return f"pid {entry.pid} ({psutil.Process(entry.pid).name()})"
            except psutil.Error:
                return f"pid {entry.pid}"
    return "a process that we may not see"


def require_free(ports: Ports, but: Collection[str] = ()) -> None:
    """Check that the lab's ports are free; names in ``but`` are passed over.

    Raises:
        LabError: one is taken; it says by whom.
    """
    wanted = {name: port for name, port in ports.named().items() if name not in but}
    if len(set(wanted.values())) != len(wanted):
        raise LabError("choose the lab's ports", got=f"one is used twice: {wanted}", todo="give each its own number")
    taken = [(name, port) for name, port in wanted.items() if not is_free(port)]
    if taken:
        told = "; ".join(f"port {port} is taken by {holder(port)}" for _, port in taken)
        options = " ".join(f"--{name}-port" for name, _ in taken)
        raise LabError(
            "start the lab", on="127.0.0.1", got=told,
            todo=f"stop that program, or take other ports: {options}, or all at once with --ports auto",
        )  # fmt: skip


def free_ports() -> Ports:
    """Four ports that are free now."""
    probes = [socket.socket() for _ in range(4)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return Ports(*(int(probe.getsockname()[1]) for probe in probes))
    finally:
        for probe in probes:
            probe.close()
