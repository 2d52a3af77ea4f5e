"""What a node's own chain lets in is found by address; rule by rule, in their order, gives the same."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from zentoria_infra.firewall.config import Datacenter, Rule
from zentoria_infra.firewall.proof.host import _Chain, _covers, _flat, _touches
from zentoria_infra.firewall.proof.semantics import clause_of
from zentoria_infra.firewall.sets.addresses import Objects
from zentoria_infra.firewall.sets.services import InvalidRuleError

MANY = ",".join(f"10.0.0.{number}" for number in range(1, 30, 2))
SOURCES = ("", "10.0.0.1", "10.0.0.2", "10.0.0.1,10.0.0.3", "10.0.0.0/30", MANY, "10.0.0.1-10.0.0.2", "+none")
DESTS = ("", "10.0.1.1", "10.0.1.2")

rules = st.builds(
    lambda action, source, dest, port, iface: Rule(
        "in", action, source=source, dest=dest, proto="tcp" if port else "", dport=port, iface=iface
    ),
    st.sampled_from(("ACCEPT", "ACCEPT", "DROP", "REJECT")),
    st.sampled_from(SOURCES),
    st.sampled_from(DESTS),
    st.sampled_from(("", "53", "3128", "1:4000")),
    st.sampled_from(("", "", "", "vmbr0")),
)
wants = [
    clause_of(Objects(Datacenter()), Rule("in", "ACCEPT", source=source, dest=dest, proto="tcp", dport="53"))
    for source, dest in itertools.product(SOURCES[:-1], DESTS)
]


def one_by_one(objects: Objects, chain: list[Rule], want) -> bool:
    """Whether it is let in; the definition."""
    for rule in _flat(objects, chain):
        try:
            one = clause_of(objects, rule)
        except InvalidRuleError:
            continue
        if one.accept and not rule.iface and _covers(one, want):
            return True
        if not one.accept and _touches(one, want):
            return False
    return False


@given(st.lists(rules, max_size=8))
@example([Rule("in", "DROP", source="10.0.0.2"), Rule("in", "ACCEPT", source=MANY)])
@example([Rule("in", "ACCEPT", source="10.0.0.1,10.0.0.3"), Rule("in", "DROP")])
def test_it_says_what_its_rules_say_in_their_order(chain: list[Rule]) -> None:
    objects = Objects(Datacenter())
    made = _Chain(objects, chain)
    for want in wants:
        assert (made.lacks(want) == "") == one_by_one(objects, chain, want)
