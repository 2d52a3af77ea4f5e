"""``zentoria-ai score-answers``: a folder of documents and questions with facts, asked of a running site.

It goes the way that people go: the documents are uploaded through the gateway with an API key, read there, asked about,
and deleted again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from zentoria_ai.scoring.measure import Answered, BadQuestions, Expected, expected, is_cited, is_right, report

POLL_SECONDS = 1.0
READ_SECONDS = 3600.0
"""That a document may take to be read."""
ANSWER_SECONDS = 900.0
NOBODY = 10
"""Times that a file without a state is looked at again."""
_ENDED = frozenset({"ready", "failed", "needs_a_look"})


class ScoreError(Exception):
    """The site does not do what is asked; the text says what."""


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    score = commands.add_parser("score-answers", help="ask a running site about documents: right, cited, refused")
    score.add_argument("folder", type=Path, metavar="FOLDER", help="documents; all of them are uploaded")
    score.add_argument(
        "questions",
        type=Path,
        metavar="QUESTIONS.jsonl",
        help='an object a line: {"question": ..., "facts": ["1,250"], "file": "a.pdf", "pages": [3]}; none: no answer',
    )
    score.add_argument("--url", required=True, help="of the site, as https://zentoria.home.arpa")
    score.add_argument("--key-file", type=Path, required=True, help="an API key with files:* and chat:*, 0600")
    score.add_argument("--ca-file", type=Path, help="the site's CA, where the system does not know it")
    score.add_argument("--documents", choices=("auto", "always"), default="auto", help="default: %(default)s")
    score.add_argument("--keep", action="store_true", help="leave the documents there")
    score.add_argument("--out", type=Path, help="where answers go, as JSONL")


def run(options: argparse.Namespace, transport: httpx2.AsyncBaseTransport | None = None) -> int:
    """Do it; returns the exit code."""
    try:
        asked = expected(options.questions.read_text(encoding="utf-8").splitlines())
        if not options.folder.is_dir():
            raise ScoreError(f"{options.folder} is no folder")
        key = options.key_file.read_text(encoding="ascii").strip()
        return asyncio.run(_run(options, asked, key, transport))
    except (ScoreError, BadQuestions, OSError, UnicodeDecodeError, httpx2.HTTPError) as error:
        print(f"zentoria-ai score-answers: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


async def _run(
    options: argparse.Namespace, asked: list[Expected], key: str, transport: httpx2.AsyncBaseTransport | None
) -> int:
    verify = ssl.create_default_context(cafile=os.fspath(options.ca_file)) if options.ca_file else True
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(
        base_url=options.url, headers=headers, timeout=60, verify=verify, transport=transport
    ) as client:
        site = Site(client)
        files = {}
        try:
            for path in sorted(one for one in options.folder.rglob("*") if one.is_file() and one.name[0] != "."):
                files[path.name] = await site.upload(path)
            found = []
            start = time.perf_counter()
            for question in asked:
                answer = await site.ask(question.text, options.documents)
                found.append((question, answer))
                mark = "right" if is_right(question, answer) else "wrong"
                print(f"{mark}: {question.text}", file=sys.stderr, flush=True)
            seconds = round((time.perf_counter() - start) / len(asked), 2)
        finally:
            if not options.keep:
                for file_id in files.values():
                    await site.delete(file_id)
    if options.out is not None:
        with options.out.open("w", encoding="utf-8") as out:
            for question, answer in found:
                out.write(json.dumps(_line(question, answer), ensure_ascii=False) + "\n")
    print(json.dumps({"documents": len(files), **report(found), "seconds_per_question": seconds}, indent=2))
    return 0


def _line(question: Expected, answer: Answered) -> dict[str, Any]:
    return {
        "question": question.text,
        "answer": answer.text,
        "right": is_right(question, answer),
        "cited": is_cited(question, answer),
        "refused": answer.refused,
        "citations": answer.cited,
        "error": answer.error,
    }


class Site:
    """A running site, as its users meet it.

    Args:
        client: with the key, and the site's URL.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def upload(self, path: Path) -> str:
        """Upload a document and wait until it was read; returns its id.

        Raises:
            ScoreError: it was refused, or could not be read.
        """
        data = await asyncio.to_thread(path.read_bytes)
        kind = {"content-type": "application/octet-stream"}
        accepted = await self._json(
            "PUT", "/api/v1/uploads", params={"filename": path.name}, content=data, headers=kind
        )
        job = accepted["job"]
        async with asyncio.timeout(READ_SECONDS):
            file_id = str(job.get("file_id") or await self._file_of(str(job["id"]), path.name))
            # Whether somebody reads such a file stands there a moment after the file does.
            for number in itertools.count():
                answer = await self._client.get(f"/api/v1/files/{file_id}/pages")
                state = answer.json().get("state") if answer.status_code == 200 else "waiting"
                if state in _ENDED or (state is None and number >= NOBODY):
                    break
                await asyncio.sleep(POLL_SECONDS)
        if state != "ready":
            print(f"{path.name}: {state or 'nobody reads such files'}", file=sys.stderr, flush=True)
        return file_id

    async def _file_of(self, job: str, name: str) -> str:
        while True:
            found = await self._json("GET", f"/api/v1/jobs/{job}")
            result = found.get("result") or {}
            if file_id := found.get("file_id") or result.get("file_id"):
                return str(file_id)
            if found.get("state") in ("failed", "cancelled"):
                raise ScoreError(f"{name} was not taken: {found.get('error')}")
            await asyncio.sleep(POLL_SECONDS)

    async def ask(self, question: str, documents: str) -> Answered:
        """Ask in a conversation of its own, and hear the answer to its end."""
        conversation = (await self._json("POST", "/api/v1/conversations", json={}))["id"]
        try:
            path = f"/api/v1/conversations/{conversation}/answers"
            begun = await self._json("POST", path, json={"content": question, "documents": documents})
            cited: list[tuple[str, int | None]] = []
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._client.stream("GET", f"{path}/{begun['answer_id']}/events", timeout=ANSWER_SECONDS) as stream,
            ):
                name = ""
                async for line in stream.aiter_lines():
                    field, _, value = line.partition(":")
                    if field == "event":
                        name = value.strip()
                    elif field == "data":
                        event = json.loads(value)
                        if name == "citation":
                            cited.append((str(event["filename"]), event.get("page")))
                        elif name == "done":
                            return Answered(str(event["text"]), bool(event.get("refused")), tuple(cited))
                        elif name == "error":
                            return Answered("", False, error=str(event.get("detail") or event.get("title")))
            return Answered("", False, error="the stream ended before the answer did")
        except TimeoutError:
            return Answered("", False, error=f"no answer in {ANSWER_SECONDS:g} s")
        finally:
            await self._client.delete(f"/api/v1/conversations/{conversation}")

    async def delete(self, file_id: str) -> None:
        """Delete a document."""
        await self._client.delete(f"/api/v1/files/{file_id}")

    async def _json(self, method: str, path: str, **more: Any) -> Mapping[str, Any]:
        answer = await self._client.request(method, path, **more)
        if answer.status_code >= 400:
            raise ScoreError(f"{method} {path} gave {answer.status_code}: {answer.text[:300]}")
        found: Mapping[str, Any] = answer.json()
        return found
