"""Flows gained and lost: exactly what is allowed after and not before, with the line that says so."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.firewall.fw_inventories import container, flow, inventory, port
from tests.firewall.fw_shipped import shipped
from zentoria_infra.firewall.compiled.intent import Kind
from zentoria_infra.firewall.show.flow_diff import FlowDiff, Reach, diff_flows, reaches
from zentoria_infra.inventory.model import Inventory

NAMES = ("a", "b", "c")
EXPOSED = (*(port(number) for number in (1, 2, 3, 5)), port("7-9", "data"), port(4, protocol="udp"))


def world(*flows: dict[str, Any], egress: tuple[dict[str, Any], ...] = (), names: tuple[str, ...] = NAMES) -> Inventory:
    containers = [
        container(number, name, *EXPOSED, **({"egress": egress} if name == "a" else {}))
        for number, name in enumerate(names, 1)
    ]
    made = [flow(one["source"], one["to"], *one["ports"], **one.get("more", {})) for one in flows]
    return inventory(containers, made)


def told(items: tuple[Reach, ...]) -> list[str]:
    return [str(one) for one in items]


def test_the_same_inventory_gains_and_loses_nothing() -> None:
    of, _, _ = shipped()
    assert diff_flows(of, of) == FlowDiff((), ())
    assert diff_flows(of, of).empty


def test_a_flow_more_and_a_flow_less() -> None:
    before = world({"source": "a", "to": "b", "ports": (1, 2)}, {"source": "b", "to": "c", "ports": (3,)})
    after = world({"source": "a", "to": "b", "ports": (2, 5)}, {"source": "c", "to": "b", "ports": (3,)})
    found = diff_flows(before, after)
    assert told(found.gained) == ["a -> b 5/tcp", "c -> b 3/tcp"]
    assert told(found.lost) == ["a -> b 1/tcp", "b -> c 3/tcp"]
    assert not found.empty


def test_other_words_or_another_order_are_no_difference() -> None:
    one = {"source": "a", "to": "b", "ports": (1, 2)}
    reworded = {
        "source": "a",
        "to": "b",
        "ports": (2, 1),
        "more": {"purpose": "Other", "derived": "for another reason"},
    }
    other = {"source": "b", "to": "c", "ports": (3,)}
    assert diff_flows(world(one, other), world(other, reworded)).empty


def test_a_row_of_all_is_told_for_each_pair_and_a_new_container_is_in_it() -> None:
    everyone = {"source": "all", "to": "b", "ports": (1,)}
    found = diff_flows(world(everyone, names=("a", "b")), world(everyone))
    assert told(found.gained) == ["c -> b 1/tcp"]
    assert found.lost == ()
    assert told(diff_flows(world(), world(everyone)).gained) == ["a -> b 1/tcp", "c -> b 1/tcp"]


def test_part_of_a_range() -> None:
    found = diff_flows(
        world({"source": "a", "to": "b", "ports": (8,)}), world({"source": "a", "to": "b", "ports": ("7-9",)})
    )
    assert told(found.gained) == ["a -> b 7, 9/tcp"]


def test_the_protocol_counts() -> None:
    before = world({"source": "a", "to": "b", "ports": (4,), "more": {"protocol": "udp"}})
    found = diff_flows(before, world({"source": "a", "to": "b", "ports": (4,)}))
    assert (told(found.gained), told(found.lost)) == (["a -> b 4/tcp"], ["a -> b 4/udp"])


def test_egress_is_told_by_host_with_the_name_resolution_that_it_needs() -> None:
    entry = {"to": ("one.example", "two.example"), "ports": (443,), "purpose": "Models and more"}
    found = diff_flows(world(), world(egress=(entry,)))
    assert told(found.gained) == [
        "a -> 10.10.47.254 53/udp",
        "a -> 10.10.47.254 53/tcp",
        "a -> one.example 443/tcp",
        "a -> two.example 443/tcp",
    ]
    assert [one.kind for one in found.gained] == [Kind.DNS, Kind.DNS, Kind.EGRESS, Kind.EGRESS]
    assert found.gained[2].as_data() == {
        "source": "a",
        "destination": "one.example",
        "protocol": "tcp",
        "ports": ["443"],
        "kind": "egress",
        "purpose": "Models and more",
        "origin": "egress of a",
        "at": "container 401 a",
    }
    moved = diff_flows(world(egress=(entry,)), world(egress=({**entry, "to": ("two.example", "three.example")},)))
    assert (told(moved.gained), told(moved.lost)) == (["a -> three.example 443/tcp"], ["a -> one.example 443/tcp"])


def test_lines_of_the_shipped_inventory_are_kept() -> None:
    of, _, _ = shipped()
    bare = of.model_copy(update={"flows": of.flows[1:]})
    (lost,) = diff_flows(of, bare).lost
    assert str(lost) == "internet -> proxy 80, 443/tcp"
    assert (lost.origin, lost.purpose) == ("row 1", "External access")
    assert str(lost.position).startswith("zones.yaml:")


flows = st.lists(
    st.fixed_dictionaries(
        {
            "source": st.sampled_from([*NAMES, "all", "internet"]),
            "to": st.sampled_from([*NAMES, "all"]),
            "ports": st.lists(st.sampled_from([1, 2, 3, 5, "7-9", 8]), min_size=1, max_size=3).map(tuple),
        }
    ),
    max_size=4,
)


def packets(items: Any) -> set[tuple[str, str, str, int]]:
    return {
        (one.source, one.destination, one.protocol, number)
        for one in items
        for first, last in one.ports
        for number in range(first, last + 1)
    }


@given(flows, flows)
def test_before_and_gained_without_lost_is_after(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    before, after = world(*old), world(*new)
    found = diff_flows(before, after)
    then, now = packets(reaches(before)), packets(reaches(after))
    assert packets(found.gained) == now - then
    assert packets(found.lost) == then - now
    for side in (found.gained, found.lost):
        assert sum(len(packets([one])) for one in side) == len(packets(side)), "a port is told twice"
    back = diff_flows(after, before)
    assert (back.gained, back.lost) == (found.lost, found.gained)
