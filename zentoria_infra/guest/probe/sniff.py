"""Sees packets of ours come in, whatever listens on their port and whatever source they claim."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable

from . import packets

_ETH_P_IP = 0x0800
_PACKET_OUTGOING = 4
_SO_ATTACH_FILTER = 26
_KEPT = 256
"""Bytes of a packet that are read; ours are shorter."""

# Classic BPF, so that a busy guest's traffic costs nothing: TCP with SYN and without ACK, and UDP that begins
# as ours does. (opcode, jump if true, jump if false, operand); offsets count from the IP header.
_FILTER = (
    (0x28, 0, 0, 6),  # A = flags and fragment offset
    (0x45, 10, 0, 0x3FFF),  # a fragment: drop
    (0xB1, 0, 0, 0),  # X = length of the IP header
    (0x30, 0, 0, 9),  # A = protocol
    (0x15, 0, 3, 6),  # TCP, or see below
    (0x50, 0, 0, 13),  # A = flags of TCP
    (0x54, 0, 0, 0x12),
    (0x15, 3, 4, 0x02),  # SYN alone: keep
    (0x15, 0, 3, 17),  # UDP, or drop
    (0x40, 0, 0, 8),  # A = first four bytes of its content
    (0x15, 0, 1, int.from_bytes(packets.MAGIC, "big")),
    (0x06, 0, 0, _KEPT),  # keep
    (0x06, 0, 0, 0),  # drop
)


class Sniffer:
    """Sees packets that come in from now on.

    Args:
        run: whose datagrams to look for.
        wanted: SYNs to look for, by the number of their probe.

    Raises:
        OSError: raw packets may not be read here.
    """

    def __init__(self, run: str, wanted: Iterable[tuple[int, packets.Syn]]) -> None:
        self._run = run
        self._wanted = {packet: number for number, packet in wanted}
        self.seen: set[int] = set()
        """Numbers of the probes whose packets came in."""
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        try:
            code = b"".join(struct.pack("HBBI", *step) for step in _FILTER)
            held = ctypes.create_string_buffer(code, len(code))
            program = struct.pack("HP", len(_FILTER), ctypes.addressof(held))
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            raise

    def drain(self) -> None:
        """Take in everything that has come."""
        while True:
            try:
                packet, where = self.socket.recvfrom(_KEPT)
            except BlockingIOError:
                return
            except OSError:  # an interface went down: the others go on
                continue
            if where[2] == _PACKET_OUTGOING:
                continue
            found = packets.read_syn(packet)
            number = self._wanted.get(found) if found is not None else None
            if number is None:
                number = packets.read_token(packets.read_datagram(packet) or b"", self._run)
            if number is not None:
                self.seen.add(number)
