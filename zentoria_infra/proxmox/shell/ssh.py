"""One SSH connection to a node, with its host key pinned, and at most eight channels on it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
import tenacity

from zentoria_infra.errors import AuthError, UnreachableError
from zentoria_infra.proxmox.transport import OrderedTransport

CHANNELS = 8
"""Channels at a time; OpenSSH's sshd allows 10 sessions a connection (MaxSessions)."""

SPARE_CHANNELS = 1
"""Channels besides, for what must not wait behind long installs: the renewal of a lock."""

PATIENCE = 60.0
"""Seconds in which a session is asked for again: sshd gives back late those that have ended, and holds those of
commands that were given up on until they end, which their own time limits see to."""

PENALTY = 45.0
"""Seconds in which a node is asked again that closes connections before its greeting. OpenSSH from 9.8 on does so with
an address that has failed to log in, for 15 s and more (sshd_config, PerSourcePenalties), and any with too many logins
under way (MaxStartups)."""

_GREETING = "SSH protocol banner"
"""In what paramiko says of a connection that was closed, or was silent, where the greeting should be."""

_REFUSED = "Unable to open channel."
"""What paramiko says of a refused session whose reason it has lost."""

_RESOURCE_SHORTAGE = 4
"""SSH_OPEN_RESOURCE_SHORTAGE (RFC 4254, section 5.1)."""

KEEPALIVE = 15
"""Seconds between two keepalives, so that no firewall forgets the connection during a long install."""


_WIRE = logging.getLogger(f"{__name__}.wire")
_WIRE.setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class SshTarget:
    """The node's SSH service.

    Attributes:
        host: name or address.
        host_key: what identifies it: ``ssh-ed25519 AAAA...`` or ``SHA256:...``, as ``ssh-keygen -l`` prints it.
        port: TCP port.
        user: root, who alone may run ``pct``.
        key_file: private key; without it the user's SSH agent is asked.
        connect_timeout: seconds, for connecting, greeting and logging in, each.
        inside: whether containers have an inside to run commands in; those of a lab without guests have none.
    """

    host: str
    host_key: str
    port: int = 22
    user: str = "root"
    key_file: Path | None = None
    connect_timeout: float = 10.0
    inside: bool = True

    @property
    def where(self) -> str:
        """``user@host:port``, for error texts."""
        return f"{self.user}@{self.host}:{self.port}"


