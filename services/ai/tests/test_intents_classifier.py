"""Intents: the shipped classifier, training, files of sentences, and the commands."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from ai_kit import ROOT, classifier
from zentoria_ai import main
from zentoria_ai.intents import training
from zentoria_ai.intents.classifier import Classifier, ModelError
from zentoria_ai.intents.data import Data, DataError, read
from zentoria_ai.meaning.embedder import Embedder, Vectors

SENTENCES = ROOT / "services/ai/intents/intents.yaml"
ANIMALS, TREES = ("cat", "dog", "horse", "cow", "mouse", "bird"), ("oak", "pine", "birch", "elm", "ash", "beech")
PAIRS = [
    *((f"{verb} the {one}", "animal") for one in ANIMALS for verb in ("feed", "pet", "walk")),
    *((f"{verb} the {one}", "tree") for one in TREES for verb in ("plant", "cut", "water")),
    *((f"{verb} a {thing}", None) for thing in ("car", "song", "cloud") for verb in ("sell", "hum", "paint", "wash")),
]


class Bag(Embedder):
    """Stands for a model of meaning: a text's vector is the sum of its words'."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))

    @property
    def ready(self) -> bool:
        return True

    def encode(self, texts: object) -> Vectors:
        rows = []
        for text in texts:  # type: ignore[attr-defined] # a list of texts
            made = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=16) for word in text.split()]
            row = np.sum(made, axis=0)
            rows.append(np.concatenate([row, row]) / np.linalg.norm(row))
        return np.array(rows, np.float32)


def test_the_shipped_classifier_was_trained_on_the_file_in_this_repository() -> None:
    made = classifier()
    assert made.about["sha256"] == hashlib.sha256(SENTENCES.read_bytes()).hexdigest(), (
        "zentoria-ai train services/ai/intents/intents.yaml --out services/ai/src/zentoria_ai/intents/intents.model"
    )
    assert made.labels == read(SENTENCES).labels


def test_training_gives_the_same_file_each_time_and_names_what_it_learned(tmp_path: Path) -> None:
    data = Data(tuple(PAIRS), "0" * 64)
    for name in ("a", "b"):
        training.train(data, Bag()).write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    made = Classifier.read(tmp_path / "a")
    for embedder in (Bag(), None):
        found = made.predict(["feed the horse", "plant the elm", "hum a cloud"], embedder)
        assert [one.intent for one in found] == ["animal", "tree", None]
        assert all(0 <= one.confidence <= 1 for one in found)


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [([("a", "x"), ("b", "x")], "two intents"), ([("a", "x"), ("b", "x"), ("c", "y")], "fewer than two sentences")],
)
def test_too_little_to_learn_from_is_told(pairs: list[tuple[str, str | None]], complaint: str) -> None:
    with pytest.raises(training.TrainingError, match=complaint):
        training.train(Data(tuple(pairs), ""), Bag())


def test_files_of_sentences(tmp_path: Path) -> None:
    listed = [["one", "a"], ["two", None], ["three", "oos"]]
    wanted = (("one", "a"), ("two", None), ("three", None))
    (tmp_path / "a.json").write_text(json.dumps(listed))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(one) for one in listed))
    (tmp_path / "b.json").write_text(json.dumps({"train": listed[:1], "oos_train": listed[1:], "val": [["x", "y"]]}))
    assert read(tmp_path / "a.json").pairs == wanted
    assert read(tmp_path / "a.jsonl").pairs == wanted
    assert read(tmp_path / "b.json", "train").pairs == wanted
    assert len(read(tmp_path / "b.json").pairs) == 4


BAD = ["", "[]", "{", "[1]", '[["a"]]', '[["", "x"]]', '[["a", 3]]', '"x"', "[" * 100_000, "\xff", '{"val": 3}']


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_files_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"bad\.json"):
        read(path)
    (tmp_path / "bad.yaml").write_text("intents: [", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.yaml"):
        read(tmp_path / "bad.yaml")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"{}"])
def test_a_file_that_is_no_classifier_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelError, match="zentoria-ai train"):
        Classifier.read(tmp_path / "m")


def test_the_commands_say_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(PAIRS))
    for arguments in (
        ["train", str(tmp_path / "none.json"), "--out", str(tmp_path / "m")],
        ["train", str(tmp_path / "a.json"), "--out", str(tmp_path / "m"), "--model", str(tmp_path)],
        ["score-intents", str(tmp_path / "a.json")],
        ["score-intents", str(tmp_path / "a.json"), "--classifier", str(tmp_path / "a.json")],
    ):
        with pytest.raises(SystemExit) as ended:
            main.run(arguments)
        assert ended.value.code == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_scoring_writes_predictions_with_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training.train(Data(tuple(PAIRS), "0" * 64), Bag()).write(tmp_path / "m")
    (tmp_path / "a.json").write_text(json.dumps(PAIRS))
    out = tmp_path / "out.jsonl"
    with pytest.raises(SystemExit) as ended:
        # without weights it judges by words alone, and says so
        main.run(["score-intents", str(tmp_path / "a.json"), "--classifier", str(tmp_path / "m"), "--out", str(out),
                  "--model", str(tmp_path), "--curve"])  # fmt: skip
    assert ended.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["meaning"] is False
    assert report["in_scope_accuracy"] > 0.9
    assert report["milliseconds"]["p95"] > 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["sentence"], one["intent"]) for one in lines] == [tuple(one) for one in PAIRS]
    assert set(lines[0]) == {"sentence", "intent", "predicted", "confidence", "in_scope", "scores"}
