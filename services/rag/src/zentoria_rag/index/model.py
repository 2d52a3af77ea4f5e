"""What an index is asked, and what it answers. No question is without its owner: it cannot be made."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Sequence
from typing import Protocol

from zentoria_rag.models.space import Space


@dataclasses.dataclass(frozen=True)
class Owner:
    """Whose passages are meant."""

    id: int

    def __post_init__(self) -> None:
        if type(self.id) is not int or self.id < 1:
            raise ValueError("an owner is a user's number")


@dataclasses.dataclass(frozen=True)
class Filters:
    """What documents have to be; each that is set has to hold.

    Args:
        file_ids: one of these.
        project: of this one.
        mimes: one of these.
        tags: all of these.
        since: made then or later.
        until: made before.
    """

    file_ids: tuple[uuid.UUID, ...] = ()
    project: str | None = None
    mimes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Query:
    """A search for the nearest passages of ``owner``'s current documents."""

    owner: Owner
    space: Space
    vector: list[float]
    limit: int
    filters: Filters = Filters()

    def __post_init__(self) -> None:
        if not isinstance(self.owner, Owner):
            raise TypeError("a search has an owner")
        self.space.check(self.vector)


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a document's passages are filtered by."""

    file_id: uuid.UUID
    version: int
    mime: str
    project: str | None
    tags: tuple[str, ...]
    made_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Point:
    """A passage and where it lies."""

    chunk_id: uuid.UUID
    vector: list[float]


@dataclasses.dataclass(frozen=True)
class Near:
    """A passage that was found, and its cosine to the question."""

    chunk_id: uuid.UUID
    score: float


class VectorIndex(Protocol):
    """An index of passages, made from the record (``document_embeddings``) and remade from it at any time.

    All of it is idempotent. It raises :class:`zentoria_common.problems.Unavailable` when it does not answer.
    """

    @property
    def kind(self) -> str:
        """As ``pgvector``."""

    async def prepare(self, space: Space) -> None:
        """Have a place for a model's vectors."""

    async def put(self, owner: Owner, space: Space, labels: Labels, points: Sequence[Point]) -> None:
        """Keep passages of a document; the record has them already."""

    async def only(self, owner: Owner, space: Space, file_id: uuid.UUID, version: int) -> None:
        """Of a file, let this version alone be found."""

    async def label(self, owner: Owner, space: Space, labels: Labels) -> None:
        """Change what a document's passages are filtered by."""

    async def remove(self, owner: Owner, space: Space, file_id: uuid.UUID) -> None:
        """Forget all of a file's passages; the record has forgotten them already."""

    async def search(self, query: Query) -> list[Near]:
        """The nearest first."""

    async def count(self, owner: Owner, space: Space, file_id: uuid.UUID | None = None) -> int:
        """How many passages it has, of a file or of all."""

    async def renew(self, space: Space) -> None:
        """Build what there is again, where an index is the database's. Searches go on meanwhile."""

    @property
    def refilled(self) -> bool:
        """Whether it keeps vectors of its own, which have to be put."""

    async def files(self, space: Space) -> set[tuple[Owner, uuid.UUID]]:
        """Files of which it keeps vectors of its own, of everybody."""

    async def drop(self, space: Space) -> None:
        """Forget a model."""

    async def close(self) -> None:
        """Give connections back."""
