"""What a site remembers between runs: who is at work on it, what was done, and small documents."""

from __future__ import annotations

from typing import Protocol


class SiteState(Protocol):
    """The memory of one site, on its node or on this machine. Safe from several threads and processes."""

    @property
    def where(self) -> str:
        """Where it is kept, in words: ``node pve`` or ``this machine``."""
        ...

    def get(self, name: str) -> bytes | None:
        """A document; None when there is none of that name.

        Raises:
            StateError: it cannot be read.
            UnreachableError: the node could not be reached over SSH; AuthError when the key is not accepted.
            ValueError: ``name`` is no name (``[a-z0-9][a-z0-9-]*``, at most 64 characters).
        """
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a document: after a crash there is the old or the new content, never a part. At most 16 MiB.

        Raises:
            StateError: it cannot be written; what was there is still there.
            UnreachableError: the node could not be reached over SSH; AuthError when the key is not accepted.
            ValueError: ``name`` is no name.
        """
        ...
