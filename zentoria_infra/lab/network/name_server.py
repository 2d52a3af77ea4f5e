"""A name server on the node's own address, as a home network's router has one (RFC 1035): UDP and TCP.

It knows the names that the guests' proxy lets through, as this machine resolves them, and refuses all others: nothing
that a guest asks leaves the machine otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Collection

from zentoria_infra.lab.network import netns

_HEAD = struct.Struct("!HHHHHH")
_A, _IN = 1, 1
_FAILED, _UNKNOWN, _REFUSED = 2, 3, 5
_FORMAT = 1
_TTL = 60
_IDLE_SECONDS = 10.0
_AT_ONCE = 64


class NameServer:
    """Answers questions about some names.

    Args:
        names: those that it knows, in lower case, without a dot at the end.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def start(self, datagrams: socket.socket, listener: socket.socket) -> None:
        """Serve on two bound sockets, which are ours from now on."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        self._server = await asyncio.start_server(self._connection, sock=listener)

    async def stop(self) -> None:
        """Stop, and drop what is open."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, query: bytes) -> bytes:
        """The answer to a query; nothing to what is none."""
        if len(query) < _HEAD.size:
            return b""
        number, flags, questions, *_ = _HEAD.unpack_from(query)
        if flags & 0x8000:
            return b""  # an answer
        name, end = _name(query)
        kept = flags & 0x0100  # what was asked of us: recursion
        if questions != 1 or flags & 0x7800 or end + 4 > len(query):
            return _HEAD.pack(number, 0x8080 | kept | _FORMAT, 0, 0, 0, 0)
        kind, group = struct.unpack_from("!HH", query, end)
        code, addresses = await self._find(name, kind, group)
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL, 4) + socket.inet_aton(address) for address in addresses
        )
        head = _HEAD.pack(number, 0x8080 | kept | code, 1, len(addresses), 0, 0)
        return head + query[_HEAD.size : end + 4] + records

    def datagram(self, data: bytes, sender: tuple[str, int]) -> None:
        """Answer a datagram; what comes while too many are open is dropped, and asked again."""
        if len(self._tasks) < _AT_ONCE:
            self._keep(asyncio.ensure_future(self._send(data, sender)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, data: bytes, sender: tuple[str, int]) -> None:
        found = await self.answer(data)
        if found and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(found, sender)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._keep(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while found := await self._answered(reader):
                    writer.write(len(found).to_bytes(2, "big") + found)
                    await writer.drain()
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> bytes:
        """The answer to the next query of a connection."""
        head = await asyncio.wait_for(reader.readexactly(2), _IDLE_SECONDS)
        return await self.answer(await asyncio.wait_for(reader.readexactly(int.from_bytes(head, "big")), _IDLE_SECONDS))

    async def _find(self, name: str, kind: int, group: int) -> tuple[int, list[str]]:
        """Code and addresses. A name that we know has no other records than addresses."""
        if name not in self._names:
            return _REFUSED, []
        if (kind, group) != (_A, _IN):
            return 0, []
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, None, family=socket.AF_INET)
        except socket.gaierror as error:
            return (_UNKNOWN if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else _FAILED), []
        return 0, list(dict.fromkeys(str(one[4][0]) for one in found))[:16]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(data, addr)


def _name(query: bytes) -> tuple[str, int]:
    """The first question's name, and where it ends; without compression, which questions do not have."""
    labels, at = [], _HEAD.size
    while at < len(query) and query[at]:
        length = query[at]
        if length > 63:
            return "", len(query)
        labels.append(query[at + 1 : at + 1 + length])
        at += 1 + length
    return b".".join(labels).decode("ascii", "replace").lower(), at + 1


def sockets_in(namespace: str, address: str, port: int = 53) -> tuple[socket.socket, socket.socket]:
    """Sockets for it in a network namespace: for datagrams, and one that listens.

    Raises:
        LabError: there is no such namespace.
        OSError: the port is taken.
    """
    datagrams = netns.socket_in(namespace, kind=socket.SOCK_DGRAM)
    try:
        datagrams.bind((address, port))
        datagrams.setblocking(False)
        return datagrams, netns.listen_in(namespace, address, port)
    except OSError:
        datagrams.close()
        raise
