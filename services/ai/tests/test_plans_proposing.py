"""A model is asked for one call: how is found by a probe, and what it says is taken apart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from ai_kit import CHAT, PROMPTS, Fakes
from plan_tools import TOOLS
from zentoria_ai.agents.registry import AGENTS
from zentoria_ai.answers.prompts import Prompts
from zentoria_ai.plans.proposing import ModelProposer
from zentoria_ai.plans.schemas import Tool

# pydantic-ai and what it needs take seconds to load on a busy machine: once for all of these.
pytestmark = pytest.mark.asyncio

OFFERED = [Tool.model_validate(one) for one in TOOLS if one["name"] in ("files_search", "files_delete")]


def called(name: str, **arguments: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest_asyncio.fixture
async def fakes() -> AsyncIterator[Fakes]:
    made = Fakes()
    async with made.serving():
        yield made


@pytest_asyncio.fixture
async def proposer(fakes: Fakes) -> AsyncIterator[ModelProposer]:
    made = ModelProposer(f"{fakes.url}/v1", CHAT, Prompts(PROMPTS), None, "ai", 200)
    yield made
    await made.close()


async def test_a_model_that_calls_tools_is_given_them(fakes: Fakes, proposer: ModelProposer) -> None:
    answers = iter([called("lamp_switch", lamp="QX-A", on=True), called("files_search", words="tax")])
    fakes.script = lambda body: next(answers)
    found = await proposer.propose(AGENTS["file"], "find the tax papers", OFFERED)
    assert found is not None
    assert (found.tool, found.arguments, found.effect) == ("files_search", {"words": "tax"}, "read")
    probe, asked = fakes.chats
    assert [one["function"]["name"] for one in probe["tools"]] == ["lamp_switch"]
    assert [one["function"]["name"] for one in asked["tools"]] == ["files_search", "files_delete"]
    assert "response_format" not in asked


async def test_a_model_that_writes_calls_as_text_is_asked_by_a_schema(fakes: Fakes, proposer: ModelProposer) -> None:
    call = json.dumps({"call": {"tool": "files_search", "arguments": {"words": "tax"}}})
    answers = iter(
        [["<tool_call>lamp</tool_call>"], [call], ['{"call": {"tool": "none", "arguments": {}}}'], ["no JSON"]]
    )
    fakes.script = lambda body: next(answers)
    found = await proposer.propose(AGENTS["file"], "find the tax papers", OFFERED)
    assert found is not None
    assert (found.tool, found.arguments) == ("files_search", {"words": "tax"})
    schema = fakes.chats[1]["response_format"]["json_schema"]["schema"]
    assert "files_search" in json.dumps(schema)
    assert "tools" not in fakes.chats[1]
    assert await proposer.propose(AGENTS["file"], "sing", OFFERED) is None
    assert await proposer.propose(AGENTS["file"], "sing", OFFERED) is None
    assert len(fakes.chats) == 4  # probed once


async def test_an_engine_that_is_away_gives_no_plan(proposer: ModelProposer, fakes: Fakes) -> None:
    fakes.refusal = (503, {"message": "loading"})
    assert await proposer.propose(AGENTS["file"], "find it", OFFERED) is None
    # which says nothing of what its model can
    fakes.refusal = None
    fakes.script = lambda body: called("lamp_switch", lamp="QX-A", on=True)
    assert await proposer.way() == "tools"
