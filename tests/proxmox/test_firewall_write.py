"""Options, aliases, IP sets and groups: against the lab's API with faults, and against fakepve."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.proxmox.proxmox_faulty_lab import FaultyLab
from tests.proxmox.proxmox_scripted_server import Reply, Seen, failure
from zentoria_infra.errors import ApiError, PermissionDeniedError, UnreachableError, ZentoriaError
from zentoria_infra.firewall.config import Alias, Entry, Nic, Rule
from zentoria_infra.proxmox import errors
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.firewall.read import FirewallObserver
from zentoria_infra.proxmox.firewall.write import FirewallWriter
from zentoria_infra.proxmox.gates import Gates

DC = fw.DATACENTER
DB = fw.guest(404, "pve1")
ALIAS = Alias("zt-db", "10.10.40.4", "zt/alias/db")
NET = Entry("10.0.9.0/28", comment="zt/management")
OUT = Entry("10.0.9.7", nomatch=True)

BOTH = pytest.mark.parametrize("scope", [DC, DB], ids=["datacenter", "guest"])


@dataclasses.dataclass(frozen=True)
class Verb:
    """One method of the writer, what must be there before, and what is there after."""

    name: str
    method: str
    call: Callable[[FirewallWriter, fw.Scope, str | None], None]
    seen: Callable[[FirewallObserver, fw.Scope], object]
    before: object
    after: object

    def __str__(self) -> str:
        return self.name


def _entries(read: FirewallObserver, scope: fw.Scope) -> object:
    found = read.ipset(scope, "zt-set")
    return found and set(found.entries)


VERBS = [
    Verb("set option", "PUT", lambda write, scope, digest: write.set_options(scope, {"policy_in": "DROP"},
         delete=["enable"], digest=digest), lambda read, scope: dict(read.options(scope)[0]),
         {"enable": "1"}, {"policy_in": "DROP"}),
    Verb("make alias", "POST", lambda write, scope, _: write.create_alias(scope, ALIAS),
         lambda read, scope: {one.name: one for one in read.aliases(scope)}.get("zt-db"), None, ALIAS),
    Verb("change alias", "PUT", lambda write, scope, digest:
         write.update_alias(scope, Alias("ZT-OLD", "10.9.9.9", "zt/new"), digest=digest),
         lambda read, scope: {one.name: one for one in read.aliases(scope)}["zt-old"],
         Alias("zt-old", "10.9.0.0/16", "zt/old"), Alias("zt-old", "10.9.9.9", "zt/new")),
    Verb("remove alias", "DELETE", lambda write, scope, digest: write.delete_alias(scope, "zt-OLD", digest=digest),
         lambda read, scope: [one.name for one in read.aliases(scope)], ["zt-old"], []),
    Verb("make set", "POST", lambda write, scope, _: write.create_ipset(scope, "zt-new", "zt/new"),
         lambda read, scope: read.ipset_comments(scope).get("zt-new"), None, "zt/new"),
    Verb("remove set", "DELETE", lambda write, scope, _: write.delete_ipset(scope, "zt-set", force=True),
         lambda read, scope: list(read.ipset_comments(scope)), ["zt-set"], []),
    Verb("add entry", "POST", lambda write, scope, _: write.add_entry(scope, "zt-set", OUT), _entries,
         {NET}, {NET, OUT}),
    Verb("change entry", "PUT", lambda write, scope, digest:
         write.update_entry(scope, "zt-set", Entry(NET.cidr, True, "zt/other"), digest=digest), _entries,
         {NET}, {Entry(NET.cidr, True, "zt/other")}),
    Verb("remove entry", "DELETE", lambda write, scope, digest:
         write.delete_entry(scope, "zt-set", NET.cidr, digest=digest), _entries, {NET}, set()),
]  # fmt: skip
WITH_DIGEST = [verb for verb in VERBS if verb.method != "POST" and verb.name != "remove set"]


def _digest(faulty: FaultyLab, verb: Verb, scope: fw.Scope) -> str:
    """The digest of the list that the verb changes."""
    kind = "options" if "option" in verb.name else "aliases" if "alias" in verb.name else "ipset/zt-set"
    data = faulty.other.get(f"{scope.base.format_map(scope.path)}/{kind}").data
    return str(data["digest"] if isinstance(data, dict) else data[0]["digest"])


def _prepare(faulty: FaultyLab, scope: fw.Scope) -> None:
    base = scope.base.format_map(scope.path)
    assert faulty.other.put(f"{base}/options", enable=1).status == 200
    assert faulty.other.post(f"{base}/aliases", name="zt-old", cidr="10.9.0.0/16", comment="zt/old").status == 200
    assert faulty.other.post(f"{base}/ipset", name="zt-set", comment="zt/set").status == 200
    assert faulty.other.post(f"{base}/ipset/zt-set", cidr=NET.cidr, comment=NET.comment).status == 200
    faulty.calls()


@BOTH
@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_one_call_a_change(faulty: FaultyLab, verb: Verb, scope: fw.Scope) -> None:
    _prepare(faulty, scope)
    assert verb.seen(faulty.proxmox.firewall, scope) == verb.before
    faulty.calls()
    verb.call(faulty.proxmox.write_firewall, scope, None)
    assert [method for method, _ in faulty.calls()] == [verb.method]
    assert verb.seen(faulty.proxmox.firewall, scope) == verb.after


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_lost_answer(faulty: FaultyLab, verb: Verb, carried_out: bool) -> None:
    """It is sent again; what the first call has done is no error."""
    _prepare(faulty, DB)
    faulty.lose(verb.method, carried_out=carried_out)
    verb.call(faulty.proxmox.write_firewall, DB, None)
    assert verb.seen(faulty.proxmox.firewall, DB) == verb.after


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_it_may_be_done_again(faulty: FaultyLab, verb: Verb) -> None:
    """As after a crash. Making what is there, and removing what is gone, changes nothing."""
    _prepare(faulty, DB)
    for _ in range(2):
        verb.call(faulty.proxmox.write_firewall, DB, None)
    assert verb.seen(faulty.proxmox.firewall, DB) == verb.after


@BOTH
@pytest.mark.parametrize("verb", WITH_DIGEST, ids=str)
def test_a_digest(faulty: FaultyLab, verb: Verb, scope: fw.Scope) -> None:
    """One that is old is refused, and nothing changes; one that is right is not."""
    _prepare(faulty, scope)
    digest = _digest(faulty, verb, scope)
    with pytest.raises(errors.ModifiedError) as caught:
        verb.call(faulty.proxmox.write_firewall, scope, "0" * 40)
    assert "run again" in caught.value.todo
    assert verb.seen(faulty.proxmox.firewall, scope) == verb.before
    verb.call(faulty.proxmox.write_firewall, scope, digest)
    assert verb.seen(faulty.proxmox.firewall, scope) == verb.after


@pytest.mark.parametrize("verb", WITH_DIGEST, ids=str)
def test_a_lost_answer_with_a_digest(faulty: FaultyLab, verb: Verb) -> None:
    """Sent again, it would be refused for what it has done itself: what is there tells whether it was done."""
    _prepare(faulty, DB)
    digest = _digest(faulty, verb, DB)
    faulty.lose(verb.method, carried_out=True)
    verb.call(faulty.proxmox.write_firewall, DB, digest)
    assert verb.seen(faulty.proxmox.firewall, DB) == verb.after
    assert len([1 for method, _ in faulty.calls() if method == verb.method]) == 1


@pytest.mark.parametrize("verb", WITH_DIGEST, ids=str)
def test_a_call_with_a_digest_that_got_lost(faulty: FaultyLab, verb: Verb) -> None:
    _prepare(faulty, DB)
    digest = _digest(faulty, verb, DB)
    faulty.lose(verb.method, carried_out=False)
    with pytest.raises(errors.LostAnswerError):
        verb.call(faulty.proxmox.write_firewall, DB, digest)
    assert verb.seen(faulty.proxmox.firewall, DB) == verb.before
    verb.call(faulty.proxmox.write_firewall, DB, digest)
    assert verb.seen(faulty.proxmox.firewall, DB) == verb.after


def test_neither_answer_nor_a_look_afterwards(faulty: FaultyLab) -> None:
    """What could not be found out is not known: the error is that of the change, not that of the look."""
    _prepare(faulty, DC)
    faulty.lose("PUT", carried_out=True)
    faulty.before.append(lambda seen: failure(500, "internal error") if seen.method == "GET" else None)
    with pytest.raises(errors.LostAnswerError):
        faulty.proxmox.write_firewall.set_options(DC, {"enable": "0"}, digest=_digest(faulty, VERBS[0], DC))


@pytest.mark.parametrize("verb", VERBS, ids=str)
@pytest.mark.parametrize(
    ("scope", "grant", "right"),
    [
        (DC, ("/", "Sys.Audit"), "Sys.Modify on /"),
        (DB, ("/vms/404", "VM.Audit"), "VM.Config.Network on /vms/404"),
    ],
    ids=["datacenter", "guest"],
)
def test_a_right_that_is_lacking_is_named(
    faulty: FaultyLab, verb: Verb, scope: fw.Scope, grant: tuple[str, str], right: str
) -> None:
    _prepare(faulty, scope)
    ours = faulty.user(grant)
    with pytest.raises(PermissionDeniedError) as caught:
        verb.call(ours.write_firewall, scope, None)
    assert right in caught.value.todo
    assert scope.title in caught.value.tried
    assert verb.seen(ours.firewall, scope) == verb.before, "what it may read it can read"


def test_groups(faulty: FaultyLab) -> None:
    write, read = faulty.proxmox.write_firewall, faulty.proxmox.firewall
    for _ in range(2):
        write.create_group("zt-all", "zt/group")
    assert read.group_rules("zt-all") == ()
    rule = Rule("in", "ACCEPT", proto="tcp", dport="9100", comment="zt/row-34")
    write.rules.insert(fw.group("zt-all"), rule)
    with pytest.raises(ApiError, match="is not empty"):
        write.delete_group("zt-all")
    write.rules.delete(fw.group("zt-all"), fw.same_as(rule))
    for _ in range(2):
        write.delete_group("zt-all")
    assert read.group_rules("zt-all") is None
    with pytest.raises(ApiError, match="18 characters"):
        write.create_group("a" * 19)


@pytest.mark.parametrize("carried_out", [True, False])
def test_groups_after_a_lost_answer(faulty: FaultyLab, carried_out: bool) -> None:
    write, read = faulty.proxmox.write_firewall, faulty.proxmox.firewall
    faulty.lose("POST", carried_out=carried_out)
    write.create_group("zt-all", "zt/site:home/group/all")
    assert read.group_rules("zt-all") == ()
    faulty.lose("DELETE", carried_out=carried_out)
    write.delete_group("zt-all")
    assert read.group_rules("zt-all") is None


def test_what_is_there_and_not_the_same_is_not_taken(faulty: FaultyLab) -> None:
    write = faulty.proxmox.write_firewall
    write.create_alias(DC, ALIAS)
    with pytest.raises(errors.AlreadyExistsError) as caught:
        write.create_alias(DC, dataclasses.replace(ALIAS, name="ZT-DB", cidr="10.10.40.5"))
    assert "make alias ZT-DB" in caught.value.tried
    assert caught.value.todo
    write.create_ipset(DC, "zt-set")
    write.add_entry(DC, "zt-set", OUT)
    with pytest.raises(errors.AlreadyExistsError):
        write.add_entry(DC, "zt-set", dataclasses.replace(OUT, nomatch=False))
    assert faulty.proxmox.firewall.aliases(DC) == (ALIAS,)
    assert faulty.proxmox.firewall.ipset(DC, "zt-set") is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda write: write.create_alias(DC, Alias("x", "10.0.0.1")), "regex pattern"),
        (lambda write: write.create_alias(DC, Alias("zt-x", "10.0.4.300")), "valid IP address"),
        (lambda write: write.update_alias(DC, Alias("zt-x", "10.0.0.1")), "no such alias"),
        (lambda write: write.add_entry(DC, "zt-gone", NET), "no such IPSet"),
        (lambda write: write.update_entry(DC, "zt-set", Entry("10.8.0.1")), "no such IP/Network"),
        (lambda write: write.add_entry(DC, "zt-set", Entry("zt-gone")), "no such alias"),
        (lambda write: write.add_entry(DC, "zt-set", Entry("0.0.0.0/0")), "zero prefix"),
        (lambda write: write.delete_ipset(DC, "zt-set"), "is not empty"),
        (lambda write: write.set_options(DC, {"policy_in": "drop"}), "enumeration"),
        (lambda write: write.set_options(DC, {}, delete=["nosuch"]), "no such option"),
        (lambda write: write.delete_ipset(fw.guest(404, "pve9"), "zt-set"), "hostname lookup"),
    ],
)
def test_refusals_say_why(faulty: FaultyLab, change: Callable[[FirewallWriter], None], says: str) -> None:
    _prepare(faulty, DC)
    with pytest.raises(ApiError) as caught:
        change(faulty.proxmox.write_firewall)
    assert says in caught.value.got
    assert len(faulty.calls()) == 1


def test_single_addresses_have_one_spelling(faulty: FaultyLab) -> None:
    """Proxmox keeps them without /32, and finds them by what it keeps."""
    write, read = faulty.proxmox.write_firewall, faulty.proxmox.firewall
    write.create_ipset(DB, "ipfilter-net0")
    for _ in range(2):
        write.add_entry(DB, "ipfilter-net0", Entry("10.10.40.4/32"))
    assert faulty.other.get("/nodes/pve1/lxc/404/firewall/ipset/ipfilter-net0").data[0]["cidr"] == "10.10.40.4"
    write.update_entry(DB, "ipfilter-net0", Entry("10.10.40.4/32", nomatch=True))
    found = read.ipset(DB, "ipfilter-net0")
    assert found is not None and found.entries == (Entry("10.10.40.4", nomatch=True),)
    write.delete_entry(DB, "ipfilter-net0", "10.10.40.4/32")
    found = read.ipset(DB, "ipfilter-net0")
    assert found is not None and found.entries == ()
    for _ in range(2):
        write.create_alias(DC, Alias("zt-db", "10.10.40.4/32"))
    assert read.aliases(DC) == (Alias("zt-db", "10.10.40.4"),)


@pytest.mark.parametrize("cidr", ["2001:db8::/32", "2001:db8::1", "10.0.0.0/8", "zt-old", "dc/zt-old"])
def test_members_of_every_kind(faulty: FaultyLab, cidr: str) -> None:
    _prepare(faulty, DC)
    write, read = faulty.proxmox.write_firewall, faulty.proxmox.firewall
    write.add_entry(DC, "zt-set", Entry(cidr))
    write.update_entry(DC, "zt-set", Entry(cidr, nomatch=True))
    found = read.ipset(DC, "zt-set")
    assert found is not None and Entry(cidr, nomatch=True) in found.entries
    write.delete_entry(DC, "zt-set", cidr)
    found = read.ipset(DC, "zt-set")
    assert found is not None and found.entries == (NET,)


def test_a_busy_lock_is_waited_for(faulty: FaultyLab) -> None:
    refused = [failure(500, "can't lock file '/run/lock/pve-manager/pve-firewall.lck' - got timeout")] * 2

    def hook(seen: Seen) -> Reply | None:
        return refused.pop() if seen.method == "PUT" and refused else None

    faulty.before.append(hook)
    faulty.proxmox.write_firewall.set_options(DC, {"enable": "1"}, digest="")
    assert len([1 for method, _ in faulty.calls() if method == "PUT"]) == 3


# -- against fakepve -----------------------------------------------------------------------------------------------


@pytest.fixture
def fake(connection: Connection) -> tuple[FirewallObserver, FirewallWriter]:
    observer = FirewallObserver(connection.reader(), "pve1")
    return observer, FirewallWriter(connection, observer, Gates(), sleep=lambda _: None)


def test_fakepve_datacenter(fake: tuple[FirewallObserver, FirewallWriter]) -> None:
    read, write = fake
    write.set_options(DC, {"policy_in": "DROP", "enable": "1"})
    write.set_options(DC, {}, delete=["policy_in"])
    for _ in range(2):
        write.create_alias(DC, ALIAS)
        write.create_ipset(DC, "zt-internet", "zt/internet")
        write.add_entry(DC, "zt-internet", Entry("128.0.0.0/1"))
        write.add_entry(DC, "zt-internet", Entry("10.0.0.0/8", nomatch=True, comment="zt/internet"))
        write.create_group("zt-deny", "zt/group")
    deny = Rule("in", "DROP", log="info", comment="zt/deny in")
    write.rules.insert(fw.group("zt-deny"), deny)
    found = read.datacenter(ipsets=["zt-internet", "zt-gone"], is_ours=lambda text: text.startswith("zt/"))
    there = found.datacenter
    assert there.options["enable"] == "1" and "policy_in" not in there.options
    assert there.aliases == (ALIAS,)
    assert [(one.name, set(one.entries)) for one in there.ipsets] == [
        ("zt-internet", {Entry("128.0.0.0/1"), Entry("10.0.0.0/8", True, "zt/internet")})
    ]
    assert [(one.name, one.rules) for one in there.groups] == [("zt-deny", (deny,))]
    with pytest.raises(errors.ModifiedError):
        write.set_options(DC, {"enable": "0"}, digest="0" * 40)
    write.rules.delete(fw.group("zt-deny"), fw.same_as(deny))
    for _ in range(2):
        write.delete_group("zt-deny")
        write.delete_ipset(DC, "zt-internet", force=True)
        write.delete_alias(DC, "zt-db")
    there = read.datacenter(ipsets=["zt-internet"], groups=["zt-deny"]).datacenter
    assert (there.aliases, there.ipsets, there.groups) == ((), (), ())


def test_fakepve_guest(fake: tuple[FirewallObserver, FirewallWriter], fakepve: Any) -> None:
    read, write = fake
    options = {"enable": "1", "dhcp": "0", "ipfilter": "1", "policy_in": "DROP", "policy_out": "DROP"}
    write.set_options(DB, options)
    write.create_ipset(DB, "ipfilter-net0")
    write.add_entry(DB, "ipfilter-net0", Entry("10.10.40.4"))
    rules = [
        Rule("in", "ACCEPT", iface="net0", proto="tcp", dport=str(port), source="10.10.40.1", comment=f"zt/p{port}")
        for port in (80, 81, 82)
    ]
    for rule in reversed(rules):
        write.rules.insert(DB, rule)
    write.rules.move(DB, fw.same_as(rules[0]))
    changed = dataclasses.replace(rules[1], enable=False, source="", log="info")
    write.rules.update(DB, fw.same_as(rules[1]), changed)
    write.rules.delete(DB, fw.same_as(rules[2]))
    before = len(fakepve.requests)
    there = read.guest(404, "db", [Nic("net0", "vmbr0", True)]).guest
    assert len(fakepve.requests) - before == 3
    assert dict(there.options) == options
    assert there.rules == (changed, rules[0])
    assert [set(one.entries) for one in there.ipsets] == [{Entry("10.10.40.4")}]


def test_fakepve_that_is_gone(fake: tuple[FirewallObserver, FirewallWriter], fakepve: Any) -> None:
    """Every method says that the node cannot be reached, and nothing else."""
    _, write = fake
    fakepve.apitokens.clear()
    for change in (
        lambda: write.set_options(DC, {"enable": "1"}),
        lambda: write.create_alias(DC, ALIAS),
        lambda: write.delete_group("zt-deny"),
        lambda: write.rules.insert(DB, Rule("in", "DROP", comment="zt/deny")),
    ):
        with pytest.raises(ZentoriaError) as caught:
            change()
        assert isinstance(caught.value, UnreachableError)
