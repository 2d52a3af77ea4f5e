"""Makes an answer: looks for passages, asks the model, and checks in code what it says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import structlog
from zentoria_common.engine import Delta, EngineError, Usage

from zentoria_ai.answers import need
from zentoria_ai.answers.budget import Fitted, Parts, fit
from zentoria_ai.answers.cache import AnswerCache
from zentoria_ai.answers.citations import Matcher, Similar
from zentoria_ai.answers.facts import Grounds, unsupported
from zentoria_ai.answers.prompts import PromptError, Prompts
from zentoria_ai.answers.schemas import (
    Citation,
    Done,
    Dropped,
    Event,
    Failed,
    Question,
    Source,
    Status,
    TextDelta,
    Tokens,
)
from zentoria_ai.answers.sentences import Cutter, Sentence
from zentoria_ai.engine.external import PROVIDERS, provider_of
from zentoria_ai.engine.model import Engine, Message, kind_of
from zentoria_ai.retrieval.client import Found, Hit, Retrieval, RetrievalError

PASSAGES = 5
TURNS = 20
"""Turns of a conversation that are looked at; older ones are search's matter."""
FOLLOW_UP_TURNS = 4
_log = structlog.stdlib.get_logger("zentoria_ai.answers")


class Understands(Protocol):
    """Names the intent of a sentence, and says how near sentences are."""

    def intent(self, text: str) -> str | None:
        """The intent's name; None: none of these."""

    def similar(self, passages: Sequence[str]) -> Similar | None:
        """Compares by meaning; None while there is no model for it."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Tokens of prompt and answer together, and of an answer."""

    context_tokens: int
    answer_tokens: int
    silence: float = 20.0
    """Seconds without a word, after which it is told that the model is still at it: the gateway waits for minutes."""


@dataclasses.dataclass(frozen=True)
class Who:
    """For whom an answer is made.

    Args:
        user_id: the user.
        retrieval: the gateway's word for it, made for retrieval's container; None: documents are not asked for.
    """

    user_id: int
    retrieval: str | None


