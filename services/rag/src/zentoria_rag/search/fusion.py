"""Two orders to one (reciprocal rank fusion), and variety among the first (maximal marginal relevance). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import TypeVar

K = 20
"""Of RRF (Cormack, Clarke, Buettcher, SIGIR 2009), who took 60 for runs of a thousand; these have forty: it says how
little the first ranks differ."""
VARIETY = 0.85
"""Share of relevance in MMR (Carbonell, Goldstein, SIGIR 1998); the rest is how unlike the others a passage is."""

T = TypeVar("T")


def fused(near: Sequence[T], worded: Mapping[T, float]) -> dict[T, float]:
    """Scores by reciprocal ranks, the best first; 1 is the first of both orders with all the words.

    Args:
        near: by meaning, the nearest first.
        worded: by words, the best first, each with the share of the question's words that it has: so much does its
            rank count. Where no passage has more than a common word, the first by words is as good as any.
    """
    best = (bool(near) + bool(worded)) / (K + 1)
    scores = {one: 1 / (K + rank) for rank, one in enumerate(near, 1)}
    for rank, (one, share) in enumerate(worded.items(), 1):
        scores[one] = scores.get(one, 0.0) + share / (K + rank)
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
