"""Approvals: asked for by tools, decided by people, used once for exactly what was approved."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from gateway_kit import Person, World, client_of
from hypothesis import given
from hypothesis import strategies as st
from zentoria_backend.access.principal import Principal
from zentoria_backend.app import create_app
from zentoria_backend.approvals import service
from zentoria_backend.approvals.service import digest_of
from zentoria_backend.services import Services
from zentoria_common.problems import Problem

ARGUMENTS = {"file_id": "0198c1f2-0000-4000-8000-000000000000", "force": True}


@pytest_asyncio.fixture
async def services(world: World) -> AsyncIterator[Services]:
    made = world.services()
    yield made
    await made.close()


def model(person: Person, client_id: str = "https://client.example/mcp") -> Principal:
    """A program that acts for a person."""
    return Principal(person.id, person.role, frozenset({"files:write"}), "oauth", client_id, client_id=client_id)


async def approve(world: World, services: Services, person: Person, approval_id: Any, decision: str = "approve") -> int:
    app = create_app(services.settings, services, ())
    async with client_of(app) as client:
        answer = await client.post(f"/api/v1/approvals/{approval_id}/{decision}", headers=person.headers)
    return answer.status_code


@pytest.mark.asyncio
async def test_what_was_approved_runs_once(world: World, services: Services) -> None:
    person = world.person()
    before = world.last_audit()
    asked = await service.propose(services, model(person), "files_delete", ARGUMENTS, "7")
    assert asked.state == "pending"
    with pytest.raises(Problem) as caught:
        await service.use(services, model(person), asked.id, "files_delete", ARGUMENTS, "7")
    assert caught.value.kind == "approval-pending"
    assert await approve(world, services, person, asked.id) == 200
    uses = [service.use(services, model(person), asked.id, "files_delete", ARGUMENTS, "7") for _ in range(8)]
    done = await asyncio.gather(*uses, return_exceptions=True)
    assert sum(not isinstance(one, BaseException) for one in done) == 1
    assert {one.kind for one in done if isinstance(one, Problem)} == {"approval-used"}
    actions = [row["action"] for row in world.audit(after=before)]
    assert actions == ["approvals.request", "approvals.approve", "approvals.use"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tool", "arguments", "revision", "client"),
    [
        ("files_write", ARGUMENTS, "7", "https://client.example/mcp"),
        ("files_delete", ARGUMENTS | {"force": False}, "7", "https://client.example/mcp"),
        ("files_delete", ARGUMENTS | {"more": 1}, "7", "https://client.example/mcp"),
        ("files_delete", ARGUMENTS, "8", "https://client.example/mcp"),
        ("files_delete", ARGUMENTS, None, "https://client.example/mcp"),
        ("files_delete", ARGUMENTS, "7", "https://other.example/mcp"),
    ],
)
async def test_nothing_else_runs(
    world: World, services: Services, tool: str, arguments: dict[str, Any], revision: str | None, client: str
) -> None:
    person = world.person()
    asked = await service.propose(services, model(person), "files_delete", ARGUMENTS, "7")
    assert await approve(world, services, person, asked.id) == 200
    before = world.last_audit()
    with pytest.raises(Problem) as caught:
        await service.use(services, model(person, client), asked.id, tool, arguments, revision)
    assert (caught.value.status, caught.value.kind) == (409, "approval-mismatch")
    assert [(row["action"], row["severity"]) for row in world.audit(after=before)] == [
        ("approvals.mismatch", "warning")
    ]
    used = await service.use(services, model(person), asked.id, "files_delete", ARGUMENTS, "7")
    assert used.state == "used"


@pytest.mark.asyncio
async def test_denied_is_denied(world: World, services: Services) -> None:
    person = world.person()
    asked = await service.propose(services, model(person), "files_delete", ARGUMENTS, "7")
    assert [await approve(world, services, person, asked.id, "deny") for _ in range(2)] == [200, 200]
    assert await approve(world, services, person, asked.id) == 409
    with pytest.raises(Problem) as caught:
        await service.use(services, model(person), asked.id, "files_delete", ARGUMENTS, "7")
    assert caught.value.kind == "approval-denied"


@pytest.mark.asyncio
async def test_too_old_is_expired(world: World, services: Services) -> None:
    person = world.person()
    asked = await service.propose(services, model(person), "files_delete", ARGUMENTS, "7")
    assert await approve(world, services, person, asked.id) == 200
    world.admin.execute("update approvals set expires_at = now() where id = %s", [asked.id])
    with pytest.raises(Problem) as caught:
        await service.use(services, model(person), asked.id, "files_delete", ARGUMENTS, "7")
    assert caught.value.status == 409  # the expiry is bound as well: moving it makes it another one
    world.admin.execute("update approvals set expires_at = %s where id = %s", [asked.expires_at, asked.id])
    later = service.LIFETIME + datetime.timedelta(seconds=1)
    object.__setattr__(services, "clock", lambda: datetime.datetime.now(datetime.UTC) + later)
    with pytest.raises(Problem) as caught:
        await service.use(services, model(person), asked.id, "files_delete", ARGUMENTS, "7")
    assert caught.value.kind == "approval-expired"
    assert (await service.get_approval(services, model(person), asked.id)).state == "expired"
    page = await service.list_approvals(services, model(person), 10, None, "expired")
    assert [one.id for one in page.items] == [asked.id]


@pytest.mark.asyncio
async def test_the_same_question_is_the_same_approval_and_there_is_an_end(world: World, services: Services) -> None:
    person = world.person()
    one = await service.propose(services, model(person), "files_delete", ARGUMENTS, "7")
    same = await service.propose(services, model(person), "files_delete", dict(reversed(ARGUMENTS.items())), "7")
    assert same == one
    for number in range(service.MAX_PENDING - 1):
        await service.propose(services, model(person), "files_delete", ARGUMENTS | {"n": number}, "7")
    with pytest.raises(Problem) as caught:
        await service.propose(services, model(person), "files_delete", ARGUMENTS | {"n": "more"}, "7")
    assert caught.value.kind == "too-many-approvals"


@pytest.mark.asyncio
async def test_a_program_cannot_decide(world: World, client: httpx2.AsyncClient, services: Services) -> None:
    person = world.person()
    asked = await service.propose(services, model(person), "files_delete", ARGUMENTS, "7")
    key = world.key(person.id, "approvals:decide")
    answer = await client.post(f"/api/v1/approvals/{asked.id}/approve", headers={"X-API-Key": key})
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/wrong-credential")


@pytest.mark.asyncio
@pytest.mark.parametrize("arguments", [{"x": float("nan")}, {"x": "\ud800"}, {"x": {1, 2}}, {"x": "y" * 70_000}])
async def test_arguments_that_are_no_json_are_refused(world: World, services: Services, arguments: Any) -> None:
    with pytest.raises(Problem) as caught:
        await service.propose(services, model(world.person()), "files_delete", arguments, "7")
    assert caught.value.status == 422


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(
        st.characters(exclude_categories=["Cs"])
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
WHOLE = st.fixed_dictionaries(
    {
        "tool": st.text(max_size=20),
        "arguments": st.dictionaries(st.text(max_size=5), JSON, max_size=4),
        "target_revision": st.none() | st.text(max_size=5),
        "actor": st.text(max_size=20),
        "user_id": st.integers(1, 10),
        "expires_at": st.datetimes(timezones=st.just(datetime.UTC)),
    }
)


@given(WHOLE, WHOLE)
def test_the_digest_tells_everything_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    try:
        same = digest_of(**one) == digest_of(**other)
    except Problem as refusal:  # a lone surrogate: no JSON
        assert refusal.status == 422
        return
    assert same == (repr(sorted_deep(one)) == repr(sorted_deep(other)))


def sorted_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((name, sorted_deep(each)) for name, each in value.items())
    return [sorted_deep(each) for each in value] if isinstance(value, list) else value
