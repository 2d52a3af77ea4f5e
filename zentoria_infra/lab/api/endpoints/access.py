"""``/access``: tickets, passwords, users, tokens."""

from __future__ import annotations

import uuid

from zentoria_infra.lab.api.auth.usercfg import Token, User, UserConfig
from zentoria_infra.lab.api.endpoints import common
from zentoria_infra.lab.api.faults import bad_params, forbidden, internal, unauthorized
from zentoria_infra.lab.api.routing import Call, Routes, everyone, world
from zentoria_infra.lab.api.schema import Param, Schema

routes = Routes()
_TEXT = Param(optional=True)
_EXPIRE = Param("integer", optional=True, minimum=0)
_FLAG = Param("boolean", optional=True)
_USER: Schema = {
    "comment": Param(optional=True, max_length=2048),
    "email": Param(optional=True, max_length=254, format="email-opt"),
    "enable": _FLAG,
    "expire": _EXPIRE,
    "firstname": Param(optional=True, max_length=1024),
    "groups": Param(optional=True, format="pve-groupid-list"),
    "keys": Param(optional=True, pattern=r"[0-9a-zA-Z!=]{0,4096}"),
    "lastname": Param(optional=True, max_length=1024),
}
_TOKEN: Schema = {"comment": _TEXT, "expire": _EXPIRE, "privsep": _FLAG}
_CAPS = {
    "access": ("/access", ("User.Modify", "Group.Allocate")),
    "dc": ("/", ("Sys.Audit", "Sys.Modify", "SDN.Allocate", "SDN.Audit", "SDN.Use")),
    "mapping": ("/mapping", ("Mapping.",)),
    "nodes": ("/nodes", ("Sys.",)),
    "sdn": ("/sdn", ("SDN.",)),
    "storage": ("/storage", ("Datastore.",)),
    "vms": ("/vms", ("VM.",)),
}


@routes.add("GET", "/access")
def _index(_: Call) -> object:
    return [{"subdir": name} for name in ("users", "roles", "acl", "domains", "ticket", "password", "permissions")]


@routes.add("GET", "/access/ticket", world)
def _ticket_dummy(_: Call) -> object:
    return None


@routes.add(
    "POST",
    "/access/ticket",
    world,
    {
        "username": Param(max_length=64),
        "password": Param(),
        "realm": Param(optional=True, max_length=32, format="pve-realm"),
        "otp": _TEXT,
        "tfa-challenge": _TEXT,
        "path": Param(optional=True, max_length=64, requires="privs"),
        "privs": Param(optional=True, max_length=64, format="pve-priv-list", requires="path"),
        "new-format": _FLAG,
    },
    token=False,
)
def _ticket(call: Call) -> object:
    user, password = call.text("username"), call.text("password")
    if call.given("realm") and "@" not in user:
        user += f"@{call.text('realm')}"
    access = call.node.access
    if access.ticket_user(password) != user and not access.password_ok(user, password):
        raise unauthorized("authentication failure")
    caps: dict[str, dict[str, int]] = {}
    for name, (path, prefixes) in _CAPS.items():
        held = access.rights.on(user, path)
        wanted = (*prefixes, "Permissions.Modify")
        caps[name] = {priv: 1 for priv in sorted(held) if priv.startswith(wanted)}
    return {
        "username": user,
        "ticket": access.make_ticket(user),
        "CSRFPreventionToken": access.make_csrf(user),
        "cap": caps,
    }


