"""``POST /v1/intent``."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from zentoria_ai.intents.schemas import Alternative, Asked, Intent, local_now
from zentoria_ai.services import ServicesDep

ALTERNATIVES = 3
router = APIRouter(tags=["intents"])


@router.post("/v1/intent", summary="Name the intent of a sentence, and what it names")
async def intent(body: Asked, services: ServicesDep) -> Intent:
    """Without a language model, in milliseconds; ``intent`` is null when it is none of those that agents have."""
    found = await asyncio.to_thread(services.understanding.predict, body.text)
    entities = services.understanding.entities(body.text, local_now(body.now, body.time_zone))
    others = [one for one in found.ranked if one[0] != found.intent][:ALTERNATIVES]
    return Intent(
        intent=found.intent,
        confidence=found.confidence,
        alternatives=[Alternative(intent=name, confidence=confidence) for name, confidence in others],
        entities=entities,
    )
