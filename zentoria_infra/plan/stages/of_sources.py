"""Steps that open a container's package sources, converge it, and see that they are closed again.

What is written to a firewall is in force up to ten seconds later (a cycle of pve-firewall). Nobody waits for that with
nothing to do:

- sources are opened before they are needed: with the container's first rules, or, where its converging waits for
  others, as soon as these have all of their packages and go on with the rest;
- they are closed when its own packages are installed. That they are closed is seen by a step of its own, which those
  that need the container do not wait for.
"""

from __future__ import annotations

import dataclasses

from zentoria_infra.firewall.change.steps import Step
from zentoria_infra.plan.model.change import LostFlow
from zentoria_infra.plan.stages.base import Stage


@dataclasses.dataclass(frozen=True)
class OpenSources(Stage):
    """Open a container's package sources, where that is not done together with its first rules.

    Args:
        steps: what opens them.
    """

    steps: tuple[Step, ...]

    verb = "open package sources"


@dataclasses.dataclass(frozen=True)
class Converge(Stage):
    """Bring the inside of a container to its state, in one round trip.

    Args:
        closing: close its package sources when its packages are installed, or when it has failed.
        through: what goes through meanwhile.
    """

    closing: tuple[Step, ...] = ()
    through: tuple[LostFlow, ...] = ()

    verb = "converge"

    @property
    def halfway(self) -> str:
        """Its packages are installed."""
        return packages_of(self.vmid)

    def says(self) -> str:
        """The step, and whether package sources are open meanwhile."""
        return f"{self.verb} (package sources open)" if self.closing else self.verb


@dataclasses.dataclass(frozen=True)
class CloseSources(Stage):
    """See that a container's package sources are closed, and cut what is open to them.

    Args:
        closing: close them, where converging has not come to it.
        through: what went through, and is cut.
        opened_by: ids of the stages while which, or after which, they are open.
    """

    closing: tuple[Step, ...]
    through: tuple[LostFlow, ...]
    opened_by: tuple[str, ...]

    verb = "close package sources"
    anyway = True

    @property
    def finishes(self) -> tuple[str, ...]:
        """The stages that open them."""
        return self.opened_by


def packages_of(vmid: int) -> str:
    """The id for which others wait until a container has its packages."""
    return f"{vmid}:packages"
