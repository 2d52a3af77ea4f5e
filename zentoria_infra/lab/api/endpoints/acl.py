"""``/access/acl``, ``/access/roles`` and ``/access/groups``."""

from __future__ import annotations

import re

from zentoria_infra.lab.api.auth.usercfg import AclTarget, UserConfig
from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import bad_params, forbidden, internal
from zentoria_infra.lab.api.routing import Call, Routes, needs
from zentoria_infra.lab.api.schema import Param

routes = Routes()
_FLAG = Param("boolean", optional=True)
_PATH = re.compile(
    r"/|/access(?:/groups(?:/[A-Za-z0-9.\-_]+)?|/realm(?:/[A-Za-z0-9.\-_]+)?)?"
    r"|/nodes(?:/[A-Za-z0-9.\-_]+)?|/pool(?:/[A-Za-z0-9.\-_]+){0,3}"
    r"|/sdn(?:/zones(?:/[A-Za-z0-9.\-_]+){0,2}(?:/\d+)?)?|/storage(?:/[A-Za-z0-9.\-_]+)?"
    r"|/vms(?:/[1-9][0-9]{2,})?|/mapping(?:/[A-Za-z0-9.\-_]+){0,2}"
)
_PATH_SINCE = {
    (9, 0): re.compile(r"/sdn/fabrics(?:/[A-Za-z0-9.\-_]+)?"),
    (9, 2): re.compile(r"/sdn/(?:prefix-lists|route-maps)(?:/[A-Za-z0-9.\-_]+)?"),
}
_EXTRA = {"vms": "VM.Allocate", "storage": "Datastore.Allocate", "pool": "Pool.Allocate"}


@routes.add("GET", "/access/acl")
def _read(call: Call) -> object:
    rows = []
    for path, entries in sorted(call.node.access.config.acl.items()):
        if not call.has(path, "Permissions.Modify") and not call.has("/access", "Sys.Audit"):
            continue
        for (kind, name), roles in sorted(entries.items()):
            for role, propagate in sorted(roles.items()):
                rows.append({"path": path, "type": kind, "ugid": name, "roleid": role, "propagate": int(propagate)})
    return rows


def _may_modify(call: Call) -> None:
    path = str(call.raw.get("path") or "/")
    privileges = ["Permissions.Modify"]
    if (parts := path.split("/")) and len(parts) > 2 and parts[1] in _EXTRA:
        privileges.append(_EXTRA[parts[1]])
    call.rights.check_any(call.who, path, *privileges)


@routes.add(
    "PUT",
    "/access/acl",
    _may_modify,
    {
        "path": Param(),
        "roles": Param(format="pve-roleid-list"),
        "users": Param(optional=True, format="pve-userid-list"),
        "groups": Param(optional=True, format="pve-groupid-list"),
        "tokens": Param(optional=True, format="pve-tokenid-list"),
        "propagate": _FLAG,
        "delete": _FLAG,
    },
)
def _update(call: Call) -> object:
    path = re.sub(r"/+", "/", "/" + call.text("path")).rstrip("/") or "/"
    if not any(call.given(name) for name in ("users", "groups", "tokens")):
        text = "either 'users', 'groups' or 'tokens' is required."
        raise bad_params({"users": text, "groups": text, "tokens": text})
    if not _is_path(call, path):
        raise bad_params({"path": f"invalid ACL path '{path}'"})
    roles = items(call.text("roles"))
    held = call.rights.on(call.who, path)
    with call.node.access.change() as config:
        for role in roles:
            if role not in call.rights.roles():
                raise internal(f"ACL update failed: role '{role}' does not exist")
            if "Permissions.Modify" not in held and call.rights.roles()[role] - set(held):
                raise forbidden(f"{path}, role '{role}' has more privileges than you")
        entries = config.acl.setdefault(path, {})
        for target in _targets(call, config):
            for role in roles:
                if call.flag("delete"):
                    entries.get(target, {}).pop(role, None)
                else:
                    entries.setdefault(target, {})[role] = call.flag("propagate", True)
            if not entries.get(target, {}):
                entries.pop(target, None)
    return None


def _is_path(call: Call, path: str) -> bool:
    newer = (known for since, known in _PATH_SINCE.items() if since <= call.node.release.number)
    return any(known.fullmatch(path) for known in (_PATH, *newer))


