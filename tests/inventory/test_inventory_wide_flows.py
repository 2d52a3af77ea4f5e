"""Checks of flows work on intervals: what a wide range costs, and that it says what port by port would say."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inventory.test_inventory_flows import container, inventory
from zentoria_infra.inventory import flow_checks
from zentoria_infra.inventory.assertion_checks import check_assertions
from zentoria_infra.inventory.assertion_model import Assertion

WIDE = {"main": {"port": "1-65535", "kind": "api"}}


def many(names: int, port: str) -> list[Any]:
    made = []
    for number in range(names):
        one = container(number, f"c{number}", {}, ())
        exposes = {"main": {"port": port, "kind": "api"}}
        service = one.services[0].model_validate(
            {"name": "main", "component": "main", "exposes": exposes, "needs": ({"service": "all", "ports": (port,)},)}
        )
        made.append(one.model_copy(update={"services": (service,)}))
    return made


@pytest.mark.parametrize(
    ("source", "destination", "ports"),
    [("all", "all", ("1-65535",)), ("all", "c0", tuple(range(1, 6000, 2)))],
    ids=["all ports from all to all", "three thousand single ports"],
)
def test_wide_flows_take_no_longer_than_narrow_ones(source: str, destination: str, ports: tuple[Any, ...]) -> None:
    stack = inventory(tuple(many(40, "1-65535")), ({"source": source, "destination": destination, "ports": ports},))
    begun = time.process_time()
    list(flow_checks.check_flows(stack, frozenset()))
    denied = Assertion.model_validate({"deny": ("all",), "to": ("all",), "because": "test"})
    list(check_assertions(stack.model_copy(update={"assertions": (denied,)}), frozenset()))
    assert time.process_time() - begun < 15


ranges = st.tuples(st.integers(1, 30), st.integers(0, 6)).map(lambda pair: (pair[0], min(30, sum(pair))))


@given(st.lists(ranges, min_size=1, max_size=5), st.lists(ranges, min_size=1, max_size=3), st.lists(ranges, max_size=4))
def test_intervals_say_what_port_by_port_would_say(
    flows: list[tuple[int, int]], exposed: list[tuple[int, int]], needed: list[tuple[int, int]]
) -> None:
    def text(ports: tuple[int, int]) -> str:
        return f"{ports[0]}-{ports[1]}"

    needs = ({"service": "b", "ports": tuple(map(text, needed))},) if needed else ()
    a = container(1, "a", {}, needs)
    b = container(2, "b", {})
    exposes = {f"p{n}": {"port": text(ports), "kind": "api"} for n, ports in enumerate(exposed)}
    service = b.services[0].model_validate({"name": "main", "component": "main", "exposes": exposes})
    b = b.model_copy(update={"services": (service,)})
    stack = inventory((a, b), tuple({"source": "a", "destination": "b", "ports": (text(one),)} for one in flows))
    said = [one.message for one in flow_checks.check_flows(stack, frozenset())]

    def numbers(several: list[tuple[int, int]]) -> set[int]:
        return {n for first, last in several for n in range(first, last + 1)}

    there, wanted, allowed = numbers(exposed), numbers(needed), numbers(flows)
    assert any("no flow in zones.yaml allows it" in one for one in said) == bool((wanted & there) - allowed)
    assert any("no service of 'a' needs 'b'" in one for one in said) == bool((allowed & there) - wanted)
    assert sum("does not expose port" in one for one in said) == sum(bool(numbers([one]) - there) for one in flows) + (
        sum(bool(numbers([one]) - there) for one in needed)
    )
    overlapping = any(numbers([one]) & numbers(flows[:at]) for at, one in enumerate(flows))
    assert any("is allowed already" in one for one in said) == overlapping
