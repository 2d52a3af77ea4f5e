"""Sets of integers as sorted closed intervals that neither overlap nor touch: addresses and services alike."""

from __future__ import annotations

from collections.abc import Iterable

Spans = tuple[tuple[int, int], ...]

NOTHING: Spans = ()


def normal(intervals: Iterable[tuple[int, int]]) -> Spans:
    """The set that intervals make together; empty ones (first > last) count for nothing."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(intervals):
        if first > last:
            continue
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def union(one: Spans, other: Spans) -> Spans:
    """What is in either."""
    if not one or one == other:
        return other
    return normal((*one, *other)) if other else one


def intersection(one: Spans, other: Spans) -> Spans:
    """What is in both."""
    if one == other:
        return one
    found: list[tuple[int, int]] = []
    left = right = 0
    while left < len(one) and right < len(other):
        first = max(one[left][0], other[right][0])
        last = min(one[left][1], other[right][1])
        if first <= last:
            found.append((first, last))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return tuple(found)


def difference(one: Spans, other: Spans) -> Spans:
    """What is in the first and not in the other."""
    if not one or not other:
        return one
    if one == other:
        return NOTHING
    found: list[tuple[int, int]] = []
    right = 0
    for begin, end in one:
        first = begin
        while right < len(other) and other[right][1] < first:
            right += 1
        at = right
        while at < len(other) and other[at][0] <= end:
            if other[at][0] > first:
                found.append((first, other[at][0] - 1))
            first = max(first, other[at][1] + 1)
            at += 1
        if first <= end:
            found.append((first, end))
    return tuple(found)


def contains(one: Spans, other: Spans) -> bool:
    """Whether all of the other is in the first."""
    return not difference(other, one)


def meets(one: Spans, other: Spans) -> bool:
    """Whether the two have anything in common."""
    return bool(intersection(one, other))