@routes.add("GET", "/access/domains", world)
def _domains(_: Call) -> object:
    return [
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
        {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server"},
    ]


def _self_or_user_modify(call: Call) -> None:
    common.check_userid(call)
    if str(call.raw.get("userid")) != call.who.partition("!")[0]:
        call.check("/access/groups", "User.Modify")


def _allocate_user(call: Call) -> None:
    userid = common.check_userid(call)
    call.check(f"/access/realm/{userid.rpartition('@')[2]}", "Realm.AllocateUser")
    call.check("/access/groups", "User.Modify")


def _user_modify(call: Call) -> None:
    common.check_userid(call)
    call.check("/access/groups", "User.Modify")


def _user_audit(call: Call) -> None:
    common.check_userid(call)
    call.rights.check_any(call.who, "/access/groups", "User.Modify", "Sys.Audit")


def _password_permission(call: Call) -> None:
    if common.check_userid(call) != call.who:
        _allocate_user(call)


@routes.add(
    "PUT",
    "/access/password",
    _password_permission,
    {
        "userid": Param(max_length=64, format="pve-userid"),
        "password": Param(min_length=8, max_length=64),
        "confirmation-password": Param(optional=True, min_length=5, max_length=64),
    },
    token=False,
)
def _password(call: Call) -> object:
    access, userid = call.node.access, call.text("userid")
    if not call.is_root:
        if not call.given("confirmation-password"):
            raise bad_params({"confirmation-password": "password is required to modify user"})
        if not access.password_ok(call.who, call.text("confirmation-password")):
            raise unauthorized("authentication failure")
    if userid not in access.config.users:
        raise internal(f"no such user ('{userid}')")
    access.set_password(userid, call.text("password"))
    return None


@routes.add("GET", "/access/permissions", everyone, {"path": _TEXT, "userid": _TEXT})
def _permissions(call: Call) -> object:
    who = call.text("userid") or call.who
    if who != call.who and not call.has("/access", "Sys.Audit"):
        raise forbidden("/access, Sys.Audit")
    config = call.node.access.config
    if call.given("path"):
        return call.rights.table(who, [call.text("path")])
    members = {f"/vms/{vmid}" for pool in config.pools.values() for vmid in pool.vms}
    members |= {f"/storage/{name}" for pool in config.pools.values() for name in pool.storages}
    paths = sorted({*common.TOP_PATHS, *config.acl, *(f"/pool/{name}" for name in config.pools), *members})
    return call.rights.table(who, paths)


def _user_row(name: str, user: User) -> dict[str, object]:
    row: dict[str, object] = {"enable": int(user.enable), "expire": user.expire}
    for key in ("firstname", "lastname", "email", "comment", "keys"):
        if value := getattr(user, key):
            row[key] = value
    return row


def _get(config: UserConfig, userid: str) -> User:
    if userid not in config.users:
        raise internal(f"no such user ('{userid}')")
    return config.users[userid]


@routes.add("GET", "/access/users", everyone, {"enabled": _FLAG, "full": _FLAG})
def _users(call: Call) -> object:
    config = call.node.access.config
    see_all = call.has("/access/groups", "User.Modify", "Sys.Audit")
    rows = []
    for name, user in sorted(config.users.items()):
        if (not see_all and name != call.who.partition("!")[0]) or (
            call.given("enabled") and call.flag("enabled") != user.enable
        ):
            continue
        realm = name.rpartition("@")[2]
        row: dict[str, object] = {"userid": name, **_user_row(name, user)}
        if realm in ("pam", "pve"):
            row["realm-type"] = realm
        if call.flag("full"):
            row["groups"] = ",".join(sorted(group for group, members in config.groups.items() if name in members))
            row["tokens"] = [{"tokenid": key, **_token_row(token)} for key, token in user.tokens.items()]
        rows.append(row)
    return rows


@routes.add(
    "POST",
    "/access/users",
    _allocate_user,
    {
        **_USER,
        "userid": Param(max_length=64, format="pve-userid"),
        "password": Param(optional=True, min_length=8, max_length=64),
    },
)
def _create_user(call: Call) -> object:
    access, userid = call.node.access, call.text("userid")
    with access.change() as config:
        if userid in config.users:
            raise internal(f"create user failed: user '{userid}' already exists")
        _assign(call, config.users.setdefault(userid, User()))
        _set_groups(call, config, userid, keep=False)
    if call.given("password"):
        access.set_password(userid, call.text("password"))
    return None


def _assign(call: Call, user: User) -> None:
    user.enable = call.flag("enable", user.enable)
    user.expire = call.number("expire", user.expire)
    for key in ("firstname", "lastname", "email", "comment", "keys"):
        if call.given(key):
            setattr(user, key, call.text(key))


def _set_groups(call: Call, config: UserConfig, userid: str, *, keep: bool) -> None:
    if not call.given("groups"):
        return
    wanted = set(common.items(call.text("groups")))
    for name in wanted - set(config.groups):
        raise internal(f"no such group ('{name}')")
    for name, members in config.groups.items():
        if name in wanted:
            members.add(userid)
        elif not keep:
            members.discard(userid)


@routes.add("GET", "/access/users/{userid}", _user_audit)
def _user(call: Call) -> object:
    config, userid = call.node.access.config, call.text("userid")
    user = _get(config, userid)
    groups = sorted(group for group, members in config.groups.items() if userid in members)
    tokens = {key: _token_row(token) for key, token in user.tokens.items()}
    return {**_user_row(userid, user), "groups": groups, "tokens": tokens}


@routes.add("PUT", "/access/users/{userid}", _user_modify,
            {**_USER, "append": Param("boolean", optional=True, requires="groups")})  # fmt: skip
def _update_user(call: Call) -> object:
    with call.node.access.change() as config:
        _assign(call, _get(config, call.text("userid")))
        _set_groups(call, config, call.text("userid"), keep=call.flag("append"))
    return None


@routes.add("DELETE", "/access/users/{userid}", _allocate_user)
def _delete_user(call: Call) -> object:
    access, userid = call.node.access, call.text("userid")
    with access.change() as config:
        _get(config, userid)
        if userid == "root@pam":
            raise internal("delete user failed: cannot delete user 'root@pam'")
        del config.users[userid]
        for members in config.groups.values():
            members.discard(userid)
        for entries in config.acl.values():
            for target in [item for item in entries if userid in (item[1], item[1].partition("!")[0])]:
                del entries[target]
    access.forget(userid)
    return None


def _token_row(token: Token) -> dict[str, object]:
    row: dict[str, object] = {"expire": token.expire, "privsep": int(token.privsep)}
    return {**row, "comment": token.comment} if token.comment else row


def _token(config: UserConfig, userid: str, tokenid: str) -> Token:
    user = _get(config, userid)
    if tokenid not in user.tokens:
        raise internal(f"no such token '{tokenid}' for user '{userid}'")
    return user.tokens[tokenid]


@routes.add("GET", "/access/users/{userid}/token", _self_or_user_modify)
def _tokens(call: Call) -> object:
    user = _get(call.node.access.config, call.text("userid"))
    return [{"tokenid": name, **_token_row(token)} for name, token in sorted(user.tokens.items())]


@routes.add("GET", "/access/users/{userid}/token/{tokenid}", _self_or_user_modify)
def _read_token(call: Call) -> object:
    return _token_row(_token(call.node.access.config, call.text("userid"), call.text("tokenid")))


@routes.add("POST", "/access/users/{userid}/token/{tokenid}", _self_or_user_modify, _TOKEN)
def _create_token(call: Call) -> object:
    access, userid, tokenid = call.node.access, call.text("userid"), call.text("tokenid")
    value = str(uuid.uuid4())
    token = Token(call.flag("privsep", True), call.number("expire"), call.text("comment"))
    with access.change() as config:
        user = _get(config, userid)
        if tokenid in user.tokens:
            raise bad_params({"tokenid": "Token already exists."})
        user.tokens[tokenid] = token
    access.set_token(f"{userid}!{tokenid}", value)
    info: dict[str, object] = {"privsep": call.text("privsep") if call.given("privsep") else 1}
    for key in ("expire", "comment"):
        if call.given(key):
            info[key] = call.text(key)
    return {"full-tokenid": f"{userid}!{tokenid}", "info": info, "value": value}


@routes.add("PUT", "/access/users/{userid}/token/{tokenid}", _self_or_user_modify,
            {**_TOKEN, "delete": Param(optional=True, since=(9, 0)),
             "regenerate": Param("boolean", optional=True, since=(9, 2))})  # fmt: skip
def _update_token(call: Call) -> object:
    access, full = call.node.access, f"{call.text('userid')}!{call.text('tokenid')}"
    with access.change() as config:
        token = _token(config, call.text("userid"), call.text("tokenid"))
        token.privsep = call.flag("privsep", token.privsep)
        token.expire = call.number("expire", token.expire)
        token.comment = call.text("comment", token.comment)
        if "comment" in common.items(call.text("delete")):
            token.comment = ""
        row = _token_row(token)
    if call.given("privsep"):
        row["privsep"] = str(int(token.privsep))
    if call.flag("regenerate"):
        value = str(uuid.uuid4())
        access.set_token(full, value)
        row |= {"full-tokenid": full, "value": value}
    return row


@routes.add("DELETE", "/access/users/{userid}/token/{tokenid}", _self_or_user_modify)
def _delete_token(call: Call) -> object:
    access, userid, tokenid = call.node.access, call.text("userid"), call.text("tokenid")
    with access.change() as config:
        _token(config, userid, tokenid)
        del config.users[userid].tokens[tokenid]
        for entries in config.acl.values():
            entries.pop(("token", f"{userid}!{tokenid}"), None)
    access.forget(f"{userid}!{tokenid}")
    return None
