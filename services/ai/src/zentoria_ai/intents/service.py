"""What a sentence wants and names: the classifier and the parser together."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zentoria_ai.answers.citations import Similar
from zentoria_ai.answers.sentences import sentences
from zentoria_ai.entities.parser import parse
from zentoria_ai.entities.schemas import Entity
from zentoria_ai.intents.classifier import Classifier, Prediction
from zentoria_ai.meaning.embedder import Embedder, Vectors

SHIPPED = Path(__file__).with_name("intents.model")
"""The classifier of this release, made of services/ai/intents/intents.yaml."""
MOST_SENTENCES = 60
"""Of all passages together that are compared by meaning: more would keep the first citation waiting."""


class Understanding:
    """Names intents and entities, and compares sentences.

    Args:
        classifier: the trained one.
        embedder: of sentences; it may come later.
    """

    def __init__(self, classifier: Classifier, embedder: Embedder) -> None:
        self.classifier, self.embedder = classifier, embedder

    def predict(self, text: str) -> Prediction:
        """The intent of a sentence."""
        return self.classifier.predict([text], self.embedder)[0]

    def intent(self, text: str) -> str | None:
        """The intent's name; None: none of these."""
        return self.predict(text).intent

    def entities(self, text: str, now: datetime.datetime) -> list[Entity]:
        """What a sentence names."""
        return parse(text, now)

    def similar(self, passages: Sequence[str]) -> Similar | None:
        """Compares a sentence with each passage's nearest sentence; None while there is no model for it."""
        if not self.embedder.ready:
            return None
        owners, texts = [], []
        for number, passage in enumerate(passages):
            for one in sentences(passage):
                owners.append(number)
                texts.append(one.text)
        if not texts or len(texts) > MOST_SENTENCES:
            return None
        return _Similar(self.embedder, len(passages), np.array(owners), texts)


class _Similar:
    """Encodes the passages when the first sentence is there, and not before: the model is reading then."""

    def __init__(
        self, embedder: Embedder, count: int, owners: np.ndarray[tuple[int], np.dtype[np.int_]], texts: list[str]
    ) -> None:
        self._embedder, self._count, self._owners, self._texts = embedder, count, owners, texts
        self._vectors: Vectors | None = None

    def __call__(self, sentence: str) -> Sequence[float]:
        if self._vectors is None:
            self._vectors = self._embedder.encode(self._texts)
        said = self._embedder.encode([sentence])
        if self._vectors is None or said is None:
            return ()
        half = said.shape[1] // 2
        near = self._vectors[:, :half] @ said[0, :half]
        return [float(near[self._owners == number].max(initial=-1.0)) for number in range(self._count)]
