"""``zentoria-ai train`` and ``score-intents``: they need no settings and no other service."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from zentoria_ai.intents import features
from zentoria_ai.intents.classifier import Classifier, ModelError, Prediction
from zentoria_ai.intents.data import Data, DataError, read
from zentoria_ai.meaning.embedder import Embedder

FOLDER = Path("/var/lib/ollama/models/bge-small-en-v1.5")


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    train = commands.add_parser("train", help="train the intent classifier on a file of sentences and their intents")
    train.add_argument(
        "data", type=Path, help="YAML, JSON or JSONL: [sentence, intent]; intent null, none or oos: none of these"
    )
    train.add_argument("--out", type=Path, required=True, help="the file of the classifier")
    score = commands.add_parser(
        "score-intents", help="judge sentences, write predictions with scores, and say how many are right"
    )
    score.add_argument("test", type=Path, help="[sentence, intent] of sentences to judge")
    score.add_argument("--train", type=Path, help="sentences to learn from first")
    score.add_argument("--classifier", type=Path, help="in place of --train: one that was trained before")
    score.add_argument("--out", type=Path, help="where predictions go, as JSONL (default: nowhere)")
    score.add_argument("--part", help="of a file with several lists, the ones to judge, as val: val and oos_val")
    score.add_argument("--curve", action="store_true", help="show accuracy and recall at other thresholds too")
    for one in (train, score):
        one.add_argument(
            "--model", type=Path, default=FOLDER, help="folder of the model of meaning (default: %(default)s)"
        )
        one.add_argument(
            "--train-part", help="of a file with several lists, the ones to learn from, as train: train and oos_train"
        )


def run(options: argparse.Namespace) -> int:
    """Do what a command says; returns the exit code."""
    try:
        return _train(options) if options.command == "train" else _score(options)
    except (DataError, ModelError) as error:
        print(f"zentoria-ai {options.command}: {error}", file=sys.stderr)
        return 1


def _trained(path: Path, options: argparse.Namespace) -> Classifier:
    from zentoria_ai.intents import training

    data = read(path, options.train_part)
    try:
        return training.train(data, Embedder(options.model, threads=2))
    except training.TrainingError as error:
        raise DataError(f"train on {path}: {error}") from None
    except ImportError as error:
        raise DataError(f"train on {path}: {error.name} is not installed: pip install scikit-learn") from None


def _train(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    made = _trained(options.data, options)
    made.write(options.out)
    took = time.perf_counter() - started
    print(
        f"{options.out}: {len(made.labels)} intents of {made.about['sentences']} sentences in {took:.1f} s",
        file=sys.stderr,
    )
    return 0


def _score(options: argparse.Namespace) -> int:
    if (options.train is None) == (options.classifier is None):
        raise DataError("say what judges: --train FILE or --classifier FILE")
    made = Classifier.read(options.classifier) if options.classifier else _trained(options.train, options)
    data = read(options.test, options.part)
    embedder = Embedder(options.model, threads=2)
    sentences = [sentence for sentence, _ in data.pairs]
    vectors = embedder.encode([features.plain(one) for one in sentences])
    found = made.judge(vectors, features.words(sentences))
    if options.out is not None:
        with options.out.open("w", encoding="utf-8") as out:
            for (sentence, intent), one in zip(data.pairs, found, strict=True):
                out.write(json.dumps(_line(sentence, intent, one), ensure_ascii=False) + "\n")
    print(json.dumps(report(data, found, made, embedder, curve=options.curve), indent=2))
    return 0


def _line(sentence: str, intent: str | None, found: Prediction) -> dict[str, object]:
    return {
        "sentence": sentence,
        "intent": intent,
        "predicted": found.intent,
        "confidence": found.confidence,
        "in_scope": found.likely,
        "scores": dict(found.ranked[:5]),
    }


def report(
    data: Data, found: list[Prediction], made: Classifier, embedder: Embedder, *, curve: bool
) -> dict[str, object]:
    """Accuracy on sentences that have an intent, recall of those that have none, and how long one takes."""
    inside = np.array([intent is not None for _, intent in data.pairs])
    right = np.array([one.ranked[0][0] == intent for one, (_, intent) in zip(found, data.pairs, strict=True)])
    refused = np.array([one.intent is None for one in found])
    likely = np.array([one.likely for one in found])
    result: dict[str, object] = {"sentences": len(found), "intents": len(made.labels), "meaning": embedder.ready}
    result |= _rates(inside, right, refused)
    if curve:
        result["curve"] = [
            {"threshold": round(float(at), 4), **_rates(inside, right, likely < at)}
            for at in np.unique(np.quantile(likely, np.linspace(0, 0.3, 16)))
        ]
    times = []
    for sentence, _ in data.pairs[:200]:
        start = time.perf_counter()
        made.predict([sentence], embedder)
        times.append((time.perf_counter() - start) * 1000)
    return result | {
        "milliseconds": {
            "p50": round(float(np.quantile(times, 0.5)), 1),
            "p95": round(float(np.quantile(times, 0.95)), 1),
        }
    }


def _rates(inside: np.ndarray, right: np.ndarray, refused: np.ndarray) -> dict[str, float]:
    rates = {}
    if inside.any():
        rates["in_scope_accuracy"] = round(float((right & ~refused)[inside].mean()), 4)
    if (~inside).any():
        rates["out_of_scope_recall"] = round(float(refused[~inside].mean()), 4)
    return rates
