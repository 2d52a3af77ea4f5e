"""Sockets that are made inside a network namespace and used outside of it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from zentoria_infra.errors import LabError
from zentoria_infra.lab.network import netns

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"zt-t{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run([*netns.enter_argv(name), "ip", "link", "set", "lo", "up"], check=True)
    subprocess.run([*netns.enter_argv(name), "ip", "addr", "add", "10.10.47.254/20", "dev", "lo"], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_socket_belongs_to_the_namespace_and_serves_from_outside(namespace: str) -> None:
    home = os.stat("/proc/thread-self/ns/net").st_ino
    with netns.listen_in(namespace, "10.10.47.254", 0) as listener:
        port = listener.getsockname()[1]
        with netns.socket_in(namespace) as client:
            client.connect(("10.10.47.254", port))
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(b"hello")
                assert accepted.recv(5) == b"hello"
        with socket.socket() as outside, pytest.raises(OSError):
            outside.settimeout(0.2)
            outside.connect(("10.10.47.254", port))
    assert os.stat("/proc/thread-self/ns/net").st_ino == home


def test_a_taken_port_and_what_a_function_raises_reach_the_caller(namespace: str) -> None:
    with netns.listen_in(namespace, "10.10.47.254", 0) as listener, pytest.raises(OSError, match="in use"):
        netns.listen_in(namespace, "10.10.47.254", listener.getsockname()[1])
    with pytest.raises(ZeroDivisionError):
        netns.run_in(namespace, lambda: 1 // 0)


def test_a_missing_namespace_is_named() -> None:
    assert not netns.exists("zt-nowhere")
    with pytest.raises(LabError, match="zt-nowhere"):
        netns.socket_in("zt-nowhere")
