"""The client of Paperless-ngx's documented API (https://docs.paperless-ngx.com/api/), version 9."""

from __future__ import annotations

import datetime
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from pydantic import SecretStr, ValidationError
from zentoria_common.problems import Problem, Unavailable

from zentoria_ocr.paperless.schemas import Document, Documents, Status, Task

VERSION = 9
"""Of the API: what 2.16 and newer speak, and 3 as well."""
PAGE_SIZE = 100
SECONDS = 30.0
TRANSFER_SECONDS = 300.0
_DUPLICATE = re.compile(r"duplicate", re.IGNORECASE)


class Paperless:
    """Asks one Paperless-ngx. Nothing connects before it is used.

    Args:
        url: as ``http://127.0.0.1:8000``.
        token: of the account whose documents these are.
        transport: for tests.
    """

    def __init__(self, url: str, token: SecretStr, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={
                "authorization": f"Token {token.get_secret_value()}",
                "accept": f"application/json; version={VERSION}",
            },
            timeout=httpx2.Timeout(SECONDS, connect=5.0),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Give connections back."""
        await self._client.aclose()

    async def status(self) -> Status:
        """Whether it answers, to this token, in this version of the API."""
        try:
            answer = await self._ask("GET", "/api/tags/", params={"page_size": "1"})
        except Problem as error:
            return Status(state="away", reason=error.detail)
        return Status(state="ready", version=answer.headers.get("x-version"))

    async def consume(
        self,
        content: bytes,
        *,
        filename: str,
        mime: str = "application/octet-stream",
        title: str | None = None,
        created: datetime.date | None = None,
        tags: Sequence[str] = (),
    ) -> str:
        """Put a document in; returns the id of the task that reads it.

        Args:
            content: its bytes.
            filename: it is to be known by.
            mime: what it is.
            title: without one, the file's name.
            created: the day that it is of.
            tags: names; those that are not there are made.

        Raises:
            Problem: it is not taken.
            Unavailable: it does not answer.
        """
        fields: dict[str, Any] = {"tags": [str(one) for one in await self._tag_ids(tags)]}
        if title:
            fields["title"] = title
        if created:
            fields["created"] = created.isoformat()
        answer = await self._ask(
            "POST", "/api/documents/post_document/", data=fields, files={"document": (filename, content, mime)},
            timeout=TRANSFER_SECONDS,
        )  # fmt: skip
        task = _json(answer)
        if not isinstance(task, str):
            raise _strange()
        return task

    async def task(self, task_id: str) -> Task:
        """How far it is with what was put in.

        Raises:
            Problem: there is no such task.
            Unavailable: it does not answer.
        """
        found = _json(await self._ask("GET", "/api/tasks/", params={"task_id": task_id}))
        rows = found.get("results") if isinstance(found, dict) else found  # version 10 has pages
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _strange()
        if not rows:
            raise Problem(404, "Paperless-ngx knows no such task", kind="no-such-task")
        row, status = rows[0], str(rows[0].get("status", "")).upper()
        if status == "SUCCESS":
            related = row.get("related_document") or (row.get("related_document_ids") or [None])[0]
            return Task(state="done", document_id=None if related is None else int(related))
        if status in ("FAILURE", "REVOKED"):
            detail = (
                "it has this document already" if _DUPLICATE.search(str(row.get("result"))) else "it cannot read it"
            )
            return Task(state="failed", detail=detail)
        return Task(state="waiting")

    async def documents(self, *, modified_after: datetime.datetime | None = None, page: int = 1) -> Documents:
        """Documents that are there, by the time of their last change, the oldest first; each with its tags.

        Args:
            modified_after: of those that were changed since.
            page: from 1.

        Raises:
            Unavailable: it does not answer.
        """
        asked = {"ordering": "modified", "page": str(page), "page_size": str(PAGE_SIZE)}
        if modified_after is not None:
            asked["modified__gt"] = modified_after.isoformat()
        found = _json(await self._ask("GET", "/api/documents/", params=asked))
        names = await self._tags()
        try:
            documents = tuple(_document(row, names) for row in found["results"])
            following = parse_qs(urlsplit(found.get("next") or "").query).get("page")
            return Documents(
                documents=documents, count=found["count"], next_page=int(following[0]) if following else None
            )
        except (KeyError, TypeError, ValueError):
            raise _strange() from None

    async def document(self, number: int) -> Document:
        """One document, with its tags.

        Raises:
            Problem: there is none of that number.
            Unavailable: it does not answer.
        """
        found = _json(await self._ask("GET", f"/api/documents/{number}/"))
        try:
            return _document(found, await self._tags())
        except (KeyError, TypeError, ValueError):
            raise _strange() from None

    async def download(self, number: int, most: int) -> AsyncIterator[bytes]:
        """The file that was put in, in chunks.

        Args:
            number: of the document.
            most: bytes that it may have.

        Raises:
            Problem: there is none of that number, or it is larger.
            Unavailable: it does not answer, or stops in the middle.
        """
        try:
            async with self._client.stream(
                "GET", f"/api/documents/{number}/download/", params={"original": "true"}, timeout=TRANSFER_SECONDS
            ) as answer:
                _judge(answer)
                size = 0
                async for chunk in answer.aiter_bytes():
                    size += len(chunk)
                    if size > most:
                        raise Problem(413, "the document is larger than what is taken", kind="document-too-large")
                    yield chunk
        except httpx2.HTTPError:
            raise Unavailable("paperless", "Paperless-ngx does not answer at the moment") from None

    async def _tags(self) -> Mapping[int, str]:
        names: dict[int, str] = {}
        page: int | None = 1
        while page is not None:
            found = _json(await self._ask("GET", "/api/tags/", params={"page": str(page), "page_size": "1000"}))
            try:
                names |= {int(row["id"]): str(row["name"]) for row in found["results"]}
                page = page + 1 if found.get("next") else None
            except (KeyError, TypeError, ValueError):
                raise _strange() from None
        return names

    async def _tag_ids(self, wanted: Sequence[str]) -> list[int]:
        if not wanted:
            return []
        known = {name.casefold(): number for number, name in (await self._tags()).items()}
        for name in wanted:
            if name.casefold() not in known:
                made = _json(await self._ask("POST", "/api/tags/", json={"name": name}))
                try:
                    known[name.casefold()] = int(made["id"])
                except (KeyError, TypeError, ValueError):
                    raise _strange() from None
        return sorted({known[name.casefold()] for name in wanted})

    async def _ask(self, method: str, path: str, **values: Any) -> httpx2.Response:
        try:
            answer = await self._client.request(method, path, **values)
        except httpx2.HTTPError:
            raise Unavailable("paperless", "Paperless-ngx does not answer at the moment") from None
        _judge(answer)
        return answer


def _judge(answer: httpx2.Response) -> None:
    if answer.status_code in (401, 403):
        raise Unavailable("paperless", "Paperless-ngx does not take our token: make a new one and supply it")
    if answer.status_code == 404:
        raise Problem(404, "Paperless-ngx has no such document", kind="no-such-document")
    if answer.status_code == 406:
        raise Unavailable("paperless", f"Paperless-ngx does not speak version {VERSION} of its API: update it")
    if answer.status_code >= 500 or answer.is_redirect:
        raise Unavailable("paperless", "Paperless-ngx does not answer as it should")
    if answer.is_error:
        raise Problem(422, "Paperless-ngx does not take what was sent", kind="not-taken")


def _json(answer: httpx2.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        raise _strange() from None


def _document(row: Any, names: Mapping[int, str]) -> Document:
    tags = tuple(names[number] for number in row.get("tags", ()) if number in names)
    try:
        return Document.model_validate({**row, "tags": tags})
    except ValidationError as error:
        raise ValueError(str(error.error_count())) from None


def _strange() -> Unavailable:
    return Unavailable("paperless", "Paperless-ngx answers in a form that is not known")
