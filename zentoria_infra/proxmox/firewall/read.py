"""Reading the firewall. This type holds a function that can only GET: it has no way to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from zentoria_infra.errors import ApiError, PermissionDeniedError
from zentoria_infra.firewall.config import Alias, Datacenter, Group, Guest, IpSet, Nic, Node, Rule
from zentoria_infra.proxmox import records
from zentoria_infra.proxmox.connection import Reader
from zentoria_infra.proxmox.firewall import records as fw

_NO_IPSET = re.compile(r"no such IPSet", re.IGNORECASE)
_NO_GROUP = re.compile(r"no such security group", re.IGNORECASE)


class FirewallObserver:
    """Read-only view of the firewall's objects. The number of calls is said at each method.

    Errors: those of :class:`~zentoria_infra.proxmox.connection.Connection`; a PermissionDeniedError names the right
    that is needed and on what.

    Args:
        read: GET, from :meth:`~zentoria_infra.proxmox.connection.Connection.reader`.
        node: the node meant when a method is not told another.
    """

    def __init__(self, read: Reader, node: str) -> None:
        self._read = read
        self.node_name = node

    def datacenter(
        self,
        *,
        ipsets: Collection[str] = (),
        groups: Collection[str] = (),
        is_ours: Callable[[str], bool] | None = None,
        aliases: bool = True,
        rules: bool = False,
    ) -> fw.ObservedDatacenter:
        """Options, aliases, and of IP sets and groups those that are named. Needs Sys.Audit on /.

        One call for the options, one for the aliases, one an IP set; one for the list of groups and one a group
        that is there.

        Args:
            ipsets: names; those that do not exist are not in the answer.
            groups: names, likewise.
            is_ours: by its comment, a group to be read although nobody has named it.
            aliases: whether to read the aliases.
            rules: whether to read the rules of the hosts.
        """
        scope = fw.DATACENTER
        options, options_digest = fw.options(self._get(scope, scope.base + "/options"))
        alias_lines = self._get(scope, scope.base + "/aliases") if aliases else []
        sets, set_digests = self._ipsets(scope, ipsets)
        found, group_digests = self._groups(groups, is_ours) if groups or is_ours else ((), {})
        own = self.rules(scope) if rules else fw.RuleList((), "")
        return fw.ObservedDatacenter(
            Datacenter(options, tuple(fw.alias(line) for line in alias_lines), sets, found, own.rules),
            fw.Digests(
                options_digest, own.digest, fw.digest(alias_lines), set_digests, MappingProxyType(dict(group_digests))
            ),
        )

    def node(self, name: str | None = None, *, rules: bool = False) -> fw.ObservedNode:
        """Options of a node, and with ``rules`` its own rules: one call each. Needs Sys.Audit on the node."""
        scope = fw.node(name or self.node_name)
        options, digest = fw.options(self._get(scope, scope.base + "/options"))
        own = self.rules(scope) if rules else fw.RuleList((), "")
        return fw.ObservedNode(
            Node(name or self.node_name, options, own.rules), fw.Digests(options=digest, rules=own.digest)
        )

    def addresses(self, name: str | None = None) -> frozenset[str]:
        """The IPv4 addresses of a node's interfaces, of those that we may see: one call."""
        lines = self._read("/nodes/{node}/network", node=name or self.node_name)
        texts = (records.text(line.get("cidr") or line.get("address")) for line in lines)
        return frozenset(text.partition("/")[0] for text in texts if text)

    def guest(
        self,
        vmid: int,
        name: str,
        nics: Iterable[Nic],
        *,
        node: str | None = None,
        ipsets: Collection[str] | None = None,
        aliases: bool = False,
        all_ipsets: bool = False,
    ) -> fw.ObservedGuest:
        """A container's firewall: one call for options, one for rules, one an IP set. Needs VM.Audit.

        Proxmox answers for containers that do not exist as well: with an empty firewall.

        Args:
            vmid: the container.
            name: its name in the inventory.
            nics: from its configuration.
            node: where it is.
            ipsets: names; default: ``ipfilter-netN`` of each NIC.
            aliases: whether to read its aliases, a call more.
            all_ipsets: whether to read all of its IP sets: a call more for the list of them.
        """
        where = node or self.node_name
        scope = fw.guest(vmid, where)
        nics = tuple(nics)
        options, options_digest = fw.options(self._get(scope, scope.base + "/options"))
        own = self.rules(scope)
        comments: Mapping[str, str] = {}
        names = ipsets if ipsets is not None else [f"ipfilter-{nic.key}" for nic in nics]
        if all_ipsets:
            comments = self.ipset_comments(scope)
            names = [*comments, *(one for one in names if one not in comments)]
        sets, set_digests = self._ipsets(scope, names, comments if all_ipsets else None)
        alias_lines = self._get(scope, scope.base + "/aliases") if aliases else []
        return fw.ObservedGuest(
            Guest(vmid, name, where, nics, options, tuple(fw.alias(line) for line in alias_lines), sets, own.rules),
            fw.Digests(options_digest, own.digest, fw.digest(alias_lines), set_digests),
        )

    def rules(self, scope: fw.Scope) -> fw.RuleList:
        """The rules of a guest, a node, a group or the datacenter: one call.

        Raises:
            ApiError: there is no such group.
        """
        return fw.rules(self._get(scope, scope.rules))

    def options(self, scope: fw.Scope) -> tuple[Mapping[str, str], str]:
        """Options and their digest: one call."""
        return fw.options(self._get(scope, scope.base + "/options"))

    def ipset(self, scope: fw.Scope, name: str) -> IpSet | None:
        """One IP set, without its own comment; None when there is none. One call."""
        lines = self._members(scope, name)
        return None if lines is None else fw.ipset(name, lines)

    def ipset_comments(self, scope: fw.Scope) -> Mapping[str, str]:
        """Names of the IP sets, with their comments: one call."""
        lines = self._get(scope, scope.base + "/ipset")
        return {records.text(line["name"]): records.text(line.get("comment")).strip() for line in lines}

    def group_comments(self) -> Mapping[str, str]:
        """Names of the security groups, with their comments: one call."""
        lines = self._get(fw.DATACENTER, fw.DATACENTER.base + "/groups")
        return {records.text(line["group"]): records.text(line.get("comment")).strip() for line in lines}

    def aliases(self, scope: fw.Scope) -> tuple[Alias, ...]:
        """All aliases: one call."""
        return tuple(fw.alias(line) for line in self._get(scope, scope.base + "/aliases"))

    def group_rules(self, name: str) -> tuple[Rule, ...] | None:
        """The rules of a security group; None when there is none. One call."""
        found = self._group(name)
        return None if found is None else found.rules

    def _groups(
        self, names: Collection[str], is_ours: Callable[[str], bool] | None
    ) -> tuple[tuple[Group, ...], Mapping[str, str]]:
        scope = fw.DATACENTER
        groups: list[Group] = []
        digests: dict[str, str] = {}
        for line in self._get(scope, scope.base + "/groups"):
            name, comment = records.text(line["group"]), records.text(line.get("comment")).strip()
            if name not in names and not (is_ours and is_ours(comment)):
                continue
            found = self._group(name)
            if found is None:
                continue  # it went away after the list was made
            groups.append(Group(name, found.rules, comment))
            if found.digest:
                digests[name] = found.digest
        return tuple(sorted(groups, key=lambda one: one.name)), digests

    def _group(self, name: str) -> fw.RuleList | None:
        try:
            return self.rules(fw.group(name))
        except ApiError as error:
            if _NO_GROUP.search(error.got):
                return None
            raise

    def _ipsets(
        self, scope: fw.Scope, names: Iterable[str], comments: Mapping[str, str] | None = None
    ) -> tuple[tuple[IpSet, ...], Mapping[str, str]]:
        sets: list[IpSet] = []
        digests: dict[str, str] = {}
        for name in dict.fromkeys(names):
            lines = self._members(scope, name) if comments is None or name in comments else None
            if lines is None:
                continue
            sets.append(fw.ipset(name, lines, (comments or {}).get(name, "")))
            if found := fw.digest(lines):
                digests[name] = found
        return tuple(sets), MappingProxyType(digests)

    def _members(self, scope: fw.Scope, name: str) -> list[Mapping[str, Any]] | None:
        try:
            return list(self._get(scope, scope.base + "/ipset/{ipset}", ipset=name))
        except ApiError as error:
            if _NO_IPSET.search(error.got):
                return None
            raise

    def _get(self, scope: fw.Scope, template: str, **path: object) -> Any:
        try:
            return self._read(template, **scope.path, **path)
        except PermissionDeniedError as error:
            raise denied(error, f"read {scope.title} ({error.tried})", scope.read_right) from None


def denied(error: PermissionDeniedError, tried: str, right: str) -> PermissionDeniedError:
    """The same refusal, with what was tried and the right that is lacking."""
    return PermissionDeniedError(
        tried,
        on=error.on,
        got=error.got,
        status=error.status,
        errors=error.errors,
        todo=f"give the token {right} (Datacenter > Permissions); with privilege separation user and token both "
        "need it. Proxmox says the same of an object that does not exist",
    )
