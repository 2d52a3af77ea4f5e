"""Carries out what was approved, once: the gateway does, as the credential that asked."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from zentoria_common.problems import Problem

from zentoria_backend.access.principal import Principal
from zentoria_backend.approvals import service as approvals
from zentoria_backend.approvals.schemas import Approval
from zentoria_backend.commands import planning
from zentoria_backend.events import publish
from zentoria_backend.jobs.service import described
from zentoria_backend.services import Services

SECRETS = frozenset({"key"})
"""Members of a result that nobody but who approved it sees, and that are kept nowhere."""
_log = structlog.stdlib.get_logger("zentoria_backend.commands")


async def carry_out(services: Services, decider: Principal, approval: Approval) -> Approval:
    """Do what an approval allows, where the gateway is to do it. The request that decided may leave meanwhile.

    Returns:
        The approval as it is then, with what came of it.
    """
    if approval.carrier != "gateway" or approval.state != "approved":
        return approval
    return await asyncio.shield(asyncio.ensure_future(_carried(services, decider, approval)))


async def _carried(services: Services, decider: Principal, approval: Approval) -> Approval:
    shown: dict[str, Any]
    try:
        principal = await approvals.asker(services, decider.user_id, approval.id)
        services.access.allow_tool(principal, approval.tool)
        offer, tool = planning.tools()[approval.tool]
        arguments = planning.arguments_of(tool, approval.arguments)
        call = planning.call_for(services, principal, approval.id)
        made = await offer.function(call, **arguments | {"approval_id": approval.id})
        shown = {"status": "done", **({"value": made.result} if made.result is not None else {})}
    except Problem as problem:
        if problem.kind == "approval-used":  # somebody else does it at this moment
            return await approvals.get_approval(services, decider, approval.id)
        shown = {"status": "failed", "error": described(problem)}
    except Exception as error:
        _log.exception("what was approved fails", error_type=type(error).__qualname__)
        shown = {"status": "failed", "error": described(Problem(500, "it failed by a fault of the gateway's own"))}
    kept = without_secrets(shown)
    await approvals.finish(services, decider.user_id, approval.id, kept)
    await services.audit.record(
        decider,
        "approvals.carried_out",
        "approval",
        str(approval.id),
        details={"tool": approval.tool, "status": shown["status"]},
        severity="notice",
    )
    news = {"id": str(approval.id), "state": "used", "tool": approval.tool, "status": shown["status"]}
    await publish(services.redis, decider.user_id, "approvals", news)
    there = await approvals.get_approval(services, decider, approval.id)
    return there.model_copy(update={"result": shown})


def without_secrets(value: Any) -> Any:
    """A result as it may be kept."""
    if isinstance(value, dict):
        return {name: without_secrets(each) for name, each in value.items() if name not in SECRETS}
    if isinstance(value, list):
        return [without_secrets(each) for each in value]
    return value
