"""Commands: what reads is done, what changes something waits for an approval, and then it is done once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from callee_fakes import URLS, Callees
from gateway_kit import Person, World, client_of
from matrix_cases import some_file
from zentoria_backend.app import create_app
from zentoria_backend.commands import planning
from zentoria_backend.events import streams
from zentoria_backend.services import make_services


class Desk:
    """A gateway whose orchestrator plans what a test wants."""

    def __init__(self, world: World) -> None:
        self.world, self.callees = world, Callees(world)
        settings = world.settings(**URLS)
        self.services = make_services(settings, world.secrets, identity=world.auth.gateway, transport=self.callees)
        self.app = create_app(settings, self.services, ())

    @contextlib.asynccontextmanager
    async def of(self, person: Person) -> AsyncIterator[httpx2.AsyncClient]:
        async with client_of(self.app) as client:
            client.headers.update(person.headers)
            yield client

    async def command(self, client: httpx2.AsyncClient, *calls: tuple[str, dict[str, Any]], **plan: Any) -> Any:
        wanted = [{"tool": tool, "arguments": arguments, "why": "so"} for tool, arguments in calls]
        self.callees.plan = {"intent": "file.move", "confidence": 0.9, "say": "", "calls": wanted} | plan
        answer = await client.post("/api/v1/mcp/command", json={"text": "do it"})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest_asyncio.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    made = Desk(world)
    yield made
    await made.services.close()


@pytest.mark.asyncio
async def test_what_reads_is_done_at_once(world: World, desk: Desk) -> None:
    person = world.person()
    file_id = some_file(world, person)
    before = world.last_audit()
    async with desk.of(person) as ada:
        done = await desk.command(ada, ("files_get", {"file": "a.txt"}), ("files_list", {}))
    assert [(one["effect"], one["approval"], one["error"]) for one in done["calls"]] == [("read", None, None)] * 2
    assert done["calls"][0]["arguments"] == {"file_id": file_id}
    assert done["calls"][0]["result"]["id"] == file_id
    assert [one["id"] for one in done["calls"][1]["result"]["items"]] == [file_id]
    assert [(row["action"], row["resource_id"]) for row in world.audit(after=before)] == [
        ("command.tool", "files_get"), ("command.tool", "files_list"),
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_what_changes_something_is_approved_and_then_done_once(world: World, desk: Desk) -> None:
    person = world.person()
    file_id = some_file(world, person)
    async with desk.of(person) as ada:
        done = await desk.command(ada, ("files_move", {"file_id": "A.TXT", "project": "Norway"}))
        approval = done["calls"][0]["approval"]
        assert approval["title"] == "Move a.txt to Norway"
        assert approval["effects"] == [
            {"what": "file", "where": "a.txt", "before": {"project": None}, "after": {"project": "Norway"}}
        ]
        assert (await ada.get(f"/api/v1/files/{file_id}")).json()["project"] is None
        before = world.last_audit()
        decided = await asyncio.gather(*(ada.post(f"/api/v1/approvals/{approval['id']}/approve") for _ in range(4)))
        assert {one.status_code for one in decided} <= {200, 409}
        results = [one.json()["result"] for one in decided if one.status_code == 200 and one.json()["result"]]
        assert {one["status"] for one in results} == {"done"}
        assert (await ada.get(f"/api/v1/files/{file_id}")).json()["project"] == "Norway"
        assert (await ada.get("/api/v1/files", params={"project": "Norway"})).json()["items"][0]["id"] == file_id
        assert (await ada.get("/api/v1/projects")).json()["items"] == [{"name": "Norway", "files": 1}]
        there = (await ada.get(f"/api/v1/approvals/{approval['id']}")).json()
        assert (there["state"], there["result"]["status"]) == ("used", "done")
    actions = [row["action"] for row in world.audit(after=before)]
    assert sorted(actions) == ["approvals.approve", "approvals.carried_out", "approvals.use", "files.change"]
    told = [event.data async for event in streams.after(desk.services.redis, person.id, "0-0")]
    assert [one for one in told if '"status":"done"' in one]


@pytest.mark.asyncio
async def test_what_changed_meanwhile_is_not_done(world: World, desk: Desk) -> None:
    person = world.person()
    file_id = some_file(world, person)
    async with desk.of(person) as ada:
        done = await desk.command(ada, ("files_delete", {"file_id": file_id}))
        approval = done["calls"][0]["approval"]
        await ada.patch(f"/api/v1/files/{file_id}", json={"filename": "b.txt"})
        decided = (await ada.post(f"/api/v1/approvals/{approval['id']}/approve")).json()
        assert decided["result"]["status"] == "failed"
        assert decided["result"]["error"]["type"] == "/problems/approval-mismatch"
        assert (await ada.get(f"/api/v1/files/{file_id}")).json()["deleted_at"] is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tool", "arguments", "status"),
    [
        ("files_get", {"file_id": "nobody has this.pdf"}, 404),
        ("files_delete", {"file_id": "other's"}, 404),
        ("files_delete", {"file_id": "a.txt", "approval_id": str(uuid.uuid4())}, 422),
        ("files_get", {"file_id": ["a"]}, 422),
        ("files_get", {"file_id": "a.txt", "more": 1}, 422),
        ("keys_create", {"name": "x", "scopes": "all of them"}, 422),
        ("chat_send", {"text": "again"}, 404),
        ("rm", {"path": "/"}, 404),
    ],
)
async def test_a_plan_is_not_trusted(
    world: World, desk: Desk, tool: str, arguments: dict[str, Any], status: int
) -> None:
    person, other = world.person(), world.person()
    some_file(world, person)
    if arguments.get("file_id") == "other's":
        arguments = {"file_id": some_file(world, other)}
    async with desk.of(person) as ada:
        done = (await desk.command(ada, (tool, arguments)))["calls"][0]
        assert (done["error"]["status"], done["approval"], done["result"]) == (status, None, None)
        assert (await ada.get("/api/v1/approvals")).json()["items"] == []


@pytest.mark.asyncio
async def test_a_credential_plans_with_what_it_may_do(world: World, desk: Desk) -> None:
    person = world.person()
    some_file(world, person)
    key = world.key(person.id, "chat:write", "files:read")
    async with desk.of(person) as ada:
        ada.headers["authorization"] = f"Bearer {key}"
        done = (await desk.command(ada, ("files_delete", {"file_id": "a.txt"})))["calls"][0]
        assert done["error"]["status"] == 403
        offered = [one["name"] for one in desk.callees.asked[-1][3]["tools"]]
        assert offered == [
            "conversations_delete", "files_get", "files_list", "files_read", "files_search", "memory_add",
            "memory_delete", "transcribe",
        ]  # fmt: skip
        assert all("approval_id" not in one["input_schema"]["properties"] for one in desk.callees.asked[-1][3]["tools"])


@pytest.mark.asyncio
async def test_several_of_one_name_are_asked_about(world: World, desk: Desk) -> None:
    person = world.person()
    both = {some_file(world, person), some_file(world, person)}
    async with desk.of(person) as ada:
        done = (await desk.command(ada, ("files_delete", {"file_id": "a.txt"})))["calls"][0]
    assert (done["error"]["status"], done["error"]["type"]) == (409, "/problems/several")
    assert {one["id"] for one in done["error"]["which"]} == both


@pytest.mark.asyncio
async def test_a_new_key_is_shown_to_who_approves_it_and_kept_nowhere(world: World, desk: Desk) -> None:
    person = world.person()
    async with desk.of(person) as ada:
        wanted = {"name": "backup", "scopes": ["files:read"], "expires_in_days": 30}
        approval = (await desk.command(ada, ("keys_create", wanted)))["calls"][0]["approval"]
        decided = (await ada.post(f"/api/v1/approvals/{approval['id']}/approve")).json()
        secret = decided["result"]["value"]["key"]
        ada.headers["authorization"] = f"Bearer {secret}"
        assert (await ada.get("/api/v1/files")).status_code == 200
        ada.headers.update(person.headers)
        later = (await ada.get(f"/api/v1/approvals/{approval['id']}")).json()
        assert later["result"]["value"]["name"] == "backup"
        assert secret not in json.dumps(later)
        rotated = (await desk.command(ada, ("keys_rotate", {"key": "backup"})))["calls"][0]["approval"]
        decided = (await ada.post(f"/api/v1/approvals/{rotated['id']}/approve")).json()
        fresh = decided["result"]["value"]["key"]
        for key, status in ((secret, 401), (fresh, 200)):
            ada.headers["authorization"] = f"Bearer {key}"
            assert (await ada.get("/api/v1/files")).status_code == status
    tables = ("approvals", "api_keys", "audit_log")
    everything = "".join(str(world.admin.execute(f"select * from {one}").fetchall()) for one in tables)  # noqa: S608 - a test's own names
    assert secret not in everything and fresh not in everything
    assert hashlib.sha256(fresh.encode()).hexdigest()[:8]


@pytest.mark.asyncio
async def test_mail_waits_for_what_sends_it(world: World, desk: Desk) -> None:
    async with desk.of(world.person()) as ada:
        wanted = {"to": ["bob@example.org"], "subject": "Fjords", "body": "They thaw in May."}
        approval = (await desk.command(ada, ("mail_send", wanted)))["calls"][0]["approval"]
        assert approval["effects"][0]["after"]["body"] == "They thaw in May."
        decided = (await ada.post(f"/api/v1/approvals/{approval['id']}/approve")).json()
    assert decided["result"]["error"]["type"] == "/problems/service-missing"


def test_every_tool_says_its_effect() -> None:
    told = {name: offer.told for name, (offer, _) in planning.tools().items()}
    assert list(told) == sorted(told)
    changing = {name for name, (offer, _) in planning.tools().items() if offer.kind == "changes"}
    assert all(told[name] != "read" for name in changing)
    assert {name for name, effect in told.items() if effect == "destroy"} == {
        "conversations_delete", "files_delete", "keys_revoke", "memory_delete", "sessions_revoke",
    }  # fmt: skip
