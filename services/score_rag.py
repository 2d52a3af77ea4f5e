"""Retrieval on this machine alone: a folder of documents, and questions with their pages, to recall by page.

``.venv/bin/python services/score_rag.py score FOLDER QUESTIONS.jsonl``; ``calibrate`` in place of ``score`` gives the
bound from which on documents support an answer. It has a PostgreSQL of its own, and the small embedding model in this
process (its weights are fetched once). In a guest, ``zentoria-rag score`` does the same with what is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from pydantic import SecretStr
from zentoria_engine.embedder import Embedder
from zentoria_rag.scoring.command import bounds, configure, measured, scores
from zentoria_rag.scoring.measure import BadQuestions
from zentoria_rag.services import Services, make_services
from zentoria_rag.settings import Secrets, Settings
from zentoria_schema import embedded
from zentoria_schema.embedded import PostgresServer

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
"""What bge-small-en-v1.5 wants before a question, as its card says."""


class BgeEngine:
    """The small embedding model in this process."""

    def __init__(self, folder: Path) -> None:
        self._model = Embedder(folder, 512, 2)

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        """Vectors of texts."""
        return await asyncio.to_thread(self._embed, texts)

    async def close(self) -> None:
        """Nothing to give back: the process ends, or another test goes on with it."""

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        tokens = [one[:512] for one in self._model.tokens(texts)]
        found: list[list[float]] = [[]] * len(texts)
        for batch in self._model.batches(tokens):
            vectors = self._model.embed([tokens[number] for number in batch])
            for number, vector in zip(batch, vectors, strict=True):
                found[number] = [float(value) for value in vector]
        return found


@contextlib.asynccontextmanager
async def opened(postgres: PostgresServer, database: str, engine: BgeEngine) -> AsyncIterator[Services]:
    """Retrieval over a database, with that model; no object storage is asked."""
    values = {
        "database_host": postgres.host, "database_port": postgres.port, "database_name": database,
        "database_user": "embeddings", "s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "none",
        "embedding_query_prefix": QUERY_PREFIX,
    }  # fmt: skip
    services = make_services(
        Settings.model_validate(values), Secrets(SecretStr("unused"), SecretStr("unused")), engine=engine
    )
    try:
        yield services
    finally:
        await services.close()


async def _run(options: argparse.Namespace, postgres: PostgresServer) -> int:
    from tests.support import weights

    async with opened(postgres, postgres.migrated("score", "zentoria_vectors"), BgeEngine(weights.embedding())) as made:
        try:
            done, asked = await measured(made, options.folder, options.questions)
        except BadQuestions as error:
            print(f"score_rag: {error}", file=sys.stderr)
            return 1
        result = bounds(made, asked) if options.command == "calibrate" else scores(made, asked)
    print(json.dumps(done | result, indent=2, ensure_ascii=False))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="score_rag", description="Recall by page of a folder of documents.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("score", "calibrate"):
        configure(commands.add_parser(name))
    options = parser.parse_args(arguments)
    with embedded.postgres_server() as postgres:
        return asyncio.run(_run(options, postgres))


if __name__ == "__main__":
    sys.exit(main())
