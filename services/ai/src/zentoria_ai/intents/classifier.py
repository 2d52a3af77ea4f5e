"""Names the intent of a sentence, or says that it is none of these. Only numpy: no training library is needed here.

Two linear heads share one file: one sees meaning and words, the other words alone, for as long as no model of meaning
is there. A gate, trained beside them, says how likely a sentence is one of the intents at all.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zentoria_ai.intents import features
from zentoria_ai.meaning.embedder import Embedder, Vectors

Rows = NDArray[np.float32]
FORMAT = 1


class ModelError(Exception):
    """A file is no classifier of ours; the text names it."""


@dataclasses.dataclass(frozen=True)
class Gate:
    """How likely a sentence is one of the intents: a logistic function of what the head says.

    Args:
        weights: of the features of :func:`gate_features`.
        bias: its own.
        threshold: below it the sentence is none of these.
    """

    weights: Rows
    bias: float
    threshold: float

    def likely(self, seen: Rows) -> Rows:
        """0 to 1, by sentence."""
        return _sigmoid(seen @ self.weights + np.float32(self.bias))


@dataclasses.dataclass(frozen=True)
class Head:
    """Scores of the intents: one linear function, and its gate.

    Args:
        meaning: weights of the vectors, a column an intent; no rows where it sees words alone.
        words: weights of the hashed words.
        bias: by intent.
        centres: mean vector of each intent's sentences, of length 1; no rows where it sees words alone.
        gate: of it.
    """

    meaning: Rows
    words: Rows
    bias: Rows
    centres: Rows
    gate: Gate

    def scores(self, vectors: Vectors | None, words: Rows) -> Rows:
        """By sentence and intent, as logarithms of probabilities up to a constant."""
        found = words @ self.words + self.bias
        return found if vectors is None else found + vectors @ self.meaning

    def likely(self, scores: Rows, vectors: Vectors | None) -> Rows:
        """How likely each sentence is one of the intents."""
        near = vectors @ self.centres.T / np.float32(np.sqrt(2)) if vectors is not None else None
        return self.gate.likely(gate_features(scores, near))


def gate_features(scores: Rows, near: Rows | None) -> Rows:
    """What the gate sees: the best score, how far it is ahead, the energy, the probability, nearness to the centre."""
    if scores.shape[1] > 1:
        top = -np.partition(-scores, 1, axis=1)[:, :2]
    else:
        top = np.concatenate([scores, np.zeros_like(scores)], axis=1)
    probability = softmax(scores).max(axis=1)
    energy = np.log(np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)) + scores.max(axis=1)
    columns = [top[:, 0], top[:, 0] - top[:, 1], energy, probability, np.log(np.clip(1 - probability, 1e-6, 1))]
    if near is not None:
        columns += [near.max(axis=1), near[np.arange(len(scores)), scores.argmax(axis=1)]]
    return np.stack(columns, axis=1).astype(np.float32)


def softmax(scores: Rows) -> Rows:
    """Probabilities by row."""
    power = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True), np.float32)


def _sigmoid(values: Rows) -> Rows:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a sentence is taken for.

    Args:
        intent: the name; None: none of these.
        confidence: that this is right, 0 to 1.
        ranked: all intents with their probabilities, the best first; together at most 1.
        likely: that it is one of the intents.
    """

    intent: str | None
    confidence: float
    ranked: tuple[tuple[str, float], ...]
    likely: float


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Args:
        labels: the intents.
        full: the head that sees meaning and words.
        poor: the one that sees words alone.
        about: of what it was made: SHA-256 of the data, counts.
    """

    labels: tuple[str, ...]
    full: Head
    poor: Head
    about: dict[str, Any]

    def predict(self, sentences: Sequence[str], embedder: Embedder | None) -> list[Prediction]:
        """Name the intents of sentences; without a model of meaning by words alone."""
        vectors = embedder.encode([features.plain(one) for one in sentences]) if embedder is not None else None
        return self.judge(vectors, features.words(sentences))

    def judge(self, vectors: Vectors | None, words: Rows) -> list[Prediction]:
        """The same of features that were made before."""
        head = self.poor if vectors is None else self.full
        scores = head.scores(vectors, words)
        every, gates = softmax(scores), head.likely(scores, vectors)
        found = []
        for row, likely in zip(every, gates, strict=True):
            order = np.argsort(-row)
            ranked = tuple((self.labels[number], round(float(row[number] * likely), 4)) for number in order)
            known = bool(likely >= head.gate.threshold)
            confidence = ranked[0][1] if known else round(float(1 - likely), 4)
            found.append(Prediction(ranked[0][0] if known else None, confidence, ranked, round(float(likely), 4)))
        return found

    def write(self, path: Path) -> None:
        """Write it, the same bytes for the same classifier: in a zip without times."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            about = {"format": FORMAT, "labels": self.labels, "about": self.about}
            about |= {name: _gate_json(head) for name, head in (("full", self.full), ("poor", self.poor))}
            _put(archive, "about.json", json.dumps(about, indent=1, sort_keys=True).encode())
            for name, head in (("full", self.full), ("poor", self.poor)):
                for part in ("meaning", "words", "bias", "centres"):
                    data = io.BytesIO()
                    kind = np.float16 if part == "words" else np.float32
                    np.save(data, getattr(head, part).astype(kind), allow_pickle=False)
                    _put(archive, f"{name}.{part}.npy", data.getvalue())

    @classmethod
    def read(cls, path: Path) -> Classifier:
        """Read one.

        Raises:
            ModelError: there is none, or it is something else.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("about.json"))
                if about["format"] != FORMAT:
                    raise ModelError(f"{path} has format {about['format']}, and this release reads {FORMAT}")
                heads = {name: _head(archive, name, about[name]) for name in ("full", "poor")}
                return cls(tuple(about["labels"]), heads["full"], heads["poor"], about["about"])
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{path} is no intent classifier ({type(error).__name__}): make it with 'zentoria-ai train'"
            ) from None


def _gate_json(head: Head) -> dict[str, Any]:
    gate = head.gate
    return {
        "weights": [round(float(one), 6) for one in gate.weights],
        "bias": round(float(gate.bias), 6),
        "threshold": round(float(gate.threshold), 6),
    }


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 9)


def _head(archive: zipfile.ZipFile, name: str, gate: dict[str, Any]) -> Head:
    parts = {
        part: np.load(io.BytesIO(archive.read(f"{name}.{part}.npy")), allow_pickle=False).astype(np.float32)
        for part in ("meaning", "words", "bias", "centres")
    }
    made = Gate(np.array(gate["weights"], np.float32), float(gate["bias"]), float(gate["threshold"]))
    return Head(**parts, gate=made)
