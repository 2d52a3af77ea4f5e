"""Makes a plan: by rules where the request is plain, else by asking a model for one call. Nothing is carried out."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from zentoria_ai.agents.kit import Agent, Heard, Step
from zentoria_ai.agents.registry import CHAT, agent_of, refined
from zentoria_ai.answers.need import is_german
from zentoria_ai.intents.schemas import local_now
from zentoria_ai.intents.service import Understanding
from zentoria_ai.plans import taint
from zentoria_ai.plans.arguments import fitted, missing
from zentoria_ai.plans.schemas import Call, Plan, Request, Tool

_TALK = frozenset({"chat.question", "chat.smalltalk"})
_log = structlog.stdlib.get_logger("zentoria_ai.plans")


class Proposer(Protocol):
    """A model that chooses one call for a request."""

    async def propose(self, agent: Agent, text: str, tools: list[Tool]) -> Call | None:
        """One call, or None: no tool fits, or the model cannot be asked."""


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
        made = self._by_rules(agent, intent, heard, request.tools)
        by_model = False
        if made is None and request.model and self._proposer is not None and intent not in _TALK:
            call = await self._by_model(agent, intent, own, request.tools)
            by_model = call is not None
            made = ([call] if call else [], [], "")
        calls, lacking, say = made or ([], [], "")
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
            missing=lacking,
            tainted=tainted,
            by="model" if by_model else "rules",
        )

    def _by_rules(
        self, agent: Agent, intent: str | None, heard: Heard, tools: list[Tool]
    ) -> tuple[list[Call], list[str], str] | None:
        """Calls, what is missing, and what to say; None: rules know nothing for it."""
        step = agent.steps.get(intent or "")
        if step is None or intent is None:
            return None
        tool = chosen(step, tools)
        if tool is None:
            text = (
                "Das ist hier nicht möglich, oder Sie dürfen es nicht."
                if heard.german
                else "That cannot be done here, or you may not do it."
            )
            return [], [], text
        values = agent.arguments(intent, heard)
        several = _several(tool, values)
        calls = [fitted(tool, one) for one in several]
        lacking = missing(tool, calls[0])
        if lacking:
            asks = [step.asks[name] for name in lacking if name in step.asks]
            text = next(iter(asks), "")
            if not text:
                names = ", ".join(lacking)
                text = f"Dafür fehlt noch: {names}." if heard.german else f"For that I need: {names}."
            return [], lacking, text
        return [Call(tool=tool.name, arguments=one, effect=tool.effect, why=intent) for one in calls], [], ""

    async def _by_model(self, agent: Agent, intent: str | None, text: str, tools: list[Tool]) -> Call | None:
        """Ask a model, with the tools that the agent may use; for what is nobody's only those that read."""
        prefixes = agent.reads
        offered = [
            one for one in tools if one.name.startswith(prefixes) and (intent is not None or one.effect == "read")
        ]
        if not offered or self._proposer is None or not text:
            return None
        call = await self._proposer.propose(agent, text, offered)
        by_name = {one.name: one for one in offered}
        if call is None or call.tool not in by_name:
            return None
        tool = by_name[call.tool]
        arguments = fitted(tool, call.arguments)
        if missing(tool, arguments):
            return None
        # A model makes up what it does not know: what changes something takes only what stands in the request.
        if tool.effect != "read" and not _stands_there(arguments, text):
            return None
        return Call(tool=tool.name, arguments=arguments, effect=tool.effect, why=call.why)


def chosen(step: Step, tools: list[Tool]) -> Tool | None:
    """The first tool of a step that is offered and does no more than the step may."""
    by_name = {one.name: one for one in tools}
    return next(
        (by_name[name] for name in step.tools if name in by_name and by_name[name].effect in step.effects), None
    )


def _several(tool: Tool, values: object) -> list[dict[str, object]]:
    """One call a file, where the tool takes one and several are meant."""
    given = dict(values)  # type: ignore[call-overload] # a mapping
    files = given.get("files")
    one_each = [name for name in ("file", "file_id") if name in tool.properties]
    if isinstance(files, list) and len(files) > 1 and one_each and not {"files", "file_ids"} & tool.properties.keys():
        return [{**given, **dict.fromkeys(one_each, one)} for one in files]
    return [given]


def _stands_there(value: object, text: str) -> bool:
    if isinstance(value, dict):
        return all(_stands_there(one, text) for one in value.values())
    if isinstance(value, list):
        return all(_stands_there(one, text) for one in value)
    if isinstance(value, bool) or value is None:
        return True
    return str(value).casefold() in text.casefold()


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
