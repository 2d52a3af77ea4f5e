"""What text recognition depends on besides the object storage: Tesseract, with the languages of the site."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection

from zentoria_common.health.probe import ProbeError


class TesseractProbe:
    """Asks the program which languages it has."""

    name = "tesseract"

    def __init__(self, languages: Collection[str]) -> None:
        self._wanted = frozenset(languages)

    async def ask(self) -> dict[str, str]:
        """Start it once; what it has does not change without a restart of ours."""
        missing = [name for name in ("tesseract", "unpaper") if shutil.which(name) is None]
        if missing:
            raise ProbeError("not installed", ", ".join(missing))
        process = await asyncio.create_subprocess_exec(
            "tesseract", "--list-langs", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        found = set(said.decode(errors="replace").split("\n")[1:]) - {"", "osd"}
        if lacking := self._wanted - found:
            raise ProbeError("a language is missing", ", ".join(sorted(lacking)))
        return {"languages": ", ".join(sorted(found))}

    async def close(self) -> None:
        """It holds nothing."""
