"""Style, script and sign of our pages, from this origin."""

from __future__ import annotations

import functools
import importlib.resources

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

router = APIRouter(prefix="/auth", include_in_schema=False)
KINDS = {"auth.css": "text/css", "icon.svg": "image/svg+xml", "passkey.js": "text/javascript"}


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """One of the files; there are no others."""
    if name not in KINDS:
        raise HTTPException(404)
    return Response(_read(name), media_type=KINDS[name], headers={"cache-control": "public, max-age=300"})


@functools.cache
def _read(name: str) -> bytes:
    return importlib.resources.files("zentoria_auth.pages").joinpath("static", name).read_bytes()
