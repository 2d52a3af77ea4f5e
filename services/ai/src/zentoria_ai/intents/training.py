"""Trains the classifier. scikit-learn is needed here and nowhere else: it is no dependency of the service.

Of vectors: linear discriminant analysis, which has a closed form; 95.4 % on CLINC150 by itself. Of hashed words: a
linear SVM, 93.1 %; both together 96.4 %. Their scores are added, with the weights that give sentences that were not
learned from the best probabilities. The gate, which says "none of these", is a logistic regression over what that head
says of such sentences: those of the intents, and those that have none. Its threshold is set on the same sentences.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zentoria_ai.intents import features
from zentoria_ai.intents.classifier import Classifier, Gate, Head, Rows, gate_features, softmax
from zentoria_ai.intents.data import Data
from zentoria_ai.meaning.embedder import Embedder, Vectors

FOLDS = 4
WORTH = (0.03, 0.5)
"""What it is worth to find all that has no intent, where 1 is to keep all that has one and is named rightly: least and
most; between them three times the share that such sentences have in the data, which says how often they are met."""
LOST = 0.015
"""Share of the intents' sentences that may be lost where nobody said what has none."""
SHRINKAGE = (0.02, 0.7)
"""Least and most; between them 300 divided by the number of sentences: few say little of how features go together."""
MIXES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 48.0, 64.0, 96.0)
"""Weights of the words beside the vectors that are tried."""
SCALES = (0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 8.0)
"""And of both together."""
Target = NDArray[np.int_]


class TrainingError(Exception):
    """There is not enough to learn from; the text says of what."""


@dataclasses.dataclass(frozen=True)
class _Linear:
    """A linear function of features: ``rows @ weights + bias``."""

    weights: Rows
    bias: Rows

    def __call__(self, rows: Rows) -> Rows:
        return np.asarray(rows @ self.weights + self.bias, np.float32)


def train(data: Data, embedder: Embedder) -> Classifier:
    """Train on sentences.

    Raises:
        TrainingError: fewer than two intents, too few sentences of one, or no model of meaning.
    """
    labels = data.labels
    if len(labels) < 2:
        raise TrainingError(f"a classifier needs at least two intents, and there are {len(labels)}")
    numbers = {label: number for number, label in enumerate(labels)}
    known = [one for one in data.pairs if one[1] is not None]
    target = np.array([numbers[str(intent)] for _, intent in known])
    rarest = int(np.bincount(target).argmin())
    if np.bincount(target).min() < 2:
        raise TrainingError(f"intent '{labels[rarest]}' has fewer than two sentences")
    sentences = [sentence for sentence, _ in known] + [sentence for sentence, intent in data.pairs if intent is None]
    vectors = embedder.encode([features.plain(one) for one in sentences])
    if vectors is None:
        raise TrainingError("the model of meaning is not there: give its folder (model.onnx, tokenizer.json)")
    words = features.words(sentences)
    full = _head(vectors, words, target)
    poor = _head(None, words, target)
    about = {"sha256": data.sha256, "sentences": len(known), "none": len(sentences) - len(known)}
    return Classifier(labels, full, poor, about)


def _head(vectors: Vectors | None, words: Rows, target: Target) -> Head:
    """Train a head and its gate; rows after the targets' are sentences without an intent."""
    known, count = len(target), int(target.max()) + 1
    by_words, by_meaning = np.zeros((len(words), count), np.float32), np.zeros((len(words), count), np.float32)
    near = np.zeros((len(words), count), np.float32)
    for learn, hold in _folds(target):
        # Those without an intent are judged by each fold's function, and the mean is taken.
        rest = np.arange(known, len(words))
        judged = np.concatenate([hold, rest])
        share = np.where(judged < known, 1.0, 1.0 / FOLDS)[:, None].astype(np.float32)
        by_words[judged] += share * _svm(words[learn], target[learn], count)(words[judged])
        if vectors is not None:
            by_meaning[judged] += share * _lda(vectors[learn], target[learn], count)(vectors[judged])
            near[judged] += share * (vectors[judged] @ _centres(vectors[learn], target[learn], count).T)
    mix, scale = _mixed(by_meaning[:known], by_words[:known], target, with_meaning=vectors is not None)
    scores = np.asarray(scale * (by_meaning + mix * by_words), np.float32)
    whole_words = _svm(words[:known], target, count)
    if vectors is None:
        whole_meaning, centres = None, np.zeros((0, 0), np.float32)
    else:
        whole_meaning, centres = _lda(vectors[:known], target, count), _centres(vectors[:known], target, count)
    gate = _gate(scores, None if vectors is None else near / np.float32(np.sqrt(2)), target)
    bias = scale * mix * whole_words.bias + (scale * whole_meaning.bias if whole_meaning else 0.0)
    return Head(
        meaning=scale * whole_meaning.weights if whole_meaning else np.zeros((0, count), np.float32),
        words=scale * mix * whole_words.weights,
        bias=np.asarray(bias, np.float32),
        centres=centres,
        gate=gate,
    )


