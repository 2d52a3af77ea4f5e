"""Reads what the role wrote, and adds what the gateway sees."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from pydantic import ValidationError
from zentoria_common.health.service import HealthService

from zentoria_backend import __version__
from zentoria_backend.services import Services
from zentoria_backend.system.schemas import Health, Rendered, System, Zone

PROBED = {"db": "database", "redis": "redis", "files": "s3"}
"""Containers that are no callees, by what the gateway's own health calls them."""
_log = structlog.stdlib.get_logger("zentoria_backend.system")


async def system(services: Services, health: HealthService) -> System:
    """The site, and which of its containers answered when they were asked last."""
    path = services.settings.system_file
    site = await asyncio.to_thread(rendered, path)
    known = await _probed(health)
    own = services.settings.container_name
    for one in site.containers:
        if one.name == own:
            one.health = "up"
        elif (seen := known.get(one.name, services.callees.seen(one.name))) is not None:
            state: Health = "up" if seen else "away"
            one.health = state
    names = dict.fromkeys(one.zone for one in site.containers)
    zones = [Zone(name=name, containers=[one for one in site.containers if one.zone == name]) for name in names]
    return System(name=site.name, version=__version__, zones=zones, flows=site.flows)


def rendered(path: Path | None) -> Rendered:
    """What the role wrote; nothing where there is no such file, as on a developer's machine."""
    if path is None:
        return Rendered()
    try:
        return Rendered.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        _log.warning("the site's file cannot be read", error_type=type(error).__qualname__)
        return Rendered()


async def _probed(health: HealthService) -> dict[str, bool]:
    report = await health.check()
    states = {name: state == "ok" for name, state in report.states.items()}
    return {container: states[name] for container, name in PROBED.items() if name in states}
