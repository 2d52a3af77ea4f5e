"""What a soak has more than ``make test``."""

import types

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.support.soak import sampled, tenth


def test_what_is_outside_of_a_sample_is_for_a_soak() -> None:
    one, *others = sampled(["a", ("b", 1), "c"], ["a"])
    assert one == "a"
    assert [(other.values, [mark.name for mark in other.marks]) for other in others] == [
        (("b", 1), ["soak"]),
        (("c",), ["soak"]),
    ]
    with pytest.raises(ValueError, match="no value: \\['d'\\]"):
        sampled(["a"], ["a", "d"])


@pytest.mark.parametrize(("asks", "gets"), [(400, 40), (100, 20), (25, 20), (5, 5)])
def test_a_property_test_has_a_tenth_of_its_examples(asks: int, gets: int) -> None:
    seen: list[int] = []

    @hypothesis.settings(max_examples=asks, database=None)
    @hypothesis.given(st.integers())
    def test(number: int) -> None:
        seen.append(number)

    item = types.SimpleNamespace(obj=test)
    tenth([item, item, types.SimpleNamespace(obj=lambda: None)])
    test()
    assert len(seen) == gets
