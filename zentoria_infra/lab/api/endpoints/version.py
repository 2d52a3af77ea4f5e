"""``/version``."""

from __future__ import annotations

from zentoria_infra.lab.api.routing import Call, Routes

routes = Routes()


def _version(call: Call) -> object:
    release = call.node.release
    return {"version": release.version, "release": release.release, "repoid": release.repoid}


routes.add("GET", "/version")(_version)
routes.add("GET", "/nodes/{node}/version")(_version)
