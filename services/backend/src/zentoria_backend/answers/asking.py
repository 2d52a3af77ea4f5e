"""One question, one whole answer: for programs that take no streams. Nothing of it is kept."""

from __future__ import annotations

import contextlib
import secrets
import uuid
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from zentoria_common.problems import Problem

from zentoria_backend.access.principal import Principal
from zentoria_backend.answers.service import Written
from zentoria_backend.callees import ndjson
from zentoria_backend.callees.service import passed_on
from zentoria_backend.files.service import Content
from zentoria_backend.services import Services


class Citation(BaseModel):
    """Where a part of an answer stands."""

    n: int
    chunk_id: UUID
    file_id: UUID
    version: int
    filename: str
    page: int | None = None
    passage: str = ""
    start: int | None = None
    end: int | None = None


class Answer(BaseModel):
    """A whole answer."""

    text: str
    refused: bool
    citations: list[Citation]
    model: str | None = None


async def ask(services: Services, principal: Principal, question: str, project: str | None) -> Answer:
    """Have a question answered from the caller's documents.

    Raises:
        Problem: 503, a container or a model is away; 502.
    """
    spoken = services.callees.spoken_for("embeddings", principal)
    body: dict[str, Any] = {
        "conversation_id": str(uuid.uuid4()),
        "message_id": str(uuid.uuid4()),
        "messages": [{"role": "user", "content": question}],
        "documents": "always",
        "memory": [],
        **({"filters": {"project": project}} if project else {}),
    }
    written = Written()
    async with (
        services.callees.stream(
            "ai",
            "POST",
            "/v1/answers",
            user=principal,
            json=body,
            headers={"zentoria-user-for-embeddings": spoken} if spoken else None,
            silence=services.settings.stream_silence,
        ) as answer,
        contextlib.aclosing(ndjson.events(answer, "ai")) as events,
    ):
        async for event in events:
            written.take(event.pop("event"), event)
    done = written.done or {}
    return Answer(
        text=written.text,
        refused=bool(done.get("refused")),
        citations=[Citation.model_validate(one) for one in written.citations],
        model=done.get("model"),
    )


async def transcribed(
    services: Services, principal: Principal, content: Content, chunks: AsyncIterator[bytes], language: str | None
) -> dict[str, Any]:
    """What the container that hears says of a file: a form is made of it as it is read.

    Raises:
        Problem: 413, 415, 422 as it says; 503, it is away.
    """
    if content.size > services.settings.audio_max_bytes:
        raise Problem(413, f"the recording is larger than {services.settings.audio_max_bytes} bytes")
    border = secrets.token_hex(16)
    fields = {"response_format": "verbose_json", **({"language": language} if language else {})}
    head = "".join(
        f'--{border}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    end = content.filename.rpartition(".")[2].lower()
    name = f"recording.{end}" if end.isalnum() and end.isascii() and len(end) <= 5 else "recording"
    head += f'--{border}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
    head += f"content-type: {content.mime_type}\r\n\r\n"

    async def form() -> AsyncIterator[bytes]:
        yield head.encode()
        async for chunk in chunks:
            yield chunk
        yield f"\r\n--{border}--\r\n".encode()

    async with services.callees.stream(
        "voice",
        "POST",
        "/v1/audio/transcriptions",
        user=principal,
        content=form(),
        headers={"content-type": f"multipart/form-data; boundary={border}"},
        silence=services.settings.stream_silence * 5,
    ) as answer:
        await answer.aread()
    told = passed_on(answer, "voice")
    return told if isinstance(told, dict) else {"text": str(told)}
