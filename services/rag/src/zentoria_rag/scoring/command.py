"""``zentoria-rag score`` and ``calibrate``: a folder of documents, and questions with their pages."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zentoria_common.problems import Unavailable
from zentoria_common.program import Command

from zentoria_rag.scoring import run as scoring
from zentoria_rag.scoring.measure import BadQuestions, Found, Question, calibrated, questions, report
from zentoria_rag.search.support import Support
from zentoria_rag.services import Services, make_services
from zentoria_rag.settings import Secrets, Settings

Asked = Sequence[tuple[Question, Sequence[Found]]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="documents: PDFs and whatever else is read")
    parser.add_argument(
        "questions",
        type=Path,
        metavar="QUESTIONS.jsonl",
        help='an object a line: {"question": ..., "file": "a.pdf", "pages": [3]}; no pages: no answer is there',
    )
    parser.add_argument("--keep", action="store_true", help="keep what was read, for the next time")


async def measured(
    services: Services, folder: Path, listed: Path, *, keep: bool = False
) -> tuple[dict[str, Any], Asked]:
    """Read, ask, and forget: what reading came to, and what each question found.

    Raises:
        BadQuestions: the file or the folder cannot be used.
        Unavailable: something does not answer.
    """
    if not folder.is_dir():
        raise BadQuestions(f"{folder} is no folder")
    try:
        asked = questions(listed.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise BadQuestions(f"{listed}: {error}") from None
    try:
        done = await scoring.read(services, folder, lambda text: print(text, file=sys.stderr, flush=True))
        return {"read": dataclasses.asdict(done)}, await scoring.ask(services, asked)
    finally:
        if not keep:
            await scoring.forget(services)


def scores(services: Services, asked: Asked) -> dict[str, Any]:
    """Recall by page, and what the settings' bound refuses."""
    return report(asked, Support(services.settings.supported_bound, services.settings.supported_words))


def bounds(services: Services, asked: Asked) -> dict[str, Any]:
    """The bound that parts best, as settings."""
    found = calibrated(asked)
    return {
        **dataclasses.asdict(found),
        "settings": {"supported_bound": found.bound, "supported_words": found.words},
        "as_set": scores(services, asked),
    }


def _command(name: str, words: str, result: Callable[[Services, Asked], dict[str, Any]]) -> Command[Settings, Secrets]:
    async def run(settings: Settings, secrets: Secrets, options: argparse.Namespace) -> int:
        services = make_services(settings, secrets)
        try:
            done, asked = await measured(services, options.folder, options.questions, keep=options.keep)
            print(json.dumps(done | result(services, asked), indent=2, ensure_ascii=False))
        except (BadQuestions, Unavailable) as error:
            told = error.detail if isinstance(error, Unavailable) else str(error)
            sys.stderr.write(f"zentoria-rag: {name}: {told}\n")
            return 1
        finally:
            await services.close()
        return 0

    return Command(name, words, configure, run)


SCORE = _command("score", "how often questions find their pages: recall by page", scores)
CALIBRATE = _command("calibrate", "the score from which on documents support an answer, from questions", bounds)
