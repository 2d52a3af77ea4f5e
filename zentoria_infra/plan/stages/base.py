"""What all kinds of steps have in common."""

from __future__ import annotations

import dataclasses

DATACENTER = "datacenter"
"""What stands in place of a container's name for the stages of VMID 0."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step on one container. It begins when all stages named in ``after`` have ended well.

    Args:
        id: unique in a list of stages, as ``404:create``.
        after: ids of stages that must have ended well before, or of points on the way of such (``halfway``).
    """

    vmid: int
    container: str
    id: str
    after: tuple[str, ...]

    verb = "work on"
    anyway = False
    """It begins when those before it have ended, however they did."""

    after_failure = False
    """It begins only when one of those before it has failed."""

    @property
    def finishes(self) -> tuple[str, ...]:
        """Ids of stages that it finishes: once one of them was at work, it begins even if the run is interrupted.

        When none of them was, there is nothing to finish: it is skipped with them.
        """
        return ()

    @property
    def halfway(self) -> str:
        """Id of a point that it passes before it ends, which others can wait for; empty without one."""
        return ""

    def says(self) -> str:
        """The step in a few words, for plans and progress."""
        return self.verb
