"""What a release is made of: wheels for a virtual environment, or one archive. The content is in blobs."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")


class Wheel(_Value):
    """One wheel of a release: its file name and the SHA-256 of its content (a blob)."""

    name: str
    blob: str


class Wheels(_Value):
    """A Python service: its own wheels and those it depends on, for a virtual environment."""

    kind: Literal["wheels"] = "wheels"
    wheels: tuple[Wheel, ...]
    requirements: str
    """Text of a hash-pinned requirements file that names every wheel."""

    @property
    def blobs(self) -> frozenset[str]:
        """Names of what it is made of."""
        return frozenset(wheel.blob for wheel in self.wheels)


class Archive(_Value):
    """Files as they shall lie in the guest: a tar, packed with gzip, that the workstation made.

    It holds regular files, directories and symbolic links that lead to something in it; no owners, and of the modes
    only whether a file is executable. The guest refuses everything else.
    """

    kind: Literal["archive"] = "archive"
    blob: str
    size: int
    """Bytes of all its files. The guest unpacks no more."""
    entries: int
    """How many files, directories and links there are. The guest makes no more."""

    @property
    def blobs(self) -> frozenset[str]:
        """Names of what it is made of."""
        return frozenset({self.blob})


Content = Annotated[Wheels | Archive, Field(discriminator="kind")]


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Something that a guest can run, its content at hand as blobs.

    Args:
        version: another content has another version.
        content: what it is made of.
    """

    version: str
    content: Wheels | Archive
