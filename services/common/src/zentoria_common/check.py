"""``check``: can this release, with these settings, reach what it depends on?"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from zentoria_common.health.probe import Probe, ProbeError
from zentoria_common.health.service import HealthService

RETRY_SECONDS = 0.5


async def check(probes: Sequence[Probe], *, name: str, version: str, timeout: float, patience: float) -> int:
    """Ask until all answer, or ``patience`` seconds have gone; print the last report as JSON.

    Beside the public report, ``details`` has what the other side said. ``name`` and ``version`` are the
    service's; ``timeout`` is for one question.

    Returns:
        The exit code: 0 when every dependency answers, else 1.
    """
    service = HealthService(probes, name=name, version=version, timeout=timeout)
    deadline = asyncio.get_running_loop().time() + patience
    tries = 0
    try:
        while True:
            tries += 1
            report = await service.check()
            if report.status == "ok" or asyncio.get_running_loop().time() + RETRY_SECONDS > deadline:
                break
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        await service.close()
    answer = report.model_dump(mode="json", exclude_none=True) | {"tries": tries, "details": service.details}
    json.dump(answer, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0 if report.status == "ok" else 1


async def refused(probes: Sequence[Probe], timeout: float) -> str:
    """Ask each once, ``timeout`` seconds long, and say what failed for good; empty when nothing did."""
    try:
        for probe in probes:
            try:
                await asyncio.wait_for(probe.ask(), timeout)
            except ProbeError as error:
                if error.fatal:
                    return error.detail or error.reason
            except TimeoutError:
                continue
    finally:
        for probe in probes:
            await probe.close()
    return ""
