"""Commands: the orchestrator plans them, the gateway carries the plan out as far as it may without asking.

What reads is done at once. What changes something becomes an approval, bound to exactly that call. A plan is never
trusted: tools, arguments and ids go through the same table, models and queries as those of any client.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools.base import Tool
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select
from zentoria_common.problems import Problem
from zentoria_schema.core import File as FileRow

from zentoria_backend.access.principal import Principal
from zentoria_backend.approvals import service as approvals
from zentoria_backend.callees.service import parsed, passed_on
from zentoria_backend.commands import naming
from zentoria_backend.commands.schemas import CommandAnswer, Done, Entity
from zentoria_backend.jobs.service import described
from zentoria_backend.mcp.call import Call
from zentoria_backend.services import Services

if TYPE_CHECKING:
    from zentoria_backend.answers.service import Question
    from zentoria_backend.mcp.tools.kit import Offer

MOST_CALLS = 10
PLAN_SECONDS = 60.0
ABOUT_DOCUMENTS = ("chat.", "file.read", "file.search")
"""Beginnings of intents that an answer serves better than a plan does."""
Tell = Callable[[str, dict[str, Any]], Awaitable[None]]

_log = structlog.stdlib.get_logger("zentoria_backend.commands")


class Planned(BaseModel):
    """One call that the orchestrator proposes."""

    model_config = ConfigDict(extra="ignore")

    tool: str
    arguments: dict[str, Any] = {}
    why: str = ""


class Plan(BaseModel):
    """What it makes of a text."""

    model_config = ConfigDict(extra="ignore")

    intent: str | None = None
    confidence: float = 0.0
    entities: list[Entity] = []
    agent: str | None = None
    say: str = ""
    calls: list[Planned] = []
    missing: list[str] = []
    tainted: bool = False


@functools.cache
def tools() -> Mapping[str, tuple[Offer, Tool]]:
    """The tools by name, in alphabetical order, with the models of their arguments."""
    from zentoria_backend.mcp.tools import OFFERS  # tools know commands, and commands tools

    made = {offer.name: (offer, Tool.from_function(offer.function, name=offer.name)) for offer in OFFERS}
    return dict(sorted(made.items()))


def offered(services: Services, principal: Principal) -> list[dict[str, Any]]:
    """The tools that a plan for this caller may have, as planners know tools."""
    return [
        {
            "name": name,
            "description": offer.description,
            "input_schema": _schema(tool),
            "effect": offer.told,
            "scopes": [scope] if (scope := services.access.rule("TOOL", name).scope) else [],
        }
        for name, (offer, tool) in tools().items()
        if offer.planned and services.access.tool_allowed(principal, name)
    ]


async def command(
    services: Services,
    principal: Principal,
    text: str,
    attachments: list[UUID],
    conversation: list[dict[str, str]] | None = None,
) -> CommandAnswer:
    """Have a command planned, and carry out what may be done at once.

    Raises:
        Problem: 404 for an attachment; 503, the orchestrator is away; 502.
    """
    files = await _attached(services, principal, attachments)
    plan = await planned(services, principal, text, files, conversation or [])
    return await carried(services, principal, plan)


async def planned(
    services: Services,
    principal: Principal,
    text: str,
    attachments: list[dict[str, str]],
    conversation: list[dict[str, str]],
) -> Plan:
    """What the orchestrator makes of a text. Nothing happens by that.

    Raises:
        Problem: 503, it is away; 502.
    """
    now = services.clock()
    body = {
        "text": text,
        "tools": offered(services, principal),
        "context": {
            "now": now.isoformat(),
            "time_zone": "UTC",
            "attachments": attachments,
            "conversation": conversation[-20:],
        },
    }
    spoken = services.callees.spoken_for("embeddings", principal)
    answer = await services.callees.call(
        "ai",
        "POST",
        "/v1/plan",
        user=principal,
        json=body,
        headers={"zentoria-user-for-embeddings": spoken} if spoken else None,
        timeout=PLAN_SECONDS,
    )
    return parsed(Plan, passed_on(answer, "ai"), "ai")


async def carried(services: Services, principal: Principal, plan: Plan) -> CommandAnswer:
    """Do what reads, ask for what changes something."""
    calls = [await _carried(services, principal, one) for one in plan.calls[:MOST_CALLS]]
    return CommandAnswer(
        intent=plan.intent,
        confidence=plan.confidence,
        entities=plan.entities,
        agent=plan.agent,
        say=plan.say,
        missing=plan.missing,
        calls=calls,
    )


async def answered(services: Services, principal: Principal, question: Question, tell: Tell) -> bool:
    """Serve a question that is a command. False: it is none, and wants an answer.

    Raises:
        Problem: 503, the orchestrator is away.
        redis.exceptions.RedisError: nobody can be told.
    """
    text = question.messages[-1]["content"] if question.messages else ""
    told = passed_on(
        await services.callees.call("ai", "POST", "/v1/intent", user=principal, json={"text": text[:4000]}), "ai"
    )
    intent = told.get("intent") if isinstance(told, dict) else None
    if not isinstance(intent, str) or intent.startswith(ABOUT_DOCUMENTS):
        return False
    plan = await planned(services, principal, text, question.attachments, question.messages[:-1])
    if not plan.calls and not plan.missing:
        return False
    done = await carried(services, principal, plan)
    for one in done.calls:
        if one.approval is not None:
            await tell("proposal", {"approval": one.approval.model_dump(mode="json")})
        else:
            await tell("result", one.model_dump(mode="json", exclude={"approval"}))
    problems = [str(one.error.get("detail", "")) for one in done.calls if one.error]
    said = "\n".join(one for one in (done.say, *problems) if one)
    await tell("delta", {"text": said})
    await tell("done", {"text": said, "refused": False, "sources": [], "intent": plan.intent, "unsupported": []})
    return True


async def _carried(services: Services, principal: Principal, wanted: Planned) -> Done:
    found = tools().get(wanted.tool)
    if found is None or not found[0].planned:
        error = described(Problem(404, f"there is no tool {wanted.tool[:60]}"))
        return Done(tool=wanted.tool[:60], arguments={}, effect="read", why=wanted.why, error=error)
    offer, tool = found
    done = Done(tool=offer.name, arguments=wanted.arguments, effect=offer.told, why=wanted.why[:500])
    outcome = "failed"
    try:
        services.access.allow_tool(principal, offer.name)
        done.arguments = await naming.resolved(services, principal, wanted.arguments)
        arguments = arguments_of(tool, done.arguments)
        made = await offer.function(call_for(services, principal), **arguments)
        if offer.kind == "changes" and (asked := getattr(made, "approval_id", None)) is not None:
            done.approval = await approvals.get_approval(services, principal, asked)
            outcome = "approval_required"
        else:
            done.result = made.model_dump(mode="json") if isinstance(made, BaseModel) else made
            outcome = "done"
    except Problem as problem:
        done.error, outcome = described(problem), "refused"
    except ToolError as error:
        done.error, outcome = described(Problem(422, str(error)[:300])), "refused"
    await services.audit.record(
        principal,
        "command.tool",
        "tool",
        offer.name,
        details={"outcome": outcome},
        severity="info" if outcome in ("done", "approval_required") else "notice",
    )
    return done


def call_for(services: Services, principal: Principal, carrying: UUID | None = None) -> Call:
    """A call as tools know it, that comes from the gateway itself."""
    return Call(principal, services, frozenset(tools()), carrier="gateway", carrying=carrying)


def arguments_of(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the tool's function takes them. The approval is never among those that a plan gives.

    Raises:
        Problem: 422 with the names of what is wrong.
    """
    names = set(tool.fn_metadata.arg_model.model_fields) - {"approval_id"}
    if unknown := sorted(set(given) - names):
        raise Problem(422, f"{tool.name} takes no {', '.join(unknown)[:200]}", kind="wrong-arguments")
    try:
        model = tool.fn_metadata.arg_model.model_validate(dict(given))
    except ValidationError as error:
        wrong = sorted({".".join(str(part) for part in one["loc"]) for one in error.errors()})
        raise Problem(422, f"{tool.name}: {', '.join(wrong)[:200]} cannot be so", kind="wrong-arguments") from None
    return {name: getattr(model, name) for name in names}


def _schema(tool: Tool) -> dict[str, Any]:
    schema = dict(tool.parameters)
    schema["properties"] = {
        name: value for name, value in schema.get("properties", {}).items() if name != "approval_id"
    }
    return schema


async def _attached(services: Services, principal: Principal, wanted: list[UUID]) -> list[dict[str, str]]:
    if not wanted:
        return []
    query = select(FileRow.id, FileRow.filename).where(
        FileRow.user_id == principal.user_id, FileRow.id.in_(wanted), FileRow.deleted_at.is_(None)
    )
    async with services.database.session(principal.user_id) as session:
        names = {row.id: row.filename for row in await session.execute(query)}
    if missing := [str(one) for one in wanted if one not in names]:
        raise Problem(404, "there is no such file", file_ids=missing)
    return [{"file_id": str(one), "filename": names[one]} for one in dict.fromkeys(wanted)]
