"""The proof on the shipped inventory: it holds, and each thing that is spoiled is found with its rule and line."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.firewall.fw_shipped import shipped, with_guest, with_options, with_rule
from tests.firewall.fw_spoilt import CASES, DB, FLOW, Spoil, foreign
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Nic
from zentoria_infra.firewall.proof.differences import Difference, Kind
from zentoria_infra.firewall.proof.prove import Proof, prove


def proof_of(spoil: Spoil) -> Proof:
    _, compiled, parties = shipped()
    return prove(compiled, parties, spoil(compiled.configuration))


def line_of(word: str) -> str:
    """file:line:column that a rule's identity stands for."""
    _, compiled, _ = shipped()
    found = {intent.key: intent.position for intent in compiled.intents} | dict(compiled.positions)
    return str(found[word])


def test_the_shipped_inventory_is_proven() -> None:
    _, compiled, parties = shipped()
    proof = prove(compiled, parties)
    assert proof.differences == ()
    assert proof.holds
    containers, others = len(parties.containers), len(parties.others)
    assert containers == 17
    assert proof.pairs + proof.not_judged == (containers + others) * (containers + others - 1)
    assert proof.intervals > 100


def says(difference: Difference) -> str:
    return f"{difference.kind} {difference.source}>{difference.destination} {difference.services} @{difference.vmid}"


@pytest.mark.parametrize("name", CASES)
def test_what_is_spoiled_is_found(name: str) -> None:
    spoil, wanted, word, words = CASES[name]
    proof = proof_of(spoil)
    assert not proof.holds
    found = [one for one in proof.differences if says(one) == wanted]
    assert found, [says(one) for one in proof.differences]
    match = [one for one in found if re.search(words, one.explanation)]
    assert match, [one.explanation for one in found]
    one = match[0]
    if word is None:
        assert one.rule is None
        assert one.rule_position is None
    else:
        assert one.rule is not None
        assert one.rule.comment.split(maxsplit=1)[:1] == ([word] if word else [])
        assert one.rule_position is not None
    if one.kind is Kind.MISSING:
        assert str(one.position).startswith("zones.yaml:")
    elif word:
        assert str(one.position) == line_of(word)
    elif one.vmid == DB:
        source_set = one.explanation.startswith("IP set")
        assert str(one.position) == line_of("zt/ipfilter/db/net0" if source_set else "404")


@pytest.mark.parametrize(
    ("name", "kinds"),
    {
        "dropped alias": {"vanished", "missing"},
        "dhcp left out": {"extra"},
        "ipfilter off": {"forged"},
        "ipfilter off and its set there": {"weakened"},
        "NIC without firewall": {"unfiltered"},
        "order swapped": {"missing"},
        "policy_out ACCEPT behind a deny": {"weakened"},
        "port range widened at both ends": {"extra"},
        "port range widened at one end": {"weakened"},
        "rule disabled": {"missing"},
        "unfiltered guest": {"unfiltered"},
        "unfiltered stranger": {"unfiltered"},
        "another MAC": {"forged"},
    }.items(),
)
def test_nothing_else_is_found(name: str, kinds: set[str]) -> None:
    proof = proof_of(CASES[name][0])
    assert {str(one.kind) for one in proof.differences} == kinds, [str(one) for one in proof.differences]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda old: with_options(old, DB, {"macfilter": None, "radv": None}), id="defaults left out"),
        pytest.param(lambda old: with_options(old, DB, {"policy_in": "REJECT"}), id="refused instead of dropped"),
        pytest.param(lambda old: with_options(old, DB, {"log_level_in": "info"}), id="log"),
        pytest.param(
            lambda old: with_guest(old, DB, lambda guest: dataclasses.replace(guest, ipsets=())),
            id="only the address of the NIC's own configuration",
        ),
        pytest.param(
            lambda old: with_guest(
                old, DB, lambda guest: dataclasses.replace(guest, rules=(*reversed(guest.rules[:-1]), guest.rules[-1]))
            ),
            id="order of accepting rules",
        ),
        pytest.param(
            lambda old: with_rule(old, DB, FLOW, lambda rule: dataclasses.replace(rule, source="10.10.40.1")),
            id="address in place of an alias",
        ),
        pytest.param(
            foreign(
                Nic("net0", "vmbr40", True, ip="10.10.41.7/20"),
                options={"enable": "1", "ipfilter": "1", "dhcp": "0"},
            ),
            id="a stranger that keeps to its address",
        ),
        pytest.param(foreign(Nic("net0", "vmbr0", False)), id="a stranger on another bridge"),
    ],
)
def test_what_changes_no_packet_is_no_difference(spoil: Spoil) -> None:
    assert proof_of(spoil).differences == ()


def test_guests_own_objects_prove_as_well() -> None:
    inventory, _, _ = shipped()
    firewall = inventory.site.firewall.model_copy(update={"objects": "guest"})
    site = inventory.site.model_copy(update={"firewall": firewall})
    changed = inventory.model_copy(update={"site": site})
    compiled = compile_firewall(changed)
    parties = parties_of(changed)
    assert prove(compiled, parties).differences == ()
    # What is read from a node says itself whether the switch is on.
    observed = prove(compiled, parties, compiled.configuration)
    assert [str(one.kind) for one in observed.differences] == ["unfiltered"]
