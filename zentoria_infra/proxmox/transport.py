"""The SSH transport, with one promise more than paramiko's: nothing follows a channel's end."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF

_OF_A_CHANNEL = frozenset({MSG_CHANNEL_DATA, MSG_CHANNEL_EOF})


class _Live(Protocol):
    closed: bool
    remote_chanid: int


class OrderedTransport(paramiko.Transport):
    """Drops data and ends of input of a channel that is closed.

    A command may end while we are saying that its input ends. paramiko then sends the two in any order, from two
    threads, and OpenSSH ends the whole connection with all its channels when something comes on a channel after our
    CLOSE ("packet referred to nonexistent channel"; RFC 4254, section 5.3: no more messages are sent after it).
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sending = threading.Lock()

    def _send_user_message(self, data: paramiko.Message) -> None:
        """Send in order. A channel leaves paramiko's table before its CLOSE is sent, so what comes later shows."""
        with self._sending:
            if not self._comes_late(data):
                super()._send_user_message(data)  # type: ignore[misc]  # paramiko has no public way in between

    def _comes_late(self, data: paramiko.Message) -> bool:
        packet = data.asbytes()
        if packet[0] not in _OF_A_CHANNEL:
            return False
        number = int.from_bytes(packet[1:5], "big")
        channels: list[_Live] = self._channels.values()  # type: ignore[attr-defined]
        return not any(getattr(one, "remote_chanid", None) == number and not one.closed for one in channels)
