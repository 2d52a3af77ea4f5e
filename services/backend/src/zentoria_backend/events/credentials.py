"""Streams end with the credential that opened them: when its time is over, and soon after it was taken back."""

from __future__ import annotations

import asyncio
import time

from zentoria_common.problems import Unavailable

from zentoria_backend.access.principal import Principal
from zentoria_backend.access.service import Access
from zentoria_backend.events.schemas import Topic
from zentoria_backend.events.tickets import Admission

LOOK_SECONDS = 10.0
"""How often an open stream asks whether its session or key is still good."""


def admission_of(caller: Principal, topics: frozenset[Topic], until: float) -> Admission:
    """What a credential lets in."""
    return Admission(
        caller.user_id, topics, until, caller.sid, caller.credential_id if caller.kind == "api_key" else None
    )


async def over(access: Access, admission: Admission) -> None:
    """Return when the credential's time is over, or it was revoked, its session ended, or its user disabled.

    While the database is away, nothing is known to have changed: what is open stays so.
    """
    while (left := admission.until - time.time()) > 0:
        await asyncio.sleep(min(left, LOOK_SECONDS))
        try:
            if not await access.holds(admission.user_id, admission.sid, admission.key_id):
                return
        except Unavailable:
            continue
