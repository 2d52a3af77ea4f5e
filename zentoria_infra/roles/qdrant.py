"""Container 419: Qdrant, the search index, where the inventory says where it comes from; else pgvector is it."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit.archive_service import archive_service
from zentoria_infra.roles.kit.fragment import Context

HOME = "/var/lib/qdrant"


def _environment(context: Context, service: Service) -> Mapping[str, object]:
    """Its settings: section and key with two underscores between them (its guide, "Configuration")."""
    return {
        "QDRANT__SERVICE__HOST": context.address,
        "QDRANT__SERVICE__HTTP_PORT": service.port("http").first,
        "QDRANT__STORAGE__STORAGE_PATH": f"{HOME}/storage",
        "QDRANT__STORAGE__SNAPSHOTS_PATH": f"{HOME}/snapshots",
        "QDRANT__CLUSTER__ENABLED": "false",
        # It says who runs it, to its makers, unless told not to.
        "QDRANT__TELEMETRY_DISABLED": "true",
    }


ROLE = archive_service(
    "qdrant",
    title="search index (Qdrant)",
    command=lambda context, service: ("qdrant",),
    environment=_environment,
    volumes=(HOME,),
    stop_seconds=30,
)