def _folds(target: Target) -> list[tuple[Target, Target]]:
    """Learn and hold out, so that each sentence is held out once, and each intent is in each fold where it can be."""
    order = np.argsort(target, kind="stable")
    fold = np.empty(len(target), int)
    fold[order] = np.arange(len(target)) % FOLDS
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(FOLDS)]


def _lda(rows: Rows, target: Target, count: int) -> _Linear:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    shrinkage = min(max(300 / len(rows), SHRINKAGE[0]), SHRINKAGE[1])
    priors = np.full(len(set(target)), 1 / len(set(target)))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=priors)
    return _columns(model.fit(rows.astype(np.float64), target), count)


def _svm(rows: Rows, target: Target, count: int) -> _Linear:
    from scipy.sparse import csr_matrix
    from sklearn.svm import LinearSVC

    return _columns(LinearSVC(C=0.5, random_state=0).fit(csr_matrix(rows), target), count)


def _columns(model: Any, count: int) -> _Linear:
    """A model's function with a column for each intent, also for those that it never saw; of two it knows but one."""
    coefficients, bias, seen = model.coef_, model.intercept_, model.classes_
    if len(seen) == 2 and len(coefficients) == 1:
        coefficients, bias = np.concatenate([-coefficients, coefficients]), np.concatenate([-bias, bias])
    # What all intents have in common decides nothing; without it the numbers are small, and so are their errors.
    coefficients, bias = coefficients - coefficients.mean(axis=0), bias - bias.mean()
    weights = np.zeros((coefficients.shape[1], count), np.float32)
    offsets = np.full(count, float(bias.min()) - 10.0, np.float32)
    weights[:, seen], offsets[seen] = coefficients.T, bias
    return _Linear(weights, offsets)


def _centres(vectors: Vectors, target: Target, count: int) -> Rows:
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(sums, target, vectors)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), np.float32)


def _mixed(meaning: Rows, words: Rows, target: Target, *, with_meaning: bool) -> tuple[float, float]:
    """Weight of the words, and of both, that give the right intents the highest probabilities (log loss)."""

    def loss(pair: tuple[float, float]) -> float:
        mix, scale = pair
        right = softmax(np.asarray(scale * (meaning + mix * words), np.float32))[np.arange(len(target)), target]
        return float(-np.log(np.maximum(right, 1e-9)).mean())

    mixes = MIXES if with_meaning else (1.0,)
    return min(itertools.product(mixes, SCALES), key=loss)


def _gate(scores: Rows, near: Rows | None, target: Target) -> Gate:
    from sklearn.linear_model import LogisticRegression

    known = len(target)
    seen = gate_features(scores, near)
    centre, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-6
    if len(scores) == known:  # nobody said what is none of these: what is unlike the intents' own sentences
        weights = np.zeros(seen.shape[1], np.float32)
        weights[0] = 1.0
        likely = 1 / (1 + np.exp(-np.clip(seen @ weights, -30, 30)))
        return Gate(weights, 0.0, float(np.quantile(likely, LOST)))
    belongs = np.arange(len(scores)) < known
    model = LogisticRegression(class_weight="balanced", C=1.0, max_iter=1000).fit((seen - centre) / spread, belongs)
    weights = np.asarray(model.coef_[0] / spread, np.float32)
    bias = float(model.intercept_[0] - (model.coef_[0] * centre / spread).sum())
    likely = Gate(weights, bias, 0.0).likely(seen)
    right = likely[:known][scores[:known].argmax(axis=1) == target]
    none = likely[known:]
    worth = min(max(3 * len(none) / known, WORTH[0]), WORTH[1])

    def gained(at: float) -> float:
        return float((right >= at).sum() / known + worth * (none < at).mean())

    return Gate(weights, bias, float(max(np.unique(likely), key=gained)))
