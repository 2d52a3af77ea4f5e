"""Steps that take, remove and go back to snapshots."""

from __future__ import annotations

import dataclasses

from zentoria_infra.plan.stages.base import Stage


@dataclasses.dataclass(frozen=True)
class Snapshot(Stage):
    """Snapshot a container, to go back to before something is changed in it.

    Args:
        name: of the snapshot.
        description: what it is for, and whose it is.
        digest: is as in :class:`Configure`. The snapshot itself makes a new one, so no stage after it has any.
    """

    name: str
    description: str
    digest: str = ""

    verb = "snapshot"

    def says(self) -> str:
        """The step with the snapshot's name."""
        return f"{self.verb} {self.name}"


@dataclasses.dataclass(frozen=True)
class DropSnapshots(Stage):
    """Remove snapshots that Zentoria has taken of a container. Those of others are left alone.

    Args:
        keep: how many of the newest stay.
    """

    keep: int = 0

    verb = "remove snapshots"

    def says(self) -> str:
        """The step, and what stays."""
        return f"remove snapshots of ours but the newest {self.keep}" if self.keep else "remove its snapshots of ours"


@dataclasses.dataclass(frozen=True)
class GoBack(Stage):
    """Put a container back to a snapshot, and start it.

    Args:
        name: of the snapshot.
        after_failure: only if what was done in the container since the snapshot has failed. The snapshot is removed
            then: the container is as if nothing had been done.
    """

    name: str
    after_failure: bool = False

    verb = "go back to a snapshot"

    def says(self) -> str:
        """The step with the snapshot's name."""
        return f"{'if that fails, ' if self.after_failure else ''}back to snapshot {self.name}"
