"""A real SSH server on loopback with only ``pct`` and what a test adds behind it; ``pct exec`` runs on this machine."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko

MSG_CHANNEL_SUCCESS = b"\x63"
"""SSH_MSG_CHANNEL_SUCCESS (RFC 4254, section 9)."""

Outcome = tuple[int, bytes, bytes]
"""Exit code, stdout, stderr."""


class _Transport(paramiko.Transport):
    """A server's end that lets a command begin once it has said that it began.

    paramiko calls ``check_channel_exec_request`` before it answers the request. A command that has ended by then
    closes the channel first, which is no answer.
    """

    def __init__(self, client: socket.socket) -> None:
        super().__init__(client)
        self.asked: list[threading.Event] = []
        """Set with the next answer. One thread reads a connection's requests, and answers each before the next."""

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)
        if data.asbytes()[:1] == MSG_CHANNEL_SUCCESS:
            while self.asked:
                self.asked.pop().set()


class _Rules(paramiko.ServerInterface):
    def __init__(self, node: FakeNode, transport: _Transport) -> None:
        self.node = node
        self.transport = transport

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        ok = username == "root" and key in self.node.authorized
        return paramiko.AUTH_SUCCESSFUL if ok else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self.node.refuse_sessions:
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        answered = threading.Event()
        self.transport.asked.append(answered)
        threading.Thread(target=self.node.run, args=(channel, command.decode(), answered), daemon=True).start()
        return True


class FakeNode:
    """Listens at ``port``. ``commands`` are the strings as they came; ``most`` the most at a time."""

    def __init__(self, host_key: paramiko.PKey) -> None:
        self.host_key = host_key
        self.authorized: list[paramiko.PKey] = []
        self.commands: list[str] = []
        self.answers: dict[str, Outcome] = {}
        """By the words after ``pct``: exit code, stdout, stderr."""
        self.others: dict[str, Outcome | Callable[[], Outcome]] = {}
        """Commands that are not ``pct``, whole: how they end, or what says so."""
        self.refuse_sessions = False
        self.turn_away = 0
        """How many connections are closed before the greeting, as sshd does with an address that it penalises."""
        self.slow = 0.0
        """Seconds that a ``pct exec`` takes before its command begins."""
        self.starting = 0
        self.most_starting = 0
        self.connections = 0
        self.running = 0
        self.most = 0
        self._guard = threading.Lock()
        self._transports: list[paramiko.Transport] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def drop(self) -> None:
        """Cut every connection, as a node that reboots does."""
        # Whoever comes back at once comes to a node that has rebooted.
        gone, self._transports = self._transports, []
        for transport in gone:
            transport.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        self.drop()
        for process in self._processes:
            process.kill()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            if self.turn_away:
                self.turn_away -= 1
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = _Transport(client)
            transport.set_log_channel("tests.sshd")
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Rules(self, transport))
            except (paramiko.SSHException, EOFError, OSError):
                transport.close()

    def run(self, channel: paramiko.Channel, command: str, answered: threading.Event) -> None:
        answered.wait(60)
        with self._guard:
            self.commands.append(command)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            self._run(channel, shlex.split(command))
        except (OSError, EOFError):
            pass  # the client went away
        finally:
            with self._guard:
                self.running -= 1
            with contextlib.suppress(OSError, EOFError):
                channel.close()

    def _run(self, channel: paramiko.Channel, words: list[str]) -> None:
        if words[0] != "pct":
            found = self.others[shlex.join(words)]
            code, out, err = found if isinstance(found, tuple) else found()
            self._answer(channel, code, out, err)
            return
        if words[1] != "exec":
            self._answer(channel, *self.answers.get(" ".join(words[1:]), (255, b"", b"unknown command\n")))
            return
        assert words[3] == "--", words
        with self._guard:
            self.starting += 1
            self.most_starting = max(self.most_starting, self.starting)
        time.sleep(self.slow)
        with self._guard:
            self.starting -= 1
        with (
            subprocess.Popen(  # the tests' own commands
                words[4:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process
        ):
            self._processes.append(process)
            feed = threading.Thread(target=_feed, args=(channel, process), daemon=True)
            feed.start()
            errors = threading.Thread(target=_copy, args=(process.stderr, channel.sendall_stderr), daemon=True)
            errors.start()
            _copy(process.stdout, channel.sendall)
            errors.join(30)
            code = process.wait(30)
        if code >= 0:
            channel.send_exit_status(code)
        # A command that a signal has killed has no exit status: sshd sends exit-signal, then closes.

    @staticmethod
    def _answer(channel: paramiko.Channel, code: int, out: bytes, err: bytes) -> None:
        while channel.recv(1024):  # the client ends stdin once it knows that the command began
            pass
        channel.sendall(out)
        channel.sendall_stderr(err)
        channel.send_exit_status(code)


def _copy(source: Any, send: Any) -> None:
    with contextlib.suppress(OSError, EOFError):
        while chunk := source.read1(65536):
            send(chunk)


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):
        while chunk := channel.recv(65536):
            process.stdin.write(chunk)
            process.stdin.flush()
    with contextlib.suppress(OSError, ValueError):
        process.stdin.close()
    if channel.closed:
        process.kill()
