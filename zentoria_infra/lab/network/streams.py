"""Carry bytes between two TCP connections, each direction closed when its own side is done."""

from __future__ import annotations

import asyncio
import contextlib

_CHUNK = 1 << 16


async def splice(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter], far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> tuple[int, int]:
    """Join two connections until both directions have ended, then close both.

    A side that ends its own direction (a half-close) still gets what the other sends. An error on either
    ends both. Gives back the bytes carried from near to far, and from far to near.
    """
    there = asyncio.ensure_future(_carry(near[0], far[1]))
    back = asyncio.ensure_future(_carry(far[0], near[1]))
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in (there, back):
            task.cancel()
        for writer in (near[1], far[1]):
            writer.close()  # both, before anything is waited for: we may be cancelled again
    await asyncio.gather(there, back, return_exceptions=True)
    for writer in (near[1], far[1]):
        await close(writer)
    return _count(there), _count(back)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection; one that is broken already is no error."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _count(task: asyncio.Future[int]) -> int:
    return 0 if task.cancelled() or task.exception() else task.result()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    total = 0
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
        total += len(data)
    writer.write_eof()
    return total