class Answers:
    """Makes answers.

    Args:
        engines: the engine of a model, by its name.
        retrieval: where passages come from; None: there are none.
        prompts: the system prompts.
        cache: of answers that are the same each time.
        understands: the intent of a question, and meanings.
        model: the one that is taken when none is chosen.
        limits: of each answer.
    """

    def __init__(
        self,
        engines: Callable[[str], Engine],
        retrieval: Retrieval | None,
        prompts: Prompts,
        cache: AnswerCache,
        understands: Understands,
        model: str,
        limits: Limits,
    ) -> None:
        self._engines, self._retrieval, self._prompts, self._cache = engines, retrieval, prompts, cache
        self._understands, self._model, self._limits = understands, model, limits

    async def answer(self, question: Question, who: Who) -> AsyncGenerator[Event]:
        """Make one. The last event is ``done`` or ``error``; closing it ends the generation."""
        try:
            async with contextlib.aclosing(self._answer(question, who)) as events:
                async for event in events:
                    yield event
        except EngineError as error:
            after = None if error.retry_after is None else int(error.retry_after)
            yield failed(kind_of(error), str(error), after or (5 if error.retry else None))
        except PromptError as error:
            yield failed("prompt-missing", str(error))
        except Exception as error:  # the stream is under way: only an event can tell
            _log.error("answer failed", exc_info=error)
            yield failed(
                "internal", "the answer could not be made; the log of the orchestrator has the reason", status=500
            )

    async def _answer(self, question: Question, who: Who) -> AsyncGenerator[Event]:
        asked = question.messages[-1].content
        found, wanted = Found(), await self._wanted(question, asked)
        if wanted != "never":
            yield Status(stage="searching", text="Looking through your documents")
            try:
                found = await self._search(question, asked, who)
            except RetrievalError as error:
                if wanted == "needed":
                    yield failed(
                        "retrieval-away", f"{error.text}; the question needs your documents", error.retry_after
                    )
                    return
                yield Dropped(what="your documents", why=error.text)
            else:
                if not found.supported and (wanted == "needed" or need.looks_for_facts(asked)):
                    yield self._refusal(asked, question, found=bool(found.hits))
                    return
        hits = tuple(found.hits[:PASSAGES]) if found.supported else ()
        async with contextlib.aclosing(self._written(question, asked, who, hits)) as events:
            async for event in events:
                yield event

    async def _wanted(self, question: Question, asked: str) -> need.Need:
        if question.documents == "never":
            return "never"
        if question.documents == "always":
            return "needed"
        narrowed = bool(question.attachments or question.filters)
        intent = await asyncio.to_thread(self._understands.intent, asked)
        return need.needs_documents(asked, intent, narrowed=narrowed)

    async def _search(self, question: Question, asked: str, who: Who) -> Found:
        if self._retrieval is None:
            raise RetrievalError("retrieval is not installed here")
        if who.retrieval is None:
            raise RetrievalError("the gateway did not say for which user documents may be searched")
        filters = dict(question.filters or {})
        if question.attachments:
            filters["file_ids"] = [str(one) for one in question.attachments]
        before = [
            {"role": one.role, "content": one.content[:2000]} for one in question.messages[-1 - FOLLOW_UP_TURNS : -1]
        ]
        return await self._retrieval.search(
            who.retrieval, asked[:2000], limit=PASSAGES, filters=filters, conversation=before
        )

    def _refusal(self, asked: str, question: Question, *, found: bool) -> Done:
        text = need.refusal(asked, found=found)
        return Done(text=text, model=question.model or self._model, refused=True, documents=True)

    async def _written(self, question: Question, asked: str, who: Who, hits: tuple[Hit, ...]) -> AsyncGenerator[Event]:
        model = question.model or self._model
        engine = self._engines(model)
        if (provider := provider_of(model)) is not None:
            yield Status(
                stage="notice", text=f"This text leaves the house: {_leaves(hits)} to {PROVIDERS[provider].title}"
            )
        if hits:
            yield Status(
                stage="reading", text=f"Reading {len(hits)} passages" if len(hits) > 1 else "Reading one passage"
            )
        fitted = await fit(
            engine, model, self._parts(question, asked, hits), self._limits.context_tokens - self._limits.answer_tokens
        )
        for what, why in fitted.dropped:
            yield Dropped(what=what, why=why)
        writing = _Writing(fitted, asked, question, self._understands)
        key = self._cache.key(who.user_id, model, fitted.messages, self._limits.answer_tokens)
        deterministic = bool(fitted.passages)
        kept = await self._cache.get(key) if deterministic else None
        if kept is None:
            yield Status(stage="waiting_model", text=f"Waiting for {model}")
            temperature = 0.0 if deterministic else 0.6
            messages = [one.as_json() for one in fitted.messages]
            stream = engine.chat(
                messages,
                model,
                max_tokens=self._limits.answer_tokens,
                temperature=temperature,
                counted=fitted.counted,
            )
        else:
            stream = _again(kept)
        usage, begun = Usage(0, 0), False
        async with contextlib.aclosing(told_to_wait(stream, self._limits.silence)) as pieces:
            async for piece in pieces:
                if piece is None:
                    yield Status(stage="waiting_model", text=f"{model} is still at it")
                    continue
                usage = piece.usage or usage
                if piece.finish == "length":
                    yield Dropped(what="the end of the answer", why=f"answers have {self._limits.answer_tokens} tokens")
                if not piece.text:
                    continue
                if not begun:
                    begun = True
                    yield Status(stage="writing", text="Writing")
                yield TextDelta(text=piece.text)
                for citation in await writing.take(piece.text):
                    yield citation
        for citation in await writing.end():
            yield citation
        done = writing.done(model, usage, cached=kept is not None)
        if kept is None and deterministic:
            await self._cache.put(key, writing.text)
        yield done

    def _parts(self, question: Question, asked: str, hits: tuple[Hit, ...]) -> Parts:
        history = tuple(Message(one.role, one.content) for one in question.messages[-1 - TURNS : -1])
        system = self._prompts.get("documents" if hits else "chat")
        return Parts(system, asked, history, tuple(question.memory), hits, question.now)