def _targets(call: Call, config: UserConfig) -> list[AclTarget]:
    found: list[AclTarget] = []
    for name in items(call.text("groups")):
        if name not in config.groups:
            raise internal(f"ACL update failed: group '{name}' does not exist")
        found.append(("group", name))
    for name in items(call.text("users")):
        if name not in config.users:
            raise internal(f"ACL update failed: user '{name}' does not exist")
        found.append(("user", name))
    for name in items(call.text("tokens")):
        user, _, tokenid = name.partition("!")
        if user not in config.users or tokenid not in config.users[user].tokens:
            raise internal(f"ACL update failed: token '{name}' does not exist")
        found.append(("token", name))
    return found


@routes.add("GET", "/access/roles")
def _roles(call: Call) -> object:
    own = call.node.access.config.roles
    return [
        {"roleid": name, "privs": ",".join(sorted(members)), **({} if name in own else {"special": 1})}
        for name, members in sorted(call.rights.roles().items())
    ]


_ROLES = needs("/access", "Sys.Modify")
_PRIVILEGES = Param(optional=True, format="pve-priv-list")


def _chosen(call: Call) -> frozenset[str]:
    names = frozenset(items(call.text("privs")))
    unknown = sorted(names - call.rights.all)
    if unknown:
        raise bad_params({"privs": f"invalid format - invalid privilege '{unknown[0]}'\n"})
    return names


@routes.add("POST", "/access/roles", _ROLES, {"roleid": Param(format="pve-roleid"), "privs": _PRIVILEGES})
def _create_role(call: Call) -> object:
    name = call.text("roleid")
    privileges = _chosen(call)
    if name in call.rights.roles():
        raise internal(f"create role failed: role '{name}' already exists")
    with call.node.access.change() as config:
        config.roles[name] = privileges
    return None


def _own_role(call: Call, config: UserConfig) -> str:
    name = call.text("roleid")
    if name not in call.rights.roles():
        raise internal(f"role '{name}' does not exist")
    if name not in config.roles:
        raise internal(f"auto-generated role '{name}' cannot be modified")
    return name


@routes.add("GET", "/access/roles/{roleid}")
def _role(call: Call) -> object:
    name = call.text("roleid")
    if name not in call.rights.roles():
        raise internal(f"role '{name}' does not exist")
    return dict.fromkeys(sorted(call.rights.roles()[name]), 1)


@routes.add("PUT", "/access/roles/{roleid}", _ROLES,
            {"privs": _PRIVILEGES, "append": Param("boolean", optional=True, requires="privs")})  # fmt: skip
def _update_role(call: Call) -> object:
    privileges = _chosen(call)
    with call.node.access.change() as config:
        name = _own_role(call, config)
        config.roles[name] = (config.roles[name] | privileges) if call.flag("append") else privileges
    return None


@routes.add("DELETE", "/access/roles/{roleid}", _ROLES)
def _delete_role(call: Call) -> object:
    with call.node.access.change() as config:
        name = _own_role(call, config)
        del config.roles[name]
        for entries in config.acl.values():
            for roles in entries.values():
                roles.pop(name, None)
    return None


_GROUPS = needs("/access/groups", "Group.Allocate")


@routes.add("GET", "/access/groups")
def _list_groups(call: Call) -> object:
    config = call.node.access.config
    rows = []
    for name, members in sorted(config.groups.items()):
        if call.has("/access/groups", "User.Modify", "Sys.Audit", "Group.Allocate"):
            row: dict[str, object] = {"groupid": name, "users": ",".join(sorted(members))}
            rows.append({**row, "comment": comment} if (comment := config.group_comments.get(name)) else row)
    return rows


@routes.add("POST", "/access/groups", _GROUPS,
            {"groupid": Param(format="pve-groupid"), "comment": Param(optional=True)})  # fmt: skip
def _create_group(call: Call) -> object:
    name = call.text("groupid")
    with call.node.access.change() as config:
        if name in config.groups:
            raise internal(f"create group failed: group '{name}' already exists")
        config.groups[name] = set()
        config.group_comments[name] = call.text("comment")
    return None


@routes.add("DELETE", "/access/groups/{groupid}", _GROUPS)
def _delete_group(call: Call) -> object:
    name = call.text("groupid")
    with call.node.access.change() as config:
        if name not in config.groups:
            raise internal(f"delete group failed: group '{name}' does not exist")
        del config.groups[name]
        config.group_comments.pop(name, None)
        for entries in config.acl.values():
            entries.pop(("group", name), None)
    return None
