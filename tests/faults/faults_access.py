"""What calls the endpoints that ``zentoria bootstrap`` needs: users, tokens, roles, rights and pools."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tests.faults.faults_exercisers import Act, Case, Exerciser, Lost
from tests.faults.faults_worlds import POOL
from zentoria_infra.proxmox.access import Access, Grant
from zentoria_infra.proxmox.connection import Password
from zentoria_infra.proxmox.secret import Secret

TOKEN = "up"


def access(case: Case) -> Access:
    return Access(case.client.connection)


def user(case: Case) -> str:
    return f"u{case.number}@pve"


def role(case: Case) -> str:
    return f"R{case.number}"


def pool(case: Case) -> str:
    return f"p{case.number}"


def lines(case: Case, path: str, key: str, value: str) -> list[dict[str, Any]]:
    """The entries of a list that are the case's own."""
    return [one for one in case.world.root("GET", path) if one[key] == value]


def count(case: Case, path: str, key: str, value: str, wanted: int) -> None:
    """One entry, or none; a server whose lists are not changed by writes cannot tell."""
    if case.world.backend.has_access or path == "/pools":
        assert len(lines(case, path, key, value)) == wanted


def log_in(case: Case) -> None:
    client = case.world.client(Password("root@pam", Secret(case.world.backend.password)))
    try:
        client.observe.version()
    finally:
        client.connection.close()


def has_pool(case: Case) -> None:
    case.world.root("POST", "/pools", poolid=pool(case))


def has_role(case: Case) -> None:
    case.world.root("POST", "/access/roles", roleid=role(case), privs="VM.Audit")


def has_user(case: Case) -> None:
    case.world.root("POST", "/access/users", userid=user(case))


def has_token(case: Case) -> None:
    has_user(case)
    case.world.root("POST", f"/access/users/{user(case)}/token/{TOKEN}", privsep=0)


def granted(case: Case) -> Grant:
    return Grant(f"/vms/{case.number}", "PVEAuditor", "user", user(case))


def has_grant(case: Case) -> None:
    has_user(case)
    case.world.root("PUT", "/access/acl", path=granted(case).path, roles="PVEAuditor", users=user(case))


def new_token_again(case: Case) -> None:
    """As the next run does: a token whose secret nobody knows is made anew."""
    access(case).delete_token(user(case), TOKEN)
    access(case).create_token(user(case), TOKEN, "")


def add_to_pool_again(case: Case) -> None:
    found = case.client.observe.pool(POOL)
    assert found is not None
    if case.number not in found.guests:
        case.client.write.add_to_pool(POOL, [case.number])


def is_in_pool(case: Case) -> None:
    members = case.world.root("GET", f"/pools/{POOL}")["members"]
    assert [one.get("vmid") for one in members].count(case.number) == 1


def own_container(case: Case) -> None:
    case.world.backend.add_container(case.number)


def _pools() -> Iterator[Exerciser]:
    def there(case: Case) -> None:
        count(case, "/pools", "poolid", pool(case), 1)

    def gone(case: Case) -> None:
        count(case, "/pools", "poolid", pool(case), 0)

    make: Act = lambda case: access(case).create_pool(pool(case), "ours")  # noqa: E731 - a Act
    drop: Act = lambda case: access(case).delete_pool(pool(case))  # noqa: E731 - a Act
    join: Act = lambda case: case.client.write.add_to_pool(POOL, [case.number])  # noqa: E731 - a Act
    yield Exerciser("POST", "/pools", make, check=there, names=pool)
    yield Exerciser("DELETE", "/pools", drop, has_pool, check=gone, names=pool)
    yield Exerciser(
        "PUT", "/pools", join, own_container, add_to_pool_again, is_in_pool, lost=Lost.TOLD, names=lambda case: POOL
    )


