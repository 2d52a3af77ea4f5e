"""What calls the endpoints of the firewall: of a container, of the datacenter, of a node, and of security groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from tests.faults.faults_exercisers import Act, Case, Exerciser, Lost
from tests.faults.faults_worlds import NODE, SHARED
from zentoria_infra.firewall.config import Alias, Entry, Rule
from zentoria_infra.proxmox.firewall import records as fw

ScopeOf = Callable[[Case], fw.Scope]
GUEST = fw.guest(SHARED, NODE)


def url(scope: fw.Scope, template: str) -> str:
    return template.format_map(scope.path)


def rule(case: Case) -> Rule:
    return Rule("in", "ACCEPT", proto="tcp", dport="80", comment=f"zt/{case.number} first")


def changed(case: Case) -> Rule:
    return dataclasses.replace(rule(case), dport="443")


def mine(case: Case) -> Callable[[Rule], bool]:
    return fw.same_as(rule(case))


class Rules:
    """Operations on a list of rules, in which every case has its own."""

    def __init__(self, scope: ScopeOf) -> None:
        self._scope = scope

    def lines(self, case: Case) -> list[dict[str, str]]:
        scope = self._scope(case)
        return list(case.world.root("GET", url(scope, scope.rules)))

    def found(self, case: Case) -> list[dict[str, str]]:
        return [one for one in self.lines(case) if one.get("comment", "").startswith(f"zt/{case.number} ")]

    def put(self, case: Case, one: Rule) -> None:
        scope = self._scope(case)
        case.world.root("POST", url(scope, scope.rules), **fw.rule_params(one))

    def empty(self, case: Case) -> None:
        scope = self._scope(case)
        for _ in self.lines(case):
            case.world.root("DELETE", url(scope, scope.rules) + "/0")

    def prepared(self, case: Case) -> None:
        self.empty(case)
        self.put(case, rule(case))

    def two(self, case: Case) -> None:
        self.empty(case)
        self.put(case, Rule("in", "DROP", comment="zt/other"))
        self.put(case, rule(case))

    def insert(self, case: Case) -> None:
        case.client.write_firewall.rules.insert(self._scope(case), rule(case))

    def insert_again(self, case: Case) -> None:
        if not any(mine(case)(one) for one in case.client.firewall.rules(self._scope(case)).rules):
            self.insert(case)

    def update(self, case: Case) -> None:
        case.client.write_firewall.rules.update(self._scope(case), mine(case), changed(case))

    def move(self, case: Case) -> None:
        case.client.write_firewall.rules.move(self._scope(case), mine(case))

    def delete(self, case: Case) -> None:
        case.client.write_firewall.rules.delete(self._scope(case), mine(case))

    def is_there(self, case: Case) -> None:
        (one,) = self.found(case)
        assert (one["dport"], int(one["enable"])) == ("80", 1)

    def is_changed(self, case: Case) -> None:
        (one,) = self.found(case)
        assert one["dport"] == "443"

    def is_last(self, case: Case) -> None:
        assert [one["comment"].split()[0] for one in self.lines(case)] == ["zt/other", f"zt/{case.number}"]

    def is_gone(self, case: Case) -> None:
        assert self.found(case) == []

    def exercisers(self, template: str) -> Iterator[Exerciser]:
        one, each = template, template + "/{pos}"
        there, gone = self.is_there, self.is_gone
        yield Exerciser("POST", one, self.insert, self.empty, self.insert_again, there, lost=Lost.FOUND)
        yield Exerciser("PUT", each, self.update, self.prepared, check=self.is_changed, lost=Lost.FOUND)
        yield Exerciser("PUT", each, self.move, self.two, check=self.is_last, lost=Lost.FOUND, variant="move")
        yield Exerciser("DELETE", each, self.delete, self.prepared, check=gone, lost=Lost.FOUND)
        yield Exerciser("GET", one, lambda case: case.client.firewall.rules(self._scope(case)), self.prepared)


class Options:
    """Operations on options: one that every case sets and the next removes."""

    def __init__(self, scope: fw.Scope, key: str, value: str) -> None:
        self._scope = scope
        self._key = key
        self._value = value
        self._path = url(scope, scope.base + "/options")

    def absent(self, case: Case) -> None:
        case.world.root("PUT", self._path, delete=self._key)

    def read(self, case: Case) -> object:
        return case.client.firewall.options(self._scope)

    def plain(self, case: Case) -> None:
        case.client.write_firewall.set_options(self._scope, {self._key: self._value})

    def digest(self, case: Case) -> None:
        _, digest = case.client.firewall.options(self._scope)
        case.client.write_firewall.set_options(self._scope, {self._key: self._value}, digest=digest)

    def is_set(self, case: Case) -> None:
        assert str(case.world.root("GET", self._path)[self._key]) == self._value

    def exercisers(self) -> Iterator[Exerciser]:
        path = self._scope.base + "/options"
        yield Exerciser("GET", path, self.read)
        yield Exerciser("PUT", path, self.plain, self.absent, check=self.is_set)
        yield Exerciser(
            "PUT", path, self.digest, self.absent, check=self.is_set, lost=Lost.CHECKED, variant="digest"
        )  # fmt: skip


class Objects:
    """Operations on aliases and IP sets, in which every case has its own."""

    def __init__(self, scope: fw.Scope) -> None:
        self._scope = scope

    def _url(self, rest: str) -> str:
        return url(self._scope, self._scope.base) + rest

    def alias(self, case: Case, cidr: str = "10.1.0.1") -> Alias:
        return Alias(f"a{case.number}", cidr, "ours")

    def aliases(self, case: Case) -> list[str]:
        lines = case.world.root("GET", self._url("/aliases"))
        return [one["cidr"] for one in lines if one["name"] == f"a{case.number}"]

    def has_alias(self, case: Case) -> None:
        case.world.root("POST", self._url("/aliases"), name=f"a{case.number}", cidr="10.1.0.1")

    def alias_digest(self, case: Case) -> str:
        lines = case.client.read(self._scope.base + "/aliases", None, **self._scope.path)
        return str(next((one["digest"] for one in lines if one.get("digest")), ""))

    def alias_exercisers(self) -> Iterator[Exerciser]:
        scope, base = self._scope, self._scope.base

        def there(case: Case) -> None:
            assert self.aliases(case) == ["10.1.0.1"]

        def changed(case: Case) -> None:
            assert self.aliases(case) == ["10.1.0.2"]

        def gone(case: Case) -> None:
            assert self.aliases(case) == []

        def make(case: Case) -> None:
            case.client.write_firewall.create_alias(scope, self.alias(case))

        def update(case: Case) -> None:
            case.client.write_firewall.update_alias(scope, self.alias(case, "10.1.0.2"))

        def update_digest(case: Case) -> None:
            digest = self.alias_digest(case)
            case.client.write_firewall.update_alias(scope, self.alias(case, "10.1.0.2"), digest=digest)

        def drop(case: Case) -> None:
            case.client.write_firewall.delete_alias(scope, f"a{case.number}")

        def drop_digest(case: Case) -> None:
            case.client.write_firewall.delete_alias(scope, f"a{case.number}", digest=self.alias_digest(case))

        has = self.has_alias
        each = base + "/aliases/{alias}"
        yield Exerciser("GET", base + "/aliases", lambda case: case.client.firewall.aliases(scope))
        yield Exerciser("POST", base + "/aliases", make, check=there, names=self._alias_name)
        yield Exerciser("PUT", each, update, has, check=changed, names=self._alias_name)
        yield Exerciser(
            "PUT", each, update_digest, has, check=changed, lost=Lost.CHECKED, variant="digest", names=self._alias_name
        )
        yield Exerciser("DELETE", each, drop, has, check=gone, names=self._alias_name)
        yield Exerciser(
            "DELETE", each, drop_digest, has, check=gone, lost=Lost.CHECKED, variant="digest", names=self._alias_name
        )

    @staticmethod
    def _alias_name(case: Case) -> str:
        return f"a{case.number}"

    @staticmethod
    def _set_name(case: Case) -> str:
        return f"s{case.number}"

    def has_set(self, case: Case) -> None:
        case.world.root("POST", self._url("/ipset"), name=f"s{case.number}")

    def has_entry(self, case: Case) -> None:
        self.has_set(case)
        case.world.root("POST", self._url(f"/ipset/s{case.number}"), cidr="10.2.0.0/24")

    def members(self, case: Case) -> list[dict[str, str]]:
        return list(case.world.root("GET", self._url(f"/ipset/s{case.number}")))

    def ipset_exercisers(self) -> Iterator[Exerciser]:
        scope, base = self._scope, self._scope.base + "/ipset"
        entry = Entry("10.2.0.0/24", comment="ours")

        def sets(case: Case) -> int:
            lines = case.world.root("GET", self._url("/ipset"))
            return sum(one["name"] == f"s{case.number}" for one in lines)

        def is_made(case: Case) -> None:
            assert sets(case) == 1

        def is_gone(case: Case) -> None:
            assert sets(case) == 0

        def is_member(case: Case) -> None:
            assert [one["cidr"] for one in self.members(case)] == ["10.2.0.0/24"]

        def is_commented(case: Case) -> None:
            assert [one["comment"].strip() for one in self.members(case)] == ["ours"]

        def is_empty(case: Case) -> None:
            assert self.members(case) == []

        def write(name: str, *arguments: object) -> Act:
            return lambda case: getattr(case.client.write_firewall, name)(scope, f"s{case.number}", *arguments)

        def members_digest(case: Case) -> str:
            lines = case.client.read(base + "/{ipset}", None, ipset=f"s{case.number}", **scope.path)
            return str(lines[0]["digest"])

        def update_digest(case: Case) -> None:
            case.client.write_firewall.update_entry(scope, f"s{case.number}", entry, digest=members_digest(case))

        one, each, name = base + "/{ipset}", base + "/{ipset}/{cidr}", self._set_name
        yield Exerciser("GET", base, lambda case: case.client.firewall.ipset_comments(scope))
        yield Exerciser("GET", one, lambda case: case.client.firewall.ipset(scope, f"s{case.number}"), self.has_entry)
        yield Exerciser("POST", base, write("create_ipset"), check=is_made, names=name)
        yield Exerciser("DELETE", one, write("delete_ipset"), self.has_set, check=is_gone, names=name)
        yield Exerciser("POST", one, write("add_entry", entry), self.has_set, check=is_member, names=name)
        yield Exerciser("PUT", each, write("update_entry", entry), self.has_entry, check=is_commented, names=name)
        yield Exerciser(
            "PUT", each, update_digest, self.has_entry, check=is_commented, lost=Lost.CHECKED, variant="digest",
            names=name,
        )  # fmt: skip
        drop = write("delete_entry", "10.2.0.0/24")
        yield Exerciser("DELETE", each, drop, self.has_entry, check=is_empty, names=name)


def groups() -> Iterator[Exerciser]:
    """Security groups."""
    base = fw.DATACENTER.base + "/groups"

    def count(case: Case) -> int:
        return sum(one["group"] == f"g{case.number}" for one in case.world.root("GET", base))

    def has_group(case: Case) -> None:
        case.world.root("POST", base, group=f"g{case.number}")

    def is_made(case: Case) -> None:
        assert count(case) == 1

    def is_gone(case: Case) -> None:
        assert count(case) == 0

    def make(case: Case) -> None:
        case.client.write_firewall.create_group(f"g{case.number}")

    def drop(case: Case) -> None:
        case.client.write_firewall.delete_group(f"g{case.number}")

    def name(case: Case) -> str:
        return f"g{case.number}"

    yield Exerciser("GET", base, lambda case: case.client.firewall.datacenter(groups=["g"]))
    yield Exerciser("POST", base, make, check=is_made, names=name)
    yield Exerciser("DELETE", base + "/{group}", drop, has_group, check=is_gone, names=name)
    ruled = Rules(lambda case: fw.group(f"g{case.number}"))
    for one in ruled.exercisers(base + "/{group}"):

        def prepare(case: Case, before: Act = one.prepare) -> None:
            has_group(case)
            before(case)

        yield dataclasses.replace(one, prepare=prepare, names=name)


def firewall() -> Iterator[Exerciser]:
    """All of them."""
    for scope, key in ((GUEST, "dhcp"), (fw.DATACENTER, "ebtables")):
        objects = Objects(scope)
        yield from Options(scope, key, "1").exercisers()
        yield from Rules(lambda case, scope=scope: scope).exercisers(scope.rules)  # type: ignore[misc]
        yield from objects.alias_exercisers()
        yield from objects.ipset_exercisers()
    node = fw.node(NODE)
    yield from Options(node, "tcpflags", "1").exercisers()
    yield from Rules(lambda case: node).exercisers(node.rules)
    yield from groups()