def fingerprint(key: paramiko.PKey) -> str:
    """``SHA256:...`` as OpenSSH prints it (base64 without padding)."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class TurnedAwayError(UnreachableError):
    """The node took the connection, and closed it before its greeting."""


class _PinnedHostKey(paramiko.MissingHostKeyPolicy):
    """Accepts one key. The client knows no hosts, so that every key comes here."""

    def __init__(self, target: SshTarget) -> None:
        self._target = target

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        seen = fingerprint(key)
        pinned = self._target.host_key.split()
        if pinned[:2] not in ([seen], [key.get_name(), key.get_base64()]):
            raise _host_key_error(self._target, key)


def _host_key_error(target: SshTarget, key: paramiko.PKey) -> UnreachableError:
    return UnreachableError(
        "recognise the node's SSH host key",
        on=target.where,
        got=f"expected {target.host_key or 'nothing, since none is pinned'}, saw {key.get_name()} {fingerprint(key)}",
        todo="compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the node; only if they are the "
        "same, put that fingerprint into the site file as the SSH host key",
    )


class SshConnection:
    """Opens channels on one connection, made at first use and again if it has died. Safe from several threads.

    Args:
        target: where, and what to trust.
        channels: how many channels may be open at a time; further callers wait.
    """

    def __init__(self, target: SshTarget, *, channels: int = CHANNELS) -> None:
        self.target = target
        self._places = threading.BoundedSemaphore(channels)
        self._spare = threading.BoundedSemaphore(SPARE_CHANNELS)
        self._guard = threading.Lock()
        self._client: paramiko.SSHClient | None = None
        self._count = 0
        self._turned_away: TurnedAwayError | None = None
        self._until = 0.0

    @property
    def round_trips(self) -> int:
        """Commands begun so far."""
        with self._guard:
            return self._count

    @contextlib.contextmanager
    def channel(self, tried: str, *, spare: bool = False) -> Iterator[paramiko.Channel]:
        """A fresh channel, held against the limit until the block ends; closed then.

        When the connection turns out dead before a channel is open, a new one is made, once: nothing has been
        sent by then.

        Args:
            tried: what it is for, for error texts.
            spare: take the place that is kept free for what is short and must not wait.

        Raises:
            UnreachableError: no connection, or a host key that is not the pinned one.
            AuthError: the key is not accepted.
        """
        with self._spare if spare else self._places:
            channel = self._open(tried)
            try:
                yield channel
            finally:
                with contextlib.suppress(EOFError, OSError):  # it may be closed with its connection
                    channel.close()

    def begin(self, channel: paramiko.Channel, command: str, tried: str) -> None:
        """Start ``command`` on a channel. It may have begun even if this fails, so it is never sent again."""
        with self._guard:
            self._count += 1
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise dropped(self.target, tried, str(error) or "the channel was closed") from None

    def close(self) -> None:
        """Close the connection; the next channel makes a new one."""
        with self._guard:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _open(self, tried: str) -> paramiko.Channel:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(paramiko.ChannelException),
            stop=tenacity.stop_after_delay(PATIENCE),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1),
            reraise=True,
        )
        try:
            return retrying(self._open_once, tried)
        except paramiko.ChannelException as error:
            raise UnreachableError(
                tried,
                on=self.target.where,
                got=f"sshd refused another session for {PATIENCE:.0f} s: {error.text}",
                todo="others hold its sessions, perhaps commands of a run before that have not ended: wait, then run "
                "again. If it stays, raise MaxSessions in the node's sshd_config to 10, its default",
            ) from None

    def _open_once(self, tried: str) -> paramiko.Channel:
        for last in (False, True):
            transport = self._transport()
            try:
                return transport.open_session(timeout=self.target.connect_timeout)
            except paramiko.ChannelException:
                raise  # nothing has begun: it may be asked for again
            except (paramiko.SSHException, OSError, EOFError) as error:
                if str(error) == _REFUSED and transport.is_active():
                    # The same: paramiko keeps one reason a connection, and another thread has taken ours.
                    raise paramiko.ChannelException(_RESOURCE_SHORTAGE, str(error)) from None
                # Others may be at work on one that is only slow; on one that cannot send, nobody is. Its own thread
                # notices that a moment later than we do.
                if not transport.is_active() or not isinstance(error, paramiko.SSHException):
                    self._discard(transport)
                if last:
                    raise dropped(self.target, tried, str(error) or "the connection was closed") from None
        raise AssertionError("unreachable")

    def _transport(self) -> paramiko.Transport:
        with self._guard:
            transport = self._client.get_transport() if self._client is not None else None
            if transport is None or not transport.is_active():
                if self._client is not None:
                    self._client.close()
                self._client = None
                self._client = self._connected()
                transport = self._client.get_transport()
            assert transport is not None  # noqa: S101  # a client that connected has one
            return transport

    def _connected(self) -> paramiko.SSHClient:
        """Connect; wait a while for a node that turns us away for now. What waits behind us is told the same then."""
        if self._turned_away is not None and time.monotonic() < self._until:
            raise self._turned_away
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TurnedAwayError),
            stop=tenacity.stop_after_delay(PENALTY),
            wait=tenacity.wait_random_exponential(multiplier=1, min=1, max=8),
            reraise=True,
        )
        try:
            client = retrying(_connect, self.target)
        except TurnedAwayError as error:
            self._turned_away, self._until = error, time.monotonic() + PENALTY
            raise
        self._turned_away = None
        return client

    def _discard(self, transport: paramiko.Transport) -> None:
        """Close the client of a dead transport, unless another thread has replaced it."""
        with self._guard:
            if self._client is not None and self._client.get_transport() in (transport, None):
                self._client.close()
                self._client = None


def _connect(target: SshTarget) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    # paramiko writes tracebacks of every lost connection; our errors say the same to the user.
    client.set_log_channel(_WIRE.name)
    client.set_missing_host_key_policy(_PinnedHostKey(target))
    _prefer_pinned(client, target)
    tried = "connect over SSH"
    try:
        client.connect(
            target.host,
            port=target.port,
            username=target.user,
            key_filename=str(target.key_file) if target.key_file else None,
            allow_agent=target.key_file is None,
            look_for_keys=False,
            timeout=target.connect_timeout,
            banner_timeout=target.connect_timeout,
            auth_timeout=target.connect_timeout,
            transport_factory=OrderedTransport,
        )
    except UnreachableError:
        client.close()
        raise
    except paramiko.BadHostKeyException as error:
        client.close()
        raise _host_key_error(target, error.key) from None
    except paramiko.PasswordRequiredException:
        client.close()
        raise AuthError(
            tried,
            on=target.where,
            got=f"{target.key_file} has a passphrase",
            todo="use the SSH agent, or a key without one",
        ) from None
    except paramiko.AuthenticationException as error:
        client.close()
        raise AuthError(
            tried,
            on=target.where,
            got=str(error) or "authentication failed",
            todo=f"put the public half of {target.key_file or 'your key'} into {target.user}'s authorized_keys there",
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        client.close()
        if _GREETING in str(error):
            raise TurnedAwayError(
                tried,
                on=target.where,
                got=f"it takes connections and does not greet, for {PENALTY:.0f} s ({error})",
                todo="is that port an SSH service? After failed logins, sshd turns the address that they came from "
                "away for a while (PerSourcePenalties in sshd_config; `journalctl -u ssh` there names it): wait a "
                "minute, then run again with the right key",
            ) from None
        raise UnreachableError(
            tried,
            on=target.where,
            got=str(error).removeprefix("[Errno None] ") or type(error).__name__,
            todo="check the SSH host, port and key file in the site file, and that sshd runs on the node",
        ) from None
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE)
        # A command is a handful of small packets each way: with Nagle's algorithm each costs 40 ms.
        if isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _prefer_pinned(client: paramiko.SSHClient, target: SshTarget) -> None:
    """Make the server show the key type that is pinned: it has several, and shows the first that we ask for."""
    words = target.host_key.split()
    if len(words) < 2:
        return
    name = target.host if target.port == 22 else f"[{target.host}]:{target.port}"
    try:
        key = paramiko.PKey.from_type_string(words[0], base64.b64decode(words[1], validate=True))
    except (binascii.Error, paramiko.SSHException, ValueError):
        raise UnreachableError(
            "read the pinned SSH host key",
            on=target.where,
            got=f"{target.host_key[:40]!r} is not a public key",
            todo="give it as `ssh-ed25519 AAAA...` or `SHA256:...`",
        ) from None
    client.get_host_keys().add(name, words[0], key)


def dropped(target: SshTarget, tried: str, why: str) -> UnreachableError:
    """The connection went away in the middle of something."""
    return UnreachableError(
        tried,
        on=target.where,
        got=f"the SSH connection broke: {why}",
        todo="what ran may have been half done; run again, and it goes on from there",
    )
