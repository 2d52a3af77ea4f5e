"""Rules by identity: against the lab's API, with others writing in between and answers that get lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxmox.proxmox_faulty_lab import FaultyLab
from tests.proxmox.proxmox_scripted_server import Reply, Seen
from zentoria_infra.errors import PermissionDeniedError
from zentoria_infra.firewall.config import Rule
from zentoria_infra.proxmox import errors
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.firewall.rules import ATTEMPTS

RULES = "/nodes/pve1/lxc/404/firewall/rules"
DB = fw.guest(404, "pve1")
GROUP = fw.group("zt-all")


def _rule(key: str, **fields: Any) -> Rule:
    return Rule(
        **{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "80", "comment": f"zt/{key} why", **fields}
    )


def _keys(lab: FaultyLab, path: str = RULES) -> list[str]:
    return [str(line.get("comment", "")).partition(" ")[0].removeprefix("zt/") for line in lab.other.get(path).data]


def _fill(lab: FaultyLab, *keys: str, path: str = RULES) -> None:
    """Rules in this order, position 0 first."""
    for key in reversed(keys):
        assert lab.other.post(path, **fw.rule_params(_rule(key))).status == 200


def _find(key: str) -> Callable[[Rule], bool]:
    return fw.same_as(_rule(key))


FULL = _rule(
    "row-7/backend/db/tcp", iface="net0", source="10.10.40.1", dest="10.10.40.4", dport="5432,6000:6001", sport="1:2",
    log="info",
)  # fmt: skip


@pytest.mark.parametrize(
    "rule",
    [
        FULL,
        _rule("off", enable=False),
        _rule("out", type="out", action="DROP", proto="", dport=""),
        _rule("ping", proto="icmp", dport="", icmp_type="echo-request"),
        _rule("macro", proto="", dport="", macro="SSH"),
        Rule("group", "zt-all", iface="net0", comment="zt/group/db/zt-all"),
    ],
)
def test_what_is_inserted_is_read_alike(faulty: FaultyLab, rule: Rule) -> None:
    faulty.proxmox.write_firewall.rules.insert(DB, rule)
    assert faulty.calls() == [("POST", RULES)]
    assert faulty.proxmox.firewall.rules(DB).rules == (rule,)


def test_new_rules_go_to_the_top(faulty: FaultyLab) -> None:
    for key in "abc":
        faulty.proxmox.write_firewall.rules.insert(DB, _rule(key))
    assert _keys(faulty) == ["c", "b", "a"]


@pytest.mark.parametrize("carried_out", [True, False])
def test_insert_after_a_lost_answer(faulty: FaultyLab, carried_out: bool) -> None:
    _fill(faulty, "a")
    faulty.lose("POST", carried_out=carried_out)
    faulty.proxmox.write_firewall.rules.insert(DB, _rule("b"))
    assert _keys(faulty) == ["b", "a"]


def test_insert_that_was_carried_out_late(faulty: FaultyLab) -> None:
    """The first call waits for a lock while we look, find nothing and send it again."""

    def lost(seen: Seen) -> Reply | None:
        if seen.method != "POST":
            return None
        faulty.before.clear()
        faulty.meanwhile("POST", lambda: _fill(faulty, "b"))
        return Reply(drop=True)

    faulty.before.append(lost)
    faulty.proxmox.write_firewall.rules.insert(DB, _rule("b"))
    assert _keys(faulty) == ["b"]


@pytest.mark.parametrize("carried_out", [True, False])
def test_insert_that_gets_no_answer_in_time_is_not_sent_again(faulty: FaultyLab, carried_out: bool) -> None:
    """It may still wait for a lock and be carried out later."""
    ours = faulty.impatient()
    with faulty.silent("POST", carried_out=carried_out):
        if carried_out:
            ours.write_firewall.rules.insert(DB, _rule("b"))
        else:
            with pytest.raises(errors.AnswerTimeoutError):
                ours.write_firewall.rules.insert(DB, _rule("b"))
    assert [method for method, _ in faulty.calls()] == ["POST", "GET"]
    assert _keys(faulty) == (["b"] if carried_out else [])


def test_update_sends_only_what_differs(faulty: FaultyLab) -> None:
    _fill(faulty, "a", "b", "c")
    faulty.proxmox.write_firewall.rules.insert(DB, FULL)
    faulty.calls()
    new = dataclasses.replace(FULL, dport="5432", log="", sport="", enable=False)
    faulty.proxmox.write_firewall.rules.update(DB, fw.same_as(FULL), new)
    put = faulty.server.seen[-1]
    assert {key: value for key, value in put.form.items() if key != "digest"} == {
        "dport": "5432", "enable": "0", "delete": "log,sport",
    }  # fmt: skip
    assert faulty.calls() == [("GET", RULES), ("PUT", f"{RULES}/0")]
    assert faulty.proxmox.firewall.rules(DB).rules[0] == new
    faulty.calls()
    faulty.proxmox.write_firewall.rules.update(DB, fw.same_as(FULL), lambda rule: rule)
    assert faulty.calls() == [("GET", RULES)], "nothing differs"


@pytest.mark.parametrize("verb", ["update", "move", "delete"])
def test_somebody_else_writes_between_reading_and_writing(faulty: FaultyLab, verb: str) -> None:
    _fill(faulty, "a", "b", "c")
    rules = faulty.proxmox.write_firewall.rules
    faulty.meanwhile("DELETE" if verb == "delete" else "PUT", lambda: _fill(faulty, "x"), times=3)
    if verb == "update":
        rules.update(DB, _find("b"), _rule("b", dport="81"))
        assert _keys(faulty) == ["x", "x", "x", "a", "b", "c"]
        assert [rule.dport for rule in faulty.proxmox.firewall.rules(DB).rules] == ["80", "80", "80", "80", "81", "80"]
    elif verb == "move":
        rules.move(DB, _find("a"))
        assert _keys(faulty) == ["x", "x", "x", "b", "c", "a"]
    else:
        rules.delete(DB, _find("b"))
        assert _keys(faulty) == ["x", "x", "x", "a", "c"]


def test_somebody_who_never_stops_writing(faulty: FaultyLab) -> None:
    _fill(faulty, "a")
    faulty.meanwhile("PUT", lambda: _fill(faulty, "x"), times=100)
    with pytest.raises(errors.ModifiedError):
        faulty.proxmox.write_firewall.rules.update(DB, _find("a"), _rule("a", dport="81"))
    assert len([1 for method, _ in faulty.calls() if method == "PUT"]) == ATTEMPTS
    assert {rule.dport for rule in faulty.proxmox.firewall.rules(DB).rules} == {"80"}


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("verb", ["update", "move", "delete", "surplus"])
def test_change_after_a_lost_answer(faulty: FaultyLab, verb: str, carried_out: bool) -> None:
    _fill(faulty, "a", "b", "c")
    rules = faulty.proxmox.write_firewall.rules
    if verb == "surplus":
        _fill(faulty, "b", "b")
    faulty.lose("DELETE" if verb in ("delete", "surplus") else "PUT", carried_out=carried_out)
    if verb == "update":
        rules.update(DB, _find("b"), lambda rule: dataclasses.replace(rule, dport="81"))
        assert [rule.dport for rule in faulty.proxmox.firewall.rules(DB).rules] == ["80", "81", "80"]
    elif verb == "move":
        rules.move(DB, _find("c"), before=_find("a"))
        assert _keys(faulty) == ["c", "a", "b"]
    elif verb == "delete":
        rules.delete(DB, _find("b"))
        assert _keys(faulty) == ["a", "c"]
    else:
        rules.delete(DB, _find("b"), surplus=True)
        assert _keys(faulty) == ["b", "a", "b", "c"]


def test_rule_that_is_gone_or_there_twice(faulty: FaultyLab) -> None:
    _fill(faulty, "a", "b", "a")
    rules = faulty.proxmox.write_firewall.rules
    rules.delete(DB, _find("gone"))
    for change in (
        lambda: rules.update(DB, _find("gone"), _rule("gone")),
        lambda: rules.move(DB, _find("gone")),
        lambda: rules.move(DB, _find("b"), before=_find("gone")),
    ):
        with pytest.raises(errors.MissingError):
            change()
    for change in (
        lambda: rules.update(DB, _find("a"), _rule("a", dport="1")),
        lambda: rules.move(DB, _find("a")),
        lambda: rules.delete(DB, _find("a")),
    ):
        with pytest.raises(fw.DuplicateRuleError, match=r"positions 0, 2 .*\(zt/a\)"):
            change()
    assert _keys(faulty) == ["a", "b", "a"]
    assert {method for method, _ in faulty.calls()} == {"GET"}
    rules.delete(DB, _find("a"), surplus=True)
    assert _keys(faulty) == ["b", "a"]


def test_the_same_identity_in_both_directions(faulty: FaultyLab) -> None:
    faulty.proxmox.write_firewall.rules.insert(DB, _rule("a"))
    faulty.proxmox.write_firewall.rules.insert(DB, _rule("a", type="out"))
    faulty.proxmox.write_firewall.rules.delete(DB, _find("a"))
    assert [rule.type for rule in faulty.proxmox.firewall.rules(DB).rules] == ["out"]


def test_rules_of_a_group(faulty: FaultyLab) -> None:
    write = faulty.proxmox.write_firewall
    write.create_group("zt-all", "zt/group all")
    for key in "abc":
        write.rules.insert(GROUP, _rule(key))
    write.rules.move(GROUP, _find("a"), before=_find("c"))
    write.rules.update(GROUP, _find("b"), _rule("b", dport="81"))
    write.rules.delete(GROUP, _find("c"))
    found = faulty.proxmox.firewall.datacenter(groups=["zt-all"]).datacenter.groups[0]
    assert (found.name, found.comment) == ("zt-all", "zt/group all")
    assert found.rules == (_rule("a"), _rule("b", dport="81"))


def test_rights(faulty: FaultyLab) -> None:
    _fill(faulty, "a")
    ours = faulty.user(("/vms/404", "VM.Audit"))
    for change in (
        lambda: ours.write_firewall.rules.insert(DB, _rule("b")),
        lambda: ours.write_firewall.rules.update(DB, _find("a"), _rule("a", dport="1")),
        lambda: ours.write_firewall.rules.delete(DB, _find("a")),
    ):
        with pytest.raises(PermissionDeniedError) as caught:
            change()
        assert "VM.Config.Network on /vms/404" in caught.value.todo
        assert "rule" in caught.value.tried
    assert _keys(faulty) == ["a"]


def test_seventeen_guests_at_once(faulty: FaultyLab) -> None:
    """Each list is whole, also when four threads write to every one of them."""
    scopes = [fw.guest(vmid, "pve1") for vmid in range(400, 417)]
    work = [(scope, f"{number}") for number in range(4) for scope in scopes]
    with ThreadPoolExecutor(17) as pool:
        list(pool.map(lambda one: faulty.proxmox.write_firewall.rules.insert(one[0], _rule(one[1])), work))
        list(pool.map(lambda one: faulty.proxmox.write_firewall.rules.delete(one[0], _find("2")), work))
    for scope in scopes:
        keys = _keys(faulty, f"/nodes/pve1/lxc/{scope.vmid}/firewall/rules")
        assert sorted(keys) == ["0", "1", "3"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 6), data=st.data())
def test_move_lands_where_it_shall(faulty: FaultyLab, size: int, data: st.DataObject) -> None:
    """For every position and target, as a plain list does it."""
    keys = [f"k{number}" for number in range(size)]
    place = f"/nodes/pve1/lxc/{500 + data.draw(st.integers(0, 10**6))}/firewall/rules"
    scope = fw.guest(int(place.split("/")[4]), "pve1")
    for _ in range(len(faulty.other.get(place).data)):
        faulty.other.delete(f"{place}/0")
    _fill(faulty, *keys, path=place)
    moved = data.draw(st.sampled_from(keys))
    before = data.draw(st.sampled_from([None, *(key for key in keys if key != moved)]))
    rest = [key for key in keys if key != moved]
    at = len(rest) if before is None else rest.index(before)
    faulty.proxmox.write_firewall.rules.move(scope, _find(moved), before=_find(before) if before else None)
    assert _keys(faulty, place) == [*rest[:at], moved, *rest[at:]]
