"""``user.cfg`` and its secrets: users, groups, roles, pools, access control lists, in Proxmox's file format."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterable, Mapping

AclTarget = tuple[str, str]
"""``("user" | "group" | "token", name)``."""


@dataclasses.dataclass
class Token:
    """An API token of a user; ``privsep`` means that it has only the rights that it was given itself."""

    privsep: bool = True
    expire: int = 0
    comment: str = ""


@dataclasses.dataclass
class User:
    """A user; ``expire`` in seconds since 1970, 0 for never."""

    enable: bool = True
    expire: int = 0
    firstname: str = ""
    lastname: str = ""
    email: str = ""
    comment: str = ""
    keys: str = ""
    tokens: dict[str, Token] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Pool:
    """A pool with its containers and storages."""

    comment: str = ""
    vms: set[int] = dataclasses.field(default_factory=set)
    storages: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class UserConfig:
    """All of ``user.cfg``. ``acl`` is path -> who -> role -> whether it propagates."""

    users: dict[str, User] = dataclasses.field(default_factory=dict)
    groups: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    group_comments: dict[str, str] = dataclasses.field(default_factory=dict)
    roles: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    pools: dict[str, Pool] = dataclasses.field(default_factory=dict)
    acl: dict[str, dict[AclTarget, dict[str, bool]]] = dataclasses.field(default_factory=dict)

    def pool_of(self, vmid: int) -> str | None:
        """The pool that a container is in."""
        return next((name for name, pool in self.pools.items() if vmid in pool.vms), None)


def _target(text: str) -> AclTarget:
    if text.startswith("@"):
        return ("group", text[1:])
    return ("token" if "!" in text else "user", text)


def _name(target: AclTarget) -> str:
    return f"@{target[1]}" if target[0] == "group" else target[1]


def _items(text: str) -> list[str]:
    return [item for item in text.split(",") if item]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def parse(text: str) -> UserConfig:
    """Read ``user.cfg``. root@pam is always there."""
    config = UserConfig(users={"root@pam": User()})
    for line in text.split("\n"):
        kind, *raw = line.strip().split(":")
        fields = [urllib.parse.unquote(field) for field in raw] + [""] * 8
        if kind == "user" and fields[0]:
            enable, expire, first, last, email, comment, keys = fields[1:8]
            config.users[fields[0]] = User(enable == "1", _number(expire), first, last, email, comment, keys)
        elif kind == "token" and "!" in fields[0]:
            owner, _, name = fields[0].partition("!")
            if owner in config.users:
                config.users[owner].tokens[name] = Token(fields[2] == "1", _number(fields[1]), fields[3])
        elif kind == "group" and fields[0]:
            config.groups[fields[0]] = set(_items(fields[1]))
            config.group_comments[fields[0]] = fields[2]
        elif kind == "role" and fields[0]:
            config.roles[fields[0]] = frozenset(_items(fields[1]))
        elif kind == "pool" and fields[0]:
            vms = {int(item) for item in _items(fields[2]) if item.isdigit()}
            config.pools[fields[0]] = Pool(fields[1], vms, set(_items(fields[3])))
        elif kind == "acl" and fields[1]:
            entry = config.acl.setdefault(fields[1], {})
            for who in _items(fields[2]):
                for role in _items(fields[3]):
                    entry.setdefault(_target(who), {})[role] = fields[0] == "1"
    return config


def _line(*fields: str | int) -> str:
    return ":".join(urllib.parse.quote(str(field), safe=" !@/,.-_+=();?&#'\"<>*[]{}|^~$") for field in fields) + ":\n"


def render(config: UserConfig) -> str:
    """Write ``user.cfg``."""
    text = ""
    for name, user in sorted(config.users.items()):
        text += _line("user", name, int(user.enable), user.expire, user.firstname, user.lastname, user.email,
                      user.comment, user.keys)  # fmt: skip
        for tokenid, token in sorted(user.tokens.items()):
            text += _line("token", f"{name}!{tokenid}", token.expire, int(token.privsep), token.comment)
    text += "\n"
    for name, members in sorted(config.groups.items()):
        text += _line("group", name, _joined(members), config.group_comments.get(name, ""))
    text += "\n"
    for name, pool in sorted(config.pools.items()):
        vms = ",".join(str(vmid) for vmid in sorted(pool.vms))
        text += _line("pool", name, pool.comment, vms, _joined(pool.storages))
    text += "\n"
    for name, privileges in sorted(config.roles.items()):
        text += _line("role", name, _joined(privileges))
    text += "\n"
    for path, entries in sorted(config.acl.items()):
        for target, roles in sorted(entries.items()):
            for role, propagate in sorted(roles.items()):
                text += _line("acl", int(propagate), path, _name(target), role)
    return text


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def parse_secrets(text: str) -> dict[str, str]:
    """Read ``name:secret`` lines (shadow.cfg; the names have no colon)."""
    pairs = (line.partition(":") for line in text.split("\n") if line)
    return {name: secret.rstrip(":") for name, _, secret in pairs}


def render_secrets(entries: Mapping[str, str]) -> str:
    """Write ``name:secret:`` lines."""
    return "".join(f"{name}:{secret}:\n" for name, secret in sorted(entries.items()))
