"""Where firewall objects live in the API, how they come from there and how they go back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from zentoria_infra.errors import RefusedError
from zentoria_infra.firewall.config import NO_OPTIONS, Alias, Datacenter, Entry, Guest, IpSet, Node, Rule, RuleType
from zentoria_infra.proxmox import records

_TEXT_FIELDS = {
    "action": "action", "comment": "comment", "dest": "dest", "dport": "dport", "icmp_type": "icmp-type",
    "iface": "iface", "log": "log", "macro": "macro", "proto": "proto", "source": "source", "sport": "sport",
    "type": "type",
}  # fmt: skip
"""Field of :class:`Rule` to parameter of the API."""


class DuplicateRuleError(RefusedError):
    """Several rules of one list answer to the same description, so that none can be told from the others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """Whose firewall: made by :func:`guest`, :func:`node`, :func:`group`, or :data:`DATACENTER`.

    Args:
        base: path template of the firewall.
        rules: path template of its list of rules.
        path: values for the names in the templates.
        vmid: the guest's number; 0 for what is not a guest's.
        title: for error texts.
        read_right: what reading asks for.
        write_right: what writing asks for.
    """

    base: str
    rules: str
    path: Mapping[str, object]
    vmid: int
    title: str
    read_right: str
    write_right: str


DATACENTER = Scope(
    base="/cluster/firewall",
    rules="/cluster/firewall/rules",
    path=MappingProxyType({}),
    vmid=0,
    title="the datacenter's firewall",
    read_right="Sys.Audit on /",
    write_right="Sys.Modify on /",
)
"""``/cluster/firewall``. Its rules are those of the hosts."""


def group(name: str) -> Scope:
    """The rules of a security group; its options, aliases and IP sets are the datacenter's."""
    path = MappingProxyType({"group": name})
    title = f"security group {name}"
    return dataclasses.replace(DATACENTER, rules="/cluster/firewall/groups/{group}", path=path, title=title)


def guest(vmid: int, node: str) -> Scope:
    """A container's firewall."""
    base = "/nodes/{node}/lxc/{vmid}/firewall"
    return Scope(
        base=base,
        rules=base + "/rules",
        path=MappingProxyType({"node": node, "vmid": vmid}),
        vmid=vmid,
        title=f"the firewall of container {vmid}",
        read_right=f"VM.Audit on /vms/{vmid} or its pool",
        write_right=f"VM.Config.Network on /vms/{vmid} or its pool",
    )


def node(name: str) -> Scope:
    """A node's firewall: options and rules, nothing else."""
    base = "/nodes/{node}/firewall"
    return Scope(
        base=base,
        rules=base + "/rules",
        path=MappingProxyType({"node": name}),
        vmid=0,
        title=f"the firewall of node {name}",
        read_right=f"Sys.Audit on /nodes/{name}",
        write_right=f"Sys.Modify on /nodes/{name}",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Digests:
    """Proxmox's optimistic locks, one a list; empty where the list was not read.

    Args:
        options: of the options.
        rules: of the list of rules.
        aliases: of the list of aliases; empty also when there are none.
        ipsets: by name, of the members; none for an empty IP set.
        groups: by name, of the rules; none for an empty group.
    """

    options: str = ""
    rules: str = ""
    aliases: str = ""
    ipsets: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_OPTIONS)
    groups: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_OPTIONS)


@dataclasses.dataclass(frozen=True, slots=True)
class ObservedDatacenter:
    """``/cluster/firewall`` as read."""

    datacenter: Datacenter
    digests: Digests


@dataclasses.dataclass(frozen=True, slots=True)
class ObservedNode:
    """``/nodes/{node}/firewall`` as read."""

    node: Node
    digests: Digests


@dataclasses.dataclass(frozen=True, slots=True)
class ObservedGuest:
    """A container's firewall as read."""

    guest: Guest
    digests: Digests


@dataclasses.dataclass(frozen=True, slots=True)
class RuleList:
    """A list of rules, position 0 first, and its digest (empty for an empty list)."""

    rules: tuple[Rule, ...]
    digest: str


def options(raw: Mapping[str, Any]) -> tuple[Mapping[str, str], str]:
    """Options as text, and their digest."""
    values = {key: value for key, value in raw.items() if key != "digest"}
    return records.texts(values), records.text(raw.get("digest"))


def rule(raw: Mapping[str, Any]) -> Rule:
    """A rule of a list. One without ``enable`` is disabled, as for Proxmox."""
    fields = {name: records.text(raw.get(key)).strip() for name, key in _TEXT_FIELDS.items() if name != "type"}
    kind = cast(RuleType, records.text(raw.get("type")).strip().lower())
    return Rule(type=kind, enable=records.integer(raw.get("enable")) > 0, **fields)


def rules(raw: Iterable[Mapping[str, Any]]) -> RuleList:
    """A list of rules, by position."""
    lines = sorted(raw, key=lambda line: records.integer(line.get("pos")))
    return RuleList(tuple(rule(line) for line in lines), digest(lines))


def alias(raw: Mapping[str, Any]) -> Alias:
    """An alias."""
    return Alias(records.text(raw["name"]), plain(records.text(raw["cidr"])), _comment(raw))


def entries(raw: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """The members of an IP set, in the order of the answer."""
    return tuple(
        Entry(plain(records.text(line["cidr"])), records.truth(line.get("nomatch", 0)), _comment(line)) for line in raw
    )


def ipset(name: str, raw: Iterable[Mapping[str, Any]], comment: str = "") -> IpSet:
    """An IP set from its list of members."""
    return IpSet(name, entries(raw), comment)


def digest(lines: Iterable[Mapping[str, Any]]) -> str:
    """The digest that Proxmox repeats in every line of a list; empty for an empty list."""
    return next((records.text(line["digest"]) for line in lines if line.get("digest")), "")


def plain(cidr: str) -> str:
    """An address without the prefix of a single one, as Proxmox keeps members of IP sets."""
    return cidr.strip().removesuffix("/32") if ":" not in cidr else cidr.strip().removesuffix("/128")


def rule_params(wanted: Rule) -> dict[str, str | int]:
    """The parameters that make a rule. ``enable`` is always among them: without, Proxmox makes it disabled."""
    fields = {key: str(getattr(wanted, name)) for name, key in _TEXT_FIELDS.items()}
    return {**{key: value for key, value in fields.items() if value}, "enable": int(wanted.enable)}


def rule_changes(old: Rule, new: Rule) -> dict[str, str | int]:
    """The parameters that make one rule of another, with ``delete`` for what goes; empty when they are alike."""
    before, after = rule_params(old), rule_params(new)
    params = {key: value for key, value in after.items() if before.get(key) != value}
    if gone := [key for key in before if key not in after]:
        params["delete"] = ",".join(gone)
    return params


def same_as(wanted: Rule) -> Callable[[Rule], bool]:
    """Whether a rule is the one meant: the same first word of the comment, and the same type."""
    word = wanted.comment.split()[:1]
    return lambda one: bool(word) and one.comment.split()[:1] == word and one.type == wanted.type


def _comment(raw: Mapping[str, Any]) -> str:
    return records.text(raw.get("comment")).strip()
