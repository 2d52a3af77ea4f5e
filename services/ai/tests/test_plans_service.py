"""Plans of plain requests: made by rules, without a model, and nothing is carried out."""

from __future__ import annotations

from typing import Any

import pytest
from ai_kit import World, planner
from plan_tools import FILE_ID, NOW, TOOLS, tool
from zentoria_ai.plans.schemas import Request
from zentoria_ai.plans.service import Planner

pytestmark = pytest.mark.asyncio

ATTACHED = {"attachments": [{"file_id": FILE_ID, "filename": "document.pdf"}]}


@pytest.fixture(scope="module")
def rules() -> Planner:
    """A planner without a model, and without weights: words alone."""
    return planner()


async def plan(rules: Planner, text: str, **more: Any) -> dict[str, Any]:
    found = await rules.plan(Request.model_validate({"text": text, "tools": TOOLS, "context": NOW, **more}))
    return found.model_dump(mode="json")


PLANS: list[tuple[str, dict[str, Any], str, str, dict[str, Any]]] = [
    ("Upload document.pdf to project X", ATTACHED, "file", "files_upload", {"file_ids": [FILE_ID], "project": "X"}),
    ("Upload this file to project X", ATTACHED, "file", "files_upload", {"file_ids": [FILE_ID], "project": "X"}),
    ("make an API key for files, 30 days", {}, "apikey", "keys_create",
     {"name": "files key", "scopes": ["files:read", "files:write"], "days": 30}),
    ("create a read-only API key called CI-2 for files", {}, "apikey", "keys_create",
     {"name": "CI-2", "scopes": ["files:read"]}),
    ("delete report.pdf", {}, "file", "files_delete", {"file_id": "report.pdf"}),
    ("lösche bericht.pdf", {}, "file", "files_delete", {"file_id": "bericht.pdf"}),
    ("move notes.txt to project Apollo", {}, "file", "files_move", {"file": "notes.txt", "project": "Apollo"}),
    ("send report.pdf to anna@example.org", {}, "email", "mail_send",
     {"to": ["anna@example.org"], "subject": "report.pdf", "body": "", "attachments": ["report.pdf"]}),
    ("run workflow X", {}, "workflow", "workflows_run", {"workflow_id": "X"}),
    ("list my workflows", {}, "workflow", "workflows_list", {}),
    ("who signed in yesterday?", {}, "security", "audit_search",
     {"action": "auth.login", "since": "2026-11-28T00:00:00+01:00", "until": "2026-11-29T00:00:00+01:00"}),
    ("revoke the key CI-1", {}, "apikey", "keys_revoke", {"key_id": "CI-1"}),
    ("list my API keys", {}, "apikey", "keys_list", {}),
    ("show my files", {}, "file", "files_list", {}),
    ("search my files for solar panels", {}, "file", "files_search", {"words": "solar panels"}),
    ("where am I signed in", {}, "security", "sessions_list", {}),
    ("which ports are open", {}, "security", "firewall_list", {}),
    ("remember that my landlord is called Meyer", {}, "chat", "memory_add", {"text": "my landlord is called Meyer"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "context", "agent", "name", "arguments"), PLANS, ids=[one[0] for one in PLANS])
async def test_plain_requests_are_planned_without_a_model(
    rules: Planner, text: str, context: dict[str, Any], agent: str, name: str, arguments: dict[str, Any]
) -> None:
    found = await plan(rules, text, context=NOW | context)
    assert (found["agent"], found["by"], found["tainted"], found["missing"]) == (agent, "rules", False, [])
    (call,) = found["calls"]
    assert (call["tool"], call["arguments"], call["tainted"]) == (name, arguments, False)
    assert call["effect"] == next(one["effect"] for one in TOOLS if one["name"] == name)
    assert found["say"]


async def test_several_files_are_several_calls(rules: Planner) -> None:
    found = await plan(rules, "delete a.pdf and b.pdf")
    assert [one["arguments"] for one in found["calls"]] == [{"file_id": "a.pdf"}, {"file_id": "b.pdf"}]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("delete this document", ["file_id"]),
        ("send an email to anna@example.org", ["subject", "body"]),
        ("create an API key", ["name", "scopes"]),
        ("Lade diese Datei hoch", ["file_ids"]),
    ],
)
async def test_what_is_missing_is_asked_for_and_nothing_is_proposed(
    rules: Planner, text: str, missing: list[str]
) -> None:
    found = await plan(rules, text)
    assert (found["calls"], found["missing"]) == ([], missing)
    assert "?" in found["say"]


async def test_what_is_not_on_offer_is_not_proposed(rules: Planner) -> None:
    found = await plan(rules, "delete report.pdf", tools=[one for one in TOOLS if one["name"] != "files_delete"])
    assert found["calls"] == []
    assert found["say"]


async def test_a_tool_that_does_more_than_the_step_may_is_not_taken(rules: Planner) -> None:
    found = await plan(rules, "show my files", tools=[tool("files_list", "destroy"), tool("files_search", "send")])
    assert found["calls"] == []


async def test_questions_are_left_to_answers(rules: Planner) -> None:
    found = await plan(rules, "what does the contract say about the rent")
    assert (found["agent"], found["calls"], found["intent"]) == ("chat", [], "chat.question")


@pytest.mark.parametrize("text", ["flip a coin", "purple monkey dishwasher", "order a pizza"])
async def test_what_no_agent_does_is_said(rules: Planner, text: str) -> None:
    found = await plan(rules, text)
    assert (found["intent"], found["calls"]) == (None, [])
    assert found["say"]


async def test_intent_names_entities_with_their_places(here: World) -> None:
    text = "Upload document.pdf to project X"
    answer = await here.client.post("/v1/intent", json={"text": text}, headers=here.headers(None))
    found = answer.json()
    assert found["intent"] == "file.upload"
    assert found["confidence"] > 0.5
    assert len(found["alternatives"]) == 3
    assert [(one["kind"], text[one["start"] : one["end"]]) for one in found["entities"]] == [
        ("file", "document.pdf"), ("project", "X")
    ]  # fmt: skip


async def test_no_plan_without_a_user(here: World) -> None:
    answer = await here.client.post("/v1/plan", json={"text": "delete a.pdf"}, headers=here.headers(None))
    assert answer.status_code == 403


async def test_a_plan_over_http(here: World) -> None:
    found = await here.plan("Upload document.pdf to project X", tools=TOOLS, context=NOW | ATTACHED)
    assert [one["tool"] for one in found["calls"]] == ["files_upload"]
    assert here.fakes.chats == []
