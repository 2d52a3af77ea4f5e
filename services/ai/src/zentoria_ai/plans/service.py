"""Makes a plan: by rules where the request is plain, else by asking a model for one call. Nothing is carried out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from zentoria_ai.agents.kit import Agent, Heard, Step
from zentoria_ai.agents.registry import CHAT, agent_of, refined
from zentoria_ai.answers.need import is_german
from zentoria_ai.intents.schemas import local_now
from zentoria_ai.intents.service import Understanding
from zentoria_ai.plans import taint
from zentoria_ai.plans.arguments import fitted, missing
from zentoria_ai.plans.schemas import Call, Plan, Request, Tool

PERHAPS = 0.05
"""How likely a request must be one of the intents for a model to be asked about it: it takes seconds."""
_TALK = frozenset({"chat.question", "chat.smalltalk"})
_log = structlog.stdlib.get_logger("zentoria_ai.plans")


class Proposer(Protocol):
    """A model that chooses one call for a request."""

    async def propose(self, agent: Agent, text: str, tools: list[Tool]) -> Call | None:
        """One call, or None: no tool fits, or the model cannot be asked."""


@dataclasses.dataclass(frozen=True)
class _Lacking:
    """A call that cannot be proposed yet: what is there of it, and the names of what is not."""

    tool: Tool
    arguments: dict[str, Any]
    names: list[str]
    intent: str


class Planner:
    """Makes plans.

    Args:
        understanding: of requests.
        proposer: a model, where rules do not suffice; None: there is none.
    """

    def __init__(self, understanding: Understanding, proposer: Proposer | None) -> None:
        self._understanding, self._proposer = understanding, proposer

    async def plan(self, request: Request) -> Plan:
        """What would be done. The gateway judges it, asks the user, and does it."""
        own, quoted = taint.own_words(request.text)
        tainted = taint.is_tainted(request, quoted)
        found = await asyncio.to_thread(self._understanding.predict, own or request.text)
        now = local_now(request.context.now, request.context.time_zone)
        entities = self._understanding.entities(own, now) if own else []
        # Spans are of the whole request; where something was cut out of it, they are found anew.
        if quoted:
            entities = [
                one.model_copy(update={"start": start, "end": start + len(one.text)})
                for one in entities
                if (start := request.text.find(one.text)) >= 0
            ]
        heard = Heard(own, tuple(entities), tuple(request.context.attachments), is_german(own))
        intent = refined(found.intent, own) if found.intent else None
        agent = agent_of(intent)
        calls, lacking, say = self._by_rules(agent, intent, heard, request.tools)
        by_model = False
        if request.model and self._proposer is not None and own:
            if intent is None and found.likely >= PERHAPS:
                agent = agent_of(found.ranked[0][0])
                calls = await self._looked_up(self._proposer, agent, own, request.tools)
                by_model = bool(calls)
            elif lacking is not None and lacking.names:
                filled = await self._filled_in(self._proposer, agent, own, lacking)
                if filled is not None:
                    calls, lacking, say, by_model = [filled], None, "", True
        calls, withheld = taint.allowed(calls, tainted=tainted)
        if withheld:
            _log.info("call withheld", tools=[one.tool for one in withheld])
        return Plan(
            intent=found.intent,
            confidence=found.confidence,
            entities=entities,
            agent=agent.name,
            say=_said(agent, intent, heard, say, withheld=bool(withheld), calls=bool(calls)),
            calls=calls,
            missing=lacking.names if lacking is not None else [],
            tainted=tainted,
            by="model" if by_model else "rules",
        )

    def _by_rules(
        self, agent: Agent, intent: str | None, heard: Heard, tools: list[Tool]
    ) -> tuple[list[Call], _Lacking | None, str]:
        """Calls, what is missing for one, and what to say."""
        step = agent.steps.get(intent or "")
        if step is None or intent is None:
            return [], None, ""
        tool = chosen(step, tools)
        if tool is None:
            german = "Das ist hier nicht möglich, oder Sie dürfen es nicht."
            return [], None, german if heard.german else "That cannot be done here, or you may not do it."
        calls = [fitted(tool, one) for one in _several(tool, agent.arguments(intent, heard))]
        if lacking := missing(tool, calls[0]):
            asks = [step.asks[name] for name in lacking if name in step.asks]
            names = ", ".join(lacking)
            text = f"Dafür fehlt noch: {names}." if heard.german else f"For that I need: {names}."
            return [], _Lacking(tool, calls[0], lacking, intent), next(iter(asks), text)
        return [Call(tool=tool.name, arguments=one, effect=tool.effect, why=intent) for one in calls], None, ""

    async def _looked_up(self, proposer: Proposer, agent: Agent, text: str, tools: list[Tool]) -> list[Call]:
        """What a model makes of a request that is nobody's for certain: at most a call that reads."""
        offered = [one for one in tools if one.effect == "read" and one.name.startswith(agent.reads)]
        call = await proposer.propose(agent, text, offered) if offered else None
        tool = next((one for one in offered if call is not None and one.name == call.tool), None)
        if call is None or tool is None:
            return []
        arguments = fitted(tool, call.arguments)
        return [] if missing(tool, arguments) else [call.model_copy(update={"arguments": arguments})]

    async def _filled_in(self, proposer: Proposer, agent: Agent, text: str, lacking: _Lacking) -> Call | None:
        """What rules did not find in a request, a model may: but only what stands there, for it makes up the rest."""
        call = await proposer.propose(agent, text, [lacking.tool])
        if call is None or call.tool != lacking.tool.name:
            return None
        arguments = fitted(lacking.tool, {**call.arguments, **lacking.arguments})
        if missing(lacking.tool, arguments) or not stands_there(arguments, text, lacking.arguments):
            return None
        return Call(tool=call.tool, arguments=arguments, effect=lacking.tool.effect, why=call.why)


def chosen(step: Step, tools: list[Tool]) -> Tool | None:
    """The first tool of a step that is offered and does no more than the step may."""
    by_name = {one.name: one for one in tools}
    return next(
        (by_name[name] for name in step.tools if name in by_name and by_name[name].effect in step.effects), None
    )


def _several(tool: Tool, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One call a file, where the tool takes one and several are meant."""
    files = values.get("files")
    one_each = [name for name in ("file", "file_id") if name in tool.properties]
    if isinstance(files, list) and len(files) > 1 and one_each and not {"files", "file_ids"} & tool.properties.keys():
        return [{**values, **dict.fromkeys(one_each, one)} for one in files]
    return [dict(values)]


def stands_there(arguments: dict[str, Any], text: str, known: dict[str, Any]) -> bool:
    """Whether each word of the arguments that rules did not find is one of the request."""
    return all(_is_in(value, text.casefold()) for name, value in arguments.items() if name not in known)


def _is_in(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return all(_is_in(one, text) for one in value.values())
    if isinstance(value, list):
        return all(_is_in(one, text) for one in value)
    return isinstance(value, bool) or value is None or str(value).casefold() in text


def _said(agent: Agent, intent: str | None, heard: Heard, say: str, *, withheld: bool, calls: bool) -> str:
    if withheld:
        return (
            "Das kam mit fremdem Text. Daraus beginne ich nichts: bitte sagen Sie es in einer eigenen Nachricht."
            if heard.german
            else "This came with text of others, from which I begin nothing: please say it in a message of its own."
        )
    if say:
        return say
    if calls and intent is not None and intent in agent.steps:
        return agent.say(intent, heard)
    if agent is CHAT and intent in _TALK:
        return ""
    if intent is None:
        return "Das kann ich nicht." if heard.german else "This is nothing that I can do."
    return ""
