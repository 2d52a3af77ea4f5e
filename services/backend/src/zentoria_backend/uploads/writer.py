"""From a stream of chunks to parts of a multipart upload, with no more than two parts in memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from zentoria_backend.files.contents import HEAD_BYTES
from zentoria_backend.files.store import ObjectStore, Part

PART_BYTES = 8 << 20
"""Size of a part; S3 wants 5 MiB at least of all but the last one."""
MAX_PARTS = 10_000
"""Of S3."""


def part_bytes(largest: int) -> int:
    """Size of parts with which an object of ``largest`` bytes has no more than :data:`MAX_PARTS`."""
    return max(PART_BYTES, -(-largest // MAX_PARTS))


async def _nobody_minds(_value: object) -> None:
    return


class Writer:
    """Writes one object.

    While one part is on its way, the next one fills. What does not fill one part becomes an object in one request.

    Args:
        store: where it goes.
        bucket: its bucket.
        key: of the object.
        size: of a part, in bytes.
        upload: the multipart upload that goes on; None: none has begun.
        parts: those that the server has.
        tail: what came before and filled no part.
        on_begin: told the id of the multipart upload before its first part is sent.
        on_part: told after each part that the server has it.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        key: str,
        *,
        size: int = PART_BYTES,
        upload: str | None = None,
        parts: Sequence[Part] = (),
        tail: bytes = b"",
        on_begin: Callable[[str], Awaitable[object]] = _nobody_minds,
        on_part: Callable[[Part], Awaitable[object]] = _nobody_minds,
    ) -> None:
        self._store, self._bucket, self._key, self._limit = store, bucket, key, size
        self.upload = upload
        self.parts = list(parts)
        self._on_begin, self._on_part = on_begin, on_part
        self._buffer: bytearray | None = None
        self._spare: bytearray | None = None
        self._filled = 0
        self._part_hash = hashlib.sha256()
        self._number = len(self.parts)
        self._sending: asyncio.Task[None] | None = None
        self.fresh = not parts and not tail
        """Whether all of the object came through this writer, so that :attr:`sha256` is that of the object."""
        self.sha256 = hashlib.sha256()
        self.received = sum(one.size for one in parts)
        self.head = b""
        if tail:
            self._take(tail)
            self.received += len(tail)

    @property
    def rest(self) -> bytes:
        """What fills no part yet."""
        return bytes(self._whole())

    async def write(self, chunk: bytes) -> None:
        """Take what came.

        Raises:
            NoSuchUpload: somebody gave the upload up.
            Unavailable: the server does not answer.
        """
        self.sha256.update(chunk)
        self.received += len(chunk)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        view = memoryview(chunk)
        while view:
            taken = view[: self._limit - self._filled]
            self._take(taken)
            view = view[len(taken) :]
            if self._filled == self._limit:
                await self._send()

    async def settle(self) -> None:
        """Wait for the part that is on its way.

        Raises:
            NoSuchUpload: somebody gave the upload up.
            Unavailable: the server does not answer.
        """
        if self._sending is not None:
            sending, self._sending = self._sending, None
            await sending

    async def finish(self) -> None:
        """Send what is left, and make the object.

        Raises:
            NoSuchUpload: somebody gave the upload up.
            Unavailable: the server does not answer.
        """
        if self.upload is None:
            await self._store.put(self._bucket, self._key, self._taken())
            return
        if self._filled:
            await self._send()
        await self.settle()
        await self._store.complete(self._bucket, self._key, self.upload, self.parts)

    async def settle_or_stop(self) -> None:
        """Wait for the part that is on its way, and mind nothing that it raises."""
        with contextlib.suppress(Exception):
            await self.settle()

    async def stop(self) -> None:
        """Let go of the part that is on its way."""
        if self._sending is not None:
            self._sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._sending
            self._sending = None

    def _take(self, chunk: bytes | memoryview) -> None:
        if self._buffer is None:  # two of them take turns: one that grew would be copied again and again
            self._buffer, self._spare = self._spare or bytearray(self._limit), None
        end = self._filled + len(chunk)
        self._buffer[self._filled : end] = chunk
        self._filled = end
        self._part_hash.update(chunk)

    def _whole(self) -> memoryview:
        return memoryview(self._buffer or b"")[: self._filled]

    def _taken(self) -> memoryview:
        data = self._whole()
        self._buffer, self._filled = None, 0
        self._part_hash = hashlib.sha256()
        return data

    async def _send(self) -> None:
        await self.settle()
        if self.upload is None:
            self.upload = await self._store.begin(self._bucket, self._key)
            await self._on_begin(self.upload)
        digest = self._part_hash.hexdigest()
        self._number += 1
        self._sending = asyncio.create_task(self._put(self.upload, self._number, self._taken(), digest))

    async def _put(self, upload: str, number: int, data: memoryview, digest: str) -> None:
        part = await self._store.put_part(self._bucket, self._key, upload, number, data, digest)
        if isinstance(data.obj, bytearray):
            self._spare = data.obj
        self.parts.append(part)
        await self._on_part(part)
