"""Asks a language model for one call, where rules do not suffice.

pydantic-ai makes the request: its external tools end a run with the calls that a model wants (deferred), so that
nothing can be carried out here; and the same agent takes its output by JSON schema where a model cannot call tools.
Small models write calls as text: whether one can is asked of it once (a probe), and remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import redis.asyncio
import redis.exceptions
import structlog

from zentoria_ai.agents.kit import Agent
from zentoria_ai.answers.prompts import PromptError, Prompts, harmless
from zentoria_ai.plans.schemas import Call, Tool

if TYPE_CHECKING:
    from pydantic_ai.models.openai import OpenAIChatModel

Way = Literal["tools", "schema"]
NONE = "none"
MOST_TOKENS = 300
KEPT_SECONDS = 7 * 86400
_PROBE = Tool(
    name="lamp_switch",
    description="Switch a lamp on or off.",
    input_schema={
        "type": "object",
        "properties": {"lamp": {"type": "string"}, "on": {"type": "boolean"}},
        "required": ["lamp", "on"],
    },
    effect="write",
)
_PROBE_TEXT = "Switch the lamp named QX-A on."
_log = structlog.stdlib.get_logger("zentoria_ai.plans")


class _AwayError(Exception):
    """The engine did not answer: that says nothing of what its model can."""


class ModelProposer:
    """Lets a model of the engine choose one call.

    Args:
        url: OpenAI's routes of the engine, up to ``/v1``.
        model: the chat model.
        prompts: the system prompts.
        kept: where it is remembered what a model can; None: asked anew by each process.
        prefix: of keys there.
        timeout: seconds that the model may take.
    """

    def __init__(
        self, url: str, model: str, prompts: Prompts, kept: redis.asyncio.Redis | None, prefix: str, timeout: float
    ) -> None:
        self._url, self._name, self._prompts, self._timeout = url, model, prompts, timeout
        self._kept, self._prefix = kept, prefix
        self._way: Way | None = None
        self._model: OpenAIChatModel | None = None

    async def propose(self, agent: Agent, text: str, tools: list[Tool]) -> Call | None:
        """One call for a request; None: no tool fits, or the model cannot be asked now."""
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._asked(await self.way(), harmless(text), tools)
        except TimeoutError:
            _log.warning("model took too long for a plan", agent=agent.name)
            return None
        except _AwayError as error:
            _log.warning("engine gave no plan", agent=agent.name, error=str(error))
            return None
        except PromptError as error:
            _log.error("prompt missing", error=str(error))
            return None
        if found is None:
            return None
        name, arguments = found
        effect = next((one.effect for one in tools if one.name == name), None)
        if effect is None:
            return None
        return Call(tool=name, arguments=arguments, effect=effect, why=f"{self._name} chose it ({self._way})")

    async def way(self) -> Way:
        """How this model is asked: by real tools if it can call them, else by a schema."""
        if self._way is None:
            key = f"{self._prefix}:way:{self._name}"
            known = await self._remembered(key)
            if known in ("tools", "schema"):
                self._way = "tools" if known == "tools" else "schema"
            else:
                self._way = await self._probed()
                await self._remember(key, self._way)
                _log.info("probe", model=self._name, way=self._way)
        return self._way

    async def _probed(self) -> Way:
        found = await self._asked("tools", _PROBE_TEXT, [_PROBE])
        able = found is not None and found[0] == _PROBE.name and found[1].get("on") is True
        return "tools" if able and "QX-A" in str(found and found[1].get("lamp")) else "schema"

    async def _asked(self, way: Way, text: str, tools: list[Tool]) -> tuple[str, dict[str, Any]] | None:
        # Loaded when it is first needed: it takes 60 MB, and most requests are plain.
        from pydantic_ai import exceptions

        model = await asyncio.to_thread(self._open)
        try:
            return await (self._by_tools if way == "tools" else self._by_schema)(model, text, tools)
        except exceptions.ModelAPIError as error:
            refused = isinstance(error, exceptions.ModelRequestRejectedError)
            if refused and not isinstance(error, exceptions.ModelNotFoundError):
                _log.warning("engine refused to make a plan", way=way, error=type(error).__name__)
                return None
            raise _AwayError(type(error).__name__) from None
        except (exceptions.AgentRunError, exceptions.UserError) as error:
            _log.warning("model gave no plan", way=way, error=type(error).__name__)
            return None

    async def _by_tools(
        self, model: OpenAIChatModel, text: str, tools: list[Tool]
    ) -> tuple[str, dict[str, Any]] | None:
        from pydantic_ai import Agent as ModelAgent
        from pydantic_ai import DeferredToolRequests
        from pydantic_ai.tools import ToolDefinition
        from pydantic_ai.toolsets import ExternalToolset

        offered = [
            ToolDefinition(name=one.name, description=one.description, parameters_json_schema=_object(one.input_schema))
            for one in tools
        ]
        agent = ModelAgent(
            model,
            output_type=[str, DeferredToolRequests],
            instructions=self._prompts.get("plan"),
            toolsets=[ExternalToolset(offered)],
            retries=0,
        )
        done = await agent.run(text, model_settings={"max_tokens": MOST_TOKENS, "temperature": 0.0})
        if isinstance(done.output, str) or not done.output.calls:
            return None
        call = done.output.calls[0]
        return call.tool_name, dict(call.args_as_dict())

    async def _by_schema(
        self, model: OpenAIChatModel, text: str, tools: list[Tool]
    ) -> tuple[str, dict[str, Any]] | None:
        from pydantic_ai import Agent as ModelAgent
        from pydantic_ai import NativeOutput, StructuredDict

        choices = [_choice(one.name, _object(one.input_schema), one.description) for one in tools]
        schema = {"anyOf": [*choices, _choice(NONE, {"type": "object", "properties": {}}, "No tool fits.")]}
        # Native output wants an object at the top.
        whole = {"type": "object", "properties": {"call": schema}, "required": ["call"], "additionalProperties": False}
        agent = ModelAgent(
            model,
            output_type=NativeOutput(StructuredDict(whole, name="plan"), template=False),
            instructions=f"{self._prompts.get('plan')}\n\nTools:\n{_listed(tools)}",
            retries=0,
        )
        done = await agent.run(text, model_settings={"max_tokens": MOST_TOKENS, "temperature": 0.0})
        found = done.output.get("call")
        if not isinstance(found, dict) or found.get("tool") in (None, NONE):
            return None
        arguments = found.get("arguments")
        return str(found["tool"]), dict(arguments) if isinstance(arguments, dict) else {}

    def _open(self) -> OpenAIChatModel:
        if self._model is None:
            from pydantic_ai.models.openai import OpenAIChatModel
            from pydantic_ai.profiles.openai import OpenAIModelProfile
            from pydantic_ai.providers.openai import OpenAIProvider

            provider = OpenAIProvider(base_url=self._url, api_key="none")
            profile = OpenAIModelProfile(supports_json_schema_output=True, openai_supports_strict_tool_definition=False)
            self._model = OpenAIChatModel(self._name, provider=provider, profile=profile)
        return self._model

    async def _remembered(self, key: str) -> str | None:
        if self._kept is None:
            return None
        try:
            return str(await self._kept.get(key))
        except (redis.exceptions.RedisError, OSError):
            return None

    async def _remember(self, key: str, way: Way) -> None:
        if self._kept is None:
            return
        try:
            await self._kept.set(key, way, ex=KEPT_SECONDS)
        except (redis.exceptions.RedisError, OSError) as error:
            _log.warning("cache does not answer", error=type(error).__qualname__)

    async def close(self) -> None:
        """Close the connections."""
        if self._model is not None:
            await self._model.client.close()


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "type": "object", "properties": schema.get("properties") or {}}


def _choice(name: str, arguments: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {"tool": {"const": name}, "arguments": dict(arguments)},
        "required": ["tool", "arguments"],
        "additionalProperties": False,
    }


def _listed(tools: list[Tool]) -> str:
    return "\n".join(f"- {one.name}({', '.join(one.properties)}): {one.description}" for one in tools)
