"""Packets as bytes: a TCP SYN with any source address, and what a packet that came in says."""

from __future__ import annotations

import socket
import struct

MAGIC = b"ZTPR"
"""The first four bytes of every datagram of ours."""

_TOKEN = struct.Struct("!4s8sI")
_TCP, _UDP = 6, 17
_SYN, _SYN_ACK = 0x02, 0x12

Syn = tuple[str, str, int, int, int]
"""Source, destination, source port, port, sequence number: together they mark a packet of ours well enough."""


def token(run: str, number: int) -> bytes:
    """What a datagram carries: whose it is (16 hexadecimal digits), and which probe."""
    return _TOKEN.pack(MAGIC, bytes.fromhex(run), number)


def read_token(data: bytes, run: str) -> int | None:
    """The number of the probe; None for what is not of this run."""
    if len(data) != _TOKEN.size:
        return None
    magic, whose, number = _TOKEN.unpack(data)
    return int(number) if magic == MAGIC and whose.hex() == run else None


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(packet: Syn) -> bytes:
    """An IPv4 packet with the beginning of a TCP connection. The kernel fills in length, id and IP checksum."""
    source, destination, source_port, port, sequence = packet
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!HHIIBBH", source_port, port, sequence, 0, 5 << 4, _SYN, 64240)
    pseudo = ends + struct.pack("!BBH", 0, _TCP, 20)
    tcp = head + struct.pack("!HH", checksum(pseudo + head + b"\0\0\0\0"), 0)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, _TCP, 0) + ends + tcp


def read_syn(packet: bytes) -> Syn | None:
    """What an IPv4 packet with a SYN says; None for every other packet."""
    at = _payload(packet, _TCP)
    if at is None or len(packet) < at + 14:
        return None
    source_port, port, sequence, _, _, flags = struct.unpack_from("!HHIIBB", packet, at)
    if flags & _SYN_ACK != _SYN:
        return None
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), source_port, port, sequence


def read_datagram(packet: bytes) -> bytes | None:
    """The content of an IPv4 packet with a whole UDP datagram; None for every other packet."""
    at = _payload(packet, _UDP)
    if at is None or len(packet) < at + 8:
        return None
    (length,) = struct.unpack_from("!H", packet, at + 4)
    return packet[at + 8 : at + length]


def _payload(packet: bytes, protocol: int) -> int | None:
    """Where the protocol's own header begins, in a packet that is no fragment."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != protocol:
        return None
    if struct.unpack_from("!H", packet, 6)[0] & 0x3FFF:
        return None
    return (packet[0] & 15) * 4
