"""Users, tokens, roles and rights, with the real server's recorded answers, and on fakepve where it has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.proxmox.proxmox_scripted_server import Reply, Seen, data, failure
from tests.support.needs import need_shared
from zentoria_infra.errors import ApiError
from zentoria_infra.proxmox.access import Access, Grant, TokenInfo, UserInfo
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.errors import AlreadyExistsError

MINE = Grant("/vms/401", "CTUser", "user", "bob@pve")


def _recorded(verb: str, path: str, number: int = 0) -> dict[str, Any]:
    """The one of so many exchanges of that kind."""
    recorded = need_shared("proxmox", "recorded", "access-pools-storage.json")
    found = [one for one in json.loads(recorded.read_text()) if (one["method"], one["path"]) == (verb, path)]
    return dict(found[number])


def _server(scripted_connection: Any, *entries: dict[str, Any]) -> tuple[Access, list[Seen]]:
    """A server that gives recorded answers by verb and path."""
    replies = {
        (one["method"], one["path"]): Reply(one["status"], one["body"] or None, reason=one["reason"]) for one in entries
    }
    connection, server = scripted_connection(lambda seen: replies[seen.method, seen.path])
    return Access(connection), server.seen


def test_what_the_real_server_tells(scripted_connection: Any) -> None:
    access, _ = _server(
        scripted_connection,
        _recorded("GET", "/access/users"),
        _recorded("GET", "/access/users/bob@pve/token"),
        _recorded("GET", "/access/acl"),
        _recorded("GET", "/pools"),
    )
    assert access.user("bob@pve") == UserInfo("bob@pve", True, "", (TokenInfo("t1", True),))
    assert access.user("nobody@pve") is None
    assert access.grants() == (MINE,)
    assert access.pools() == {"p1": ""}


def test_what_is_there_or_gone_already_is_no_error(scripted_connection: Any) -> None:
    access, _ = _server(
        scripted_connection,
        _recorded("POST", "/access/users", 1),
        _recorded("POST", "/pools", 1),
        _recorded("DELETE", "/access/users/bob@pve", 1),
        _recorded("GET", "/access/users"),
        _recorded("GET", "/access/users/bob@pve/token"),
        _recorded("GET", "/pools"),
    )
    access.create_user("bob@pve", "")
    access.create_pool("p1", "")
    access.delete_user("bob@pve")
    with pytest.raises(AlreadyExistsError, match="somebody else has made it"):
        access.create_pool("p1", "made by another")


def test_what_is_refused_is_told(scripted_connection: Any) -> None:
    access, _ = _server(scripted_connection, _recorded("POST", "/access/roles", 1), _recorded("PUT", "/access/acl", 1))
    with pytest.raises(ApiError, match=r"invalid privilege 'VM\.Nope'"):
        access.create_role("Bad", ["VM.Nope"])
    with pytest.raises(ApiError, match="role 'NoRole' does not exist"):
        access.grant(MINE)


def test_the_secret_of_a_token_shows_nowhere(scripted_connection: Any) -> None:
    access, seen = _server(scripted_connection, _recorded("POST", "/access/users/bob@pve/token/t1"))
    secret = access.create_token("bob@pve", "t1", "mine")
    value = _recorded("POST", "/access/users/bob@pve/token/t1")["body"]["data"]["value"]
    assert secret.reveal() == value
    assert value not in repr(secret) + str(secret)
    assert seen[0].form == {"privsep": "1", "comment": "mine"}


def test_what_is_sent(scripted_connection: Any) -> None:
    pools = [{"poolid": "p1"}]
    connection, server = scripted_connection(lambda seen: data(pools if seen.method == "GET" else None))
    access = Access(connection)
    access.grant(MINE)
    access.revoke(Grant("/", "R", "token", "bob@pve!t1", propagate=False))
    access.set_role("R", {"VM.Audit", "Pool.Audit"})
    access.delete_pool("p1")
    access.separate_token("bob@pve", "t1", separate=False)
    assert [(one.method, one.path, one.form) for one in server.seen if one.method != "GET"] == [
        ("PUT", "/access/acl", {"path": "/vms/401", "roles": "CTUser", "users": "bob@pve", "propagate": "1"}),
        ("PUT", "/access/acl", {"path": "/", "roles": "R", "tokens": "bob@pve!t1", "delete": "1"}),
        ("PUT", "/access/roles/R", {"privs": "Pool.Audit,VM.Audit"}),
        ("DELETE", "/pools", {"poolid": "p1"}),
        ("PUT", "/access/users/bob@pve/token/t1", {"privsep": "0"}),
    ]


def test_a_server_without_sdn_has_no_vnets(scripted_connection: Any) -> None:
    connection, _ = scripted_connection(lambda seen: failure(501, "Method 'GET /cluster/sdn/vnets' not implemented"))
    assert Access(connection).vnets() == {}
    connection, _ = scripted_connection(lambda seen: data([{"vnet": "lan", "zone": "z1", "tag": 7}, {"vnet": "new"}]))
    assert Access(connection).vnets() == {"lan": "z1"}


def test_on_fakepve(connection: Connection) -> None:
    """It keeps no users or rights, but answers in the official shapes."""
    access = Access(connection)
    assert access.roles()
    assert access.user("root@pam") is not None
    access.grants()
    access.vnets()
    access.create_role("Zentoria", ["VM.Audit"])
    access.create_user("zentoria@pve", "Zentoria")
    access.create_pool("zentoria", "")
    assert access.create_token("root@pam", "made", "x").reveal()
