"""Two orders to one (reciprocal rank fusion), and variety among the first (maximal marginal relevance). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import TypeVar

K = 60
"""Of RRF (Cormack, Clarke, Buettcher, SIGIR 2009): how little the first ranks differ."""
VARIETY = 0.75
"""Share of relevance in MMR (Carbonell, Goldstein, SIGIR 1998); the rest is how unlike the others a passage is."""

T = TypeVar("T")


def fused(*orders: Sequence[T]) -> dict[T, float]:
    """Scores by reciprocal ranks: 1 is the first of every order."""
    best = len([order for order in orders if order]) / (K + 1)
    scores: dict[T, float] = {}
    for order in orders:
        for rank, one in enumerate(order, 1):
            scores[one] = scores.get(one, 0.0) + 1 / (K + rank)
    return {one: score / best for one, score in sorted(scores.items(), key=lambda pair: -pair[1])}


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors; 0 where one of them is nothing."""
    norms = math.sqrt(sum(map(mul, one, one))) * math.sqrt(sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / norms if norms else 0.0


def varied(scores: Mapping[T, float], vectors: Mapping[T, Sequence[float]], limit: int) -> list[T]:
    """The best ``limit``, each as unlike those before it as its score allows. Without a vector it is like none."""
    left, chosen = dict(scores), list[T]()
    while left and len(chosen) < limit:

        def worth(one: T) -> float:
            likeness = max(
                (cosine(vectors[one], vectors[other]) for other in chosen if one in vectors and other in vectors),
                default=0.0,
            )
            return VARIETY * left[one] - (1 - VARIETY) * likeness

        best = max(left, key=worth)
        chosen.append(best)
        del left[best]
    return chosen