def _leaves(hits: tuple[Hit, ...]) -> str:
    files = sorted({one.filename for one in hits})
    return f"the conversation and passages of {', '.join(files)} go" if files else "the conversation goes"


async def told_to_wait(stream: AsyncGenerator[Delta], seconds: float) -> AsyncGenerator[Delta | None]:
    """The pieces of a stream, and None whenever nothing came for ``seconds``: who listens knows that it goes on."""
    waiting: asyncio.Task[Delta | None] | None = None

    async def following() -> Delta | None:
        return await anext(stream, None)

    try:
        while True:
            waiting = waiting or asyncio.create_task(following())
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            piece, waiting = waiting.result(), None
            if piece is None:
                return
            yield piece
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
        await stream.aclose()


async def _again(text: str) -> AsyncGenerator[Delta]:
    yield Delta(text, finish="stop")


class _Writing:
    """What was written so far, and what of it stands where."""

    def __init__(self, fitted: Fitted, asked: str, question: Question, understands: Understands) -> None:
        self.text = ""
        self._hits, self._tokens, self._asked = fitted.passages, fitted.counted.tokens, asked
        self._cutter = Cutter()
        texts = [one.text for one in self._hits]
        self._matcher = Matcher(self._hits, understands.similar(texts)) if self._hits else None
        names = [f"{one.filename} {one.heading or ''} page {one.page or ''}" for one in self._hits]
        self._grounds = Grounds([*texts, *names, asked, *question.memory, question.now or ""])
        self._numbers: dict[int, int] = {}
        self._cited = 0

    async def take(self, piece: str) -> list[Citation]:
        """Add a piece; gives citations of sentences that are whole now."""
        self.text += piece
        return await self._cited_of(self._cutter.feed(piece))

    async def end(self) -> list[Citation]:
        """The rest's."""
        return await self._cited_of(self._cutter.rest())

    async def _cited_of(self, sentences: Sequence[Sentence]) -> list[Citation]:
        # Meanings take milliseconds each, in which other answers would stand still.
        return await asyncio.to_thread(self._citations, sentences) if sentences and self._matcher else []

    def _citations(self, sentences: Sequence[Sentence]) -> list[Citation]:
        if self._matcher is None:
            return []
        found = []
        for sentence in sentences:
            match = self._matcher.match(sentence.text)
            if match is None:
                continue
            self._cited += 1
            number = self._numbers.setdefault(match.passage, len(self._numbers) + 1)
            hit = self._hits[match.passage]
            found.append(
                Citation(
                    n=number,
                    passage=hit.text,
                    start=sentence.start,
                    end=sentence.end,
                    boxes=hit.boxes,
                    **hit.model_dump(include={"chunk_id", "file_id", "version", "sha256", "filename", "page"}),
                )
            )
        return found

    def done(self, model: str, usage: Usage, *, cached: bool) -> Done:
        """The last event: the answer, or a refusal in its place."""
        tokens = Tokens(
            prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens, counted=self._tokens
        )
        with_documents = self._matcher is not None
        if with_documents and (need.model_refuses(self.text) or not self._cited):
            text = need.refusal(self._asked, found=True)
            return Done(text=text, model=model, usage=tokens, refused=True, documents=True, cached=cached)
        sources = [
            Source(
                n=number,
                **self._hits[passage].model_dump(
                    include={"chunk_id", "file_id", "version", "sha256", "filename", "page"}
                ),
            )
            for passage, number in self._numbers.items()
        ]
        doubtful = unsupported(self.text, self._grounds) if with_documents else []
        return Done(
            text=self.text,
            model=model,
            usage=tokens,
            unsupported=doubtful,
            sources=sources,
            documents=with_documents,
            cached=cached,
        )


def failed(kind: str, detail: str, retry_after: int | None = None, *, status: int = 503) -> Failed:
    """The event of a fault."""
    titles = {503: "Service Unavailable", 500: "Internal Server Error"}
    return Failed(type=f"/problems/{kind}", title=titles[status], status=status, detail=detail, retry_after=retry_after)
