"""Route x scope x role x credential x owner, generated from the permission table. Run with ``-s`` it prints it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from gateway_kit import GOOD_ANSWERS, PUBLIC_URL, Person, World
from matrix_cases import ANSWERS, BODIES, HEADERS, MAKERS
from zentoria_backend.access.rule import ALL, OWN, Rule
from zentoria_backend.access.rules import RULES
from zentoria_common.scopes import ADMIN, ROLES, SCOPES

ROUTES = [rule for rule in RULES if rule.method not in ("WS", "TOOL") and rule.scope]
KINDS = ("session", "api_key", "oauth")


def name(rule: Rule) -> str:
    return f"{rule.method} {rule.path}"


def credential(world: World, person: Person, kind: str, scopes: frozenset[str]) -> dict[str, str]:
    """Of a person, of a kind, with these scopes."""
    text = " ".join(sorted(scopes))
    if kind == "session":
        token = world.auth.token(person.id, role=person.role, sid=person.sid, scope=text)
    elif kind == "oauth":
        token = world.auth.token(
            person.id, role=person.role, scope=text, client_id="https://client.example/mcp", aud=f"{PUBLIC_URL}/api"
        )
    else:
        token = world.key(person.id, *sorted(scopes))
    return {"Authorization": f"Bearer {token}"}


def address(world: World, rule: Rule, owner: Person) -> str:
    """The path with a thing of ``owner``'s in it."""
    path = rule.path
    for part in rule.path.split("/"):
        if part.startswith("{"):
            wanted = part.strip("{}").split(":")[0]
            assert wanted in MAKERS, f"{name(rule)}: add a maker for {wanted} to matrix_cases.py"
            path = path.replace(part, MAKERS[wanted](world, owner))
    return path


async def ask(
    client: httpx2.AsyncClient, world: World, rule: Rule, headers: dict[str, str], owner: Person
) -> httpx2.Response:
    key = (rule.method, rule.path)
    assert rule.method in ("GET", "HEAD", "DELETE") or key in BODIES, f"{name(rule)}: add a body to matrix_cases.py"
    headers = {**HEADERS.get(key, {}), **headers}
    return await client.request(rule.method, address(world, rule, owner), json=BODIES.get(key), headers=headers)


def let_through(rule: Rule, answer: httpx2.Response) -> bool:
    wanted = ANSWERS.get((rule.method, rule.path))
    return answer.status_code == wanted if wanted else answer.status_code // 100 == 2


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    world.auth.answers |= GOOD_ANSWERS
    async with world.client() as client:
        yield client


@pytest.mark.asyncio
@pytest.mark.parametrize("rule", ROUTES, ids=name)
async def test_the_matrix(client: httpx2.AsyncClient, world: World, rule: Rule) -> None:
    assert rule.scope is not None
    cells: list[str] = []
    for role in ("owner", "member"):
        person, other = world.person(role), world.person(role)  # type: ignore[arg-type] # both are roles
        may = rule.scope in ROLES[role]  # type: ignore[index] # a role
        for kind in KINDS:
            everything = ROLES[role] if kind == "session" else ROLES[role] & SCOPES.keys()  # type: ignore[index] # a role
            taken = kind in rule.kinds and may and (rule.scope != ADMIN or kind == "session")
            answer = await ask(client, world, rule, credential(world, person, kind, everything - {rule.scope}), person)
            assert answer.status_code == 403, (role, kind, answer.text)
            answer = await ask(client, world, rule, credential(world, person, kind, frozenset({rule.scope})), person)
            assert let_through(rule, answer) if taken else answer.status_code == 403, (role, kind, answer.text)
            cells.append(f"{role}/{kind}:{answer.status_code}")
            if rule.owner == OWN and taken:
                headers = credential(world, person, kind, frozenset({rule.scope}))
                answer = await ask(client, world, rule, headers, other)
                assert answer.status_code == 404, (role, kind, answer.text)
                cells[-1] += "+other's:404"
    answer = await ask(client, world, rule, {}, world.person())
    assert answer.status_code == 401
    print(f"{name(rule):60} {rule.scope:18} {rule.owner:5} {' '.join(cells)}")


@pytest.mark.asyncio
async def test_what_shows_everybodys_shows_members_their_own(client: httpx2.AsyncClient, world: World) -> None:
    owner, one, other = world.person(), world.person("member"), world.person("member")
    before = world.last_audit()
    for person in (one, other):
        body = {"name": "x", "scopes": ["keys:read"]}
        assert (await client.post("/api/v1/keys", json=body, headers=person.headers)).status_code == 201
    shown: dict[str, Any] = {}
    for rule in ROUTES:
        if rule.owner != ALL:
            continue
        assert rule.path.startswith("/api/v1/audit"), f"{name(rule)}: say here how to tell whose rows it shows"
        for who, person in (("owner", owner), ("one", one)):
            answer = await client.get(rule.path, headers=person.headers, params={"limit": 200, "after": before})
            exported = rule.path.endswith("/export")
            rows = [json.loads(line) for line in answer.text.splitlines()] if exported else answer.json()["items"]
            shown[who] = {int(row["user_id"]) for row in rows if row["user_id"] is not None}
        assert shown["one"] == {one.id}
        assert {one.id, other.id} <= shown["owner"]
