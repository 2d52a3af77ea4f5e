"""Every router of the gateway. Paths are whole in each of them: metrics, logs and the permission table name them."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from zentoria_common.problems import answers

from zentoria_backend.access.gate import gate
from zentoria_backend.answers import api as replies
from zentoria_backend.approvals import api as approvals
from zentoria_backend.audio import api as audio
from zentoria_backend.audit import api as audit
from zentoria_backend.auth import api as auth
from zentoria_backend.commands import api as commands
from zentoria_backend.conversations import api as conversations
from zentoria_backend.documents import api as documents
from zentoria_backend.events import api as events
from zentoria_backend.files import api as files
from zentoria_backend.jobs import api as jobs
from zentoria_backend.keys import api as keys
from zentoria_backend.mcp import metadata
from zentoria_backend.memory import api as memory
from zentoria_backend.models import api as models
from zentoria_backend.search import api as search
from zentoria_backend.sessions import api as sessions
from zentoria_backend.site_settings import api as site_settings
from zentoria_backend.system import api as system
from zentoria_backend.uploads import api as uploads
from zentoria_backend.uploads import tus
from zentoria_backend.users import api as users
from zentoria_backend.users import factors_api as factors

ROUTERS = (
    approvals.router,
    audio.router,
    audit.router,
    auth.router,
    commands.router,
    conversations.router,
    documents.router,
    events.router,
    factors.router,
    files.router,
    jobs.router,
    keys.router,
    memory.router,
    metadata.router,
    models.router,
    replies.router,
    search.router,
    sessions.router,
    site_settings.router,
    system.router,
    tus.router,
    uploads.router,
    users.router,
)
"""In alphabetical order; a new one needs its lines in ``access/rules``."""


def install(app: FastAPI) -> None:
    """Add them, each behind the gate."""
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(gate)], responses=answers(400, 401, 403, 429))
