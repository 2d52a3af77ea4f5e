"""Files that are uploaded: kept beside until a task takes them, as pveproxy does with ``/var/tmp/pveupload-...``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from aiohttp import BodyPartReader, web

from zentoria_infra.lab.layout import LabLayout

_FOLDER = "/var/tmp"  # noqa: S108 - the name that Proxmox's schema asks for; nothing of ours is there
PATTERN = rf"{_FOLDER}/pveupload-[0-9a-f]+"
"""What ``tmpfilename`` may be."""
_CHUNK = 1 << 20


async def receive(request: web.BaseRequest, layout: LabLayout) -> dict[str, object]:
    """The fields of a form; the file is written, and ``tmpfilename`` names it."""
    given: dict[str, object] = {}
    parts = await request.multipart()
    while (part := await parts.next()) is not None:
        if not isinstance(part, BodyPartReader) or not part.name:
            continue
        if part.filename is None:
            given[part.name] = await part.text()
            continue
        name = f"{_FOLDER}/pveupload-{secrets.token_hex(16)}"
        given |= {"filename": part.filename, "tmpfilename": name}
        place = file_of(layout, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as stream:
            while chunk := await part.read_chunk(_CHUNK):
                stream.write(chunk)
    return given


def file_of(layout: LabLayout, name: str) -> Path:
    """Where the lab keeps what the API calls ``/var/tmp/pveupload-...``."""
    return layout.root / "uploads" / PurePosixPath(name).name


def drop(layout: LabLayout, given: Mapping[str, object]) -> None:
    """Remove what was uploaded with a request that was refused."""
    if isinstance(name := given.get("tmpfilename"), str):
        file_of(layout, name).unlink(missing_ok=True)
