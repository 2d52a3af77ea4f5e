"""Every router of the gateway. Paths are whole in each of them: metrics, logs and the permission table name them."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from zentoria_common.problems import answers

from zentoria_backend.access.gate import gate
from zentoria_backend.auth import api as auth
from zentoria_backend.keys import api as keys

ROUTERS = (
    auth.router,
    keys.router,
)
"""In alphabetical order; a new one needs its lines in ``access/rules``."""


def install(app: FastAPI) -> None:
    """Add them, each behind the gate."""
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(gate)], responses=answers(400, 401, 403, 429))
