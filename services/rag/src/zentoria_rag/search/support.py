"""Whether documents support an answer at all: one number from two, and a bound that was calibrated."""

from __future__ import annotations

import dataclasses

LOW, HIGH = 0.4, 0.9
"""Between these are the cosines of passages to questions: below, nothing is alike; above, it is nearly the same."""


@dataclasses.dataclass(frozen=True)
class Support:
    """How the two scores of a passage become one.

    Args:
        bound: from which on an answer is supported.
        words: the share of the words' score; the rest is the meaning's.
    """

    bound: float
    words: float

    def score(self, words: float, meaning: float, has_meaning: bool = True) -> float:
        """0 to 1. Without the model, words alone decide."""
        if not has_meaning:
            return words
        near = min(1.0, max(0.0, (meaning - LOW) / (HIGH - LOW)))
        return self.words * words + (1 - self.words) * near
