"""What stays of a long kind of test in ``make test``, while ``make soak`` has it whole.

A value of a parametrised test that is not in the sample is marked ``soak``. Property tests run with a tenth of the
examples that they ask for (:func:`tenth`); in a soak with all of them, at random.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import hypothesis
import pytest

PROFILE = "soak"
"""The Hypothesis profile of ``make soak``."""

FEWEST = 20
"""Examples that each property test has at least, unless it asks for fewer."""


def sampled(values: Iterable[Any], sample: Collection[Any]) -> list[Any]:
    """The values of ``pytest.mark.parametrize``: those outside of the sample are for a soak.

    As there, a tuple holds the values of several arguments.

    Raises:
        ValueError: something in the sample is no value, so that the sample is smaller than it says.
    """
    values = list(values)
    if strangers := [one for one in sample if one not in values]:
        raise ValueError(f"in the sample, and no value: {strangers}")
    return [
        one if one in sample else pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.soak)
        for one in values
    ]


def tenth(items: Iterable[pytest.Item]) -> None:
    """Give each property test a tenth of the examples that it asks for, and at least :data:`FEWEST`."""
    done: set[int] = set()
    for item in items:
        test = getattr(item, "obj", None)
        test = getattr(test, "__func__", test)
        if not hypothesis.is_hypothesis_test(test) or id(test) in done:
            continue
        done.add(id(test))  # a test that is parametrised has one function for many items
        whole = test._hypothesis_internal_use_settings  # Hypothesis has no public way to read a test's settings
        fewer = min(whole.max_examples, max(whole.max_examples // 10, FEWEST))
        test._hypothesis_internal_use_settings = hypothesis.settings(whole, max_examples=fewer)
