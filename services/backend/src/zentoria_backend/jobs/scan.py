"""The hook for a virus scanner: clamd, or any command that reads a file from its standard input. Off by default."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

from zentoria_common.problems import Problem, Unavailable

from zentoria_backend.settings import Settings

SECONDS = 600.0
"""How long one file may take."""
FOUND = 1
"""Exit code of a command that found something; 0: nothing, anything else: it could not look (as clamscan's)."""


def wanted(settings: Settings) -> bool:
    """Whether files are scanned."""
    return bool(settings.scan_clamd or settings.scan_command)


async def scan(settings: Settings, chunks: AsyncIterator[bytes]) -> None:
    """Look at one file.

    Raises:
        Problem: 422, something was found in it.
        Unavailable: the scanner does not answer, or could not look.
    """
    try:
        async with asyncio.timeout(SECONDS):
            found = await (_clamd(settings.scan_clamd, chunks) if settings.scan_clamd else _command(settings, chunks))
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise Unavailable("scan", "the virus scanner does not answer") from error
    if found:
        raise Problem(422, "the virus scanner found something in the file", kind="infected", found=found[:200])


async def _clamd(place: str, chunks: AsyncIterator[bytes]) -> str:
    """``INSTREAM`` of clamd(8): chunks with their lengths before them, and one of length 0."""
    if place.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        host, _, port = place.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"zINSTREAM\0")
        async for chunk in chunks:
            writer.write(struct.pack(">I", len(chunk)) + chunk)
            await writer.drain()
        writer.write(struct.pack(">I", 0))
        await writer.drain()
        answer = (await reader.readuntil(b"\0")).rstrip(b"\0").decode("utf-8", "replace").strip()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    _, _, said = answer.partition(": ")
    if said == "OK":
        return ""
    if said.endswith(" FOUND"):
        return said.removesuffix(" FOUND")
    raise Unavailable("scan", "the virus scanner could not look at the file")


async def _command(settings: Settings, chunks: AsyncIterator[bytes]) -> str:
    process = await asyncio.create_subprocess_exec(
        *settings.scan_command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 -- for the type: they are pipes
    try:
        output = asyncio.create_task(process.stdout.read(4096))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it knows enough already
            async for chunk in chunks:
                process.stdin.write(chunk)
                await process.stdin.drain()
        process.stdin.close()
        said = (await output).decode("utf-8", "replace").strip()
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code == 0:
        return ""
    if code == FOUND:
        return said or "something"
    raise Unavailable("scan", "the virus scanner could not look at the file")
