"""Embedding models as they stand in the database: which one answers, which are filled."""

from __future__ import annotations

import dataclasses
import re

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.database import Database

from zentoria_rag.settings import Settings

_ALL = sqlalchemy.text(
    "SELECT model, version, dimension, activated_at IS NOT NULL FROM embedding_models WHERE retired_at IS NULL"
    " ORDER BY activated_at NULLS LAST, created_at"
)


@dataclasses.dataclass(frozen=True)
class Space:
    """Where vectors of one model lie: those of another one are of another space, whatever their dimension."""

    model: str
    version: str
    dimension: int

    @property
    def collection(self) -> str:
        """The name of its collection in an index."""
        return f"{re.sub(r'[^A-Za-z0-9.-]', '_', self.model)}-{self.dimension}-{self.version}"

    def check(self, vector: list[float]) -> None:
        """See that a vector can be of this space.

        Raises:
            WrongSpace: it has another dimension.
        """
        if len(vector) != self.dimension:
            raise WrongSpace(f"{self.model} gave {len(vector)} dimensions, and {self.dimension} were announced")


class WrongSpace(Exception):
    """A vector of another model than it was said to be of: it is not written."""


@dataclasses.dataclass(frozen=True)
class Spaces:
    """Those that are in use.

    Args:
        active: the one that questions are answered with.
        filled: all that new passages are written to, the active one among them.
    """

    active: Space
    filled: tuple[Space, ...]


def wanted(settings: Settings) -> Space:
    """The space that the settings ask for."""
    return Space(settings.embedding_model, settings.embedding_version, settings.embedding_dimension)


class Announced:
    """The models of a database.

    Args:
        database: zentoria_vectors.
        space: the one that the settings ask for; it is announced at the first use.
    """

    def __init__(self, database: Database, space: Space) -> None:
        self._database, self.wanted = database, space
        self._done = False

    async def announce(self) -> None:
        """Let rows be of the wanted model; where there was none before, it answers at once."""
        if not self._done:
            async with self._database.session() as session:
                await session.execute(
                    sqlalchemy.text("SELECT use_embedding_model(:model, :version, :dimension)"),
                    dataclasses.asdict(self.wanted),
                )
            self._done = True

    async def spaces(self, session: AsyncSession) -> Spaces:
        """The models in use, as they are now: another process may have changed them."""
        rows = [(Space(row[0], row[1], row[2]), bool(row[3])) for row in (await session.execute(_ALL)).all()]
        active = next((space for space, answers in rows if answers), self.wanted)
        return Spaces(active, tuple(space for space, _ in rows) or (self.wanted,))
