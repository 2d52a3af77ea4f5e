"""Container 413: speech to text and text to speech. Its models come to its folder when they are there."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit.fragment import Context
from zentoria_infra.roles.kit.python_service import python_service


def _packages(service: Service) -> tuple[str, ...]:
    """Espeak-ng speaks the languages that Kokoro does not."""
    return ("espeak-ng",)


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    found: dict[str, object] = {f"ZENTORIA_{one.name.upper()}_MODEL": one.model for one in service.models}
    if service.models_folder is not None:
        found["ZENTORIA_MODELS_FOLDER"] = service.models_folder
    if "threads" not in service.settings:
        found["ZENTORIA_THREADS"] = min(context.container.resources.cores, 4)
    return found


ROLE = python_service(
    "voice",
    title="speech to text and text to speech",
    sockets={"http": "http", "stream": "stream"},
    variables=_variables,
    identity=True,
    packages=_packages,
    state="zentoria-voice",
    executable_memory=True,
)