def _roles() -> Iterator[Exerciser]:
    def there(case: Case) -> None:
        count(case, "/access/roles", "roleid", role(case), 1)

    def gone(case: Case) -> None:
        count(case, "/access/roles", "roleid", role(case), 0)

    def is_set(case: Case) -> None:
        there(case)
        if case.world.backend.has_access:
            (found,) = lines(case, "/access/roles", "roleid", role(case))
            assert found["privs"] == "VM.PowerMgmt"

    make: Act = lambda case: access(case).create_role(role(case), ["VM.Audit"])  # noqa: E731 - a Act
    change: Act = lambda case: access(case).set_role(role(case), ["VM.PowerMgmt"])  # noqa: E731 - a Act
    drop: Act = lambda case: access(case).delete_role(role(case))  # noqa: E731 - a Act
    yield Exerciser("GET", "/access/roles", lambda case: access(case).roles())
    yield Exerciser("POST", "/access/roles", make, check=there, names=role)
    yield Exerciser("PUT", "/access/roles/{roleid}", change, has_role, check=is_set, names=role)
    yield Exerciser("DELETE", "/access/roles/{roleid}", drop, has_role, check=gone, names=role)


def _users() -> Iterator[Exerciser]:
    tokens = "/access/users/{userid}/token"

    def count_user(case: Case, wanted: int) -> None:
        count(case, "/access/users", "userid", user(case), wanted)

    def count_token(case: Case, wanted: int) -> None:
        if case.world.backend.has_access:
            count(case, tokens.format(userid=user(case)), "tokenid", TOKEN, wanted)

    def separated(case: Case) -> None:
        if case.world.backend.has_access:
            (found,) = case.world.root("GET", tokens.format(userid=user(case)))
            assert int(found["privsep"]) == 1

    make: Act = lambda case: access(case).create_user(user(case), "ours")  # noqa: E731 - a Act
    drop: Act = lambda case: access(case).delete_user(user(case))  # noqa: E731 - a Act
    yield Exerciser("GET", "/access/users", lambda case: access(case).user("root@pam"))
    yield Exerciser("POST", "/access/users", make, check=lambda case: count_user(case, 1), names=user)
    yield Exerciser(
        "DELETE", "/access/users/{userid}", drop, has_user, check=lambda case: count_user(case, 0), names=user
    )
    yield Exerciser("GET", tokens, lambda case: access(case).user("root@pam"))
    each = tokens + "/{tokenid}"
    new: Act = lambda case: access(case).create_token(user(case), TOKEN, "")  # noqa: E731 - a Act
    separate: Act = lambda case: access(case).separate_token(user(case), TOKEN)  # noqa: E731 - a Act
    remove: Act = lambda case: access(case).delete_token(user(case), TOKEN)  # noqa: E731 - a Act
    yield Exerciser(
        "POST", each, new, has_user, new_token_again, lambda case: count_token(case, 1), lost=Lost.FOUND, names=user
    )
    yield Exerciser("PUT", each, separate, has_token, check=separated, names=user)
    yield Exerciser("DELETE", each, remove, has_token, check=lambda case: count_token(case, 0), names=user)


def _grants() -> Iterator[Exerciser]:
    def count_grants(case: Case, wanted: int) -> None:
        count(case, "/access/acl", "ugid", user(case), wanted)

    give: Act = lambda case: access(case).grant(granted(case))  # noqa: E731 - a Act
    take: Act = lambda case: access(case).revoke(granted(case))  # noqa: E731 - a Act
    yield Exerciser("GET", "/access/acl", lambda case: access(case).grants())
    acl = Exerciser("PUT", "/access/acl", give, has_user, check=lambda case: count_grants(case, 1), names=user)
    yield acl
    yield dataclasses.replace(
        acl, act=take, prepare=has_grant, check=lambda case: count_grants(case, 0), variant="delete"
    )


def admin() -> Iterator[Exerciser]:
    """What ``zentoria bootstrap`` calls."""
    yield Exerciser("POST", "/access/ticket", log_in)
    yield from _pools()
    yield from _roles()
    yield from _users()
    yield from _grants()
    yield Exerciser("GET", "/cluster/sdn/vnets", lambda case: access(case).vnets())
