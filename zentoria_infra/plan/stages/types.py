"""The steps that a plan is carried out in: one class a kind of step."""

from __future__ import annotations

import dataclasses

from zentoria_infra.firewall.change.steps import Step
from zentoria_infra.plan.model.change import AttributeChange, LostFlow, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.stages.base import DATACENTER, Stage
from zentoria_infra.plan.stages.of_snapshots import DropSnapshots, GoBack, Snapshot
from zentoria_infra.plan.stages.of_sources import CloseSources, Converge, OpenSources

__all__ = [  # besides those below
    "DATACENTER",
    "CloseSources",
    "Converge",
    "DropSnapshots",
    "GoBack",
    "OpenSources",
    "Snapshot",
    "Stage",
]


@dataclasses.dataclass(frozen=True)
class Destroy(Stage):
    """Stop and destroy a container.

    Args:
        emptied: its data volumes were parked before: it is not destroyed while it holds any.
        loses: volumes that go with it, in words, where they are not parked.
        snapshots: those of others, which go with it too, by name.
        leaves: volumes that have its number and that its configuration does not speak of, in words: they stay.
        digest: of the configuration that this was planned from: it is not destroyed when somebody changed it since.
            Empty where earlier stages of ours change it.
        orphan: what it is, where the inventory does not have it.
    """

    emptied: bool = False
    loses: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    digest: str = ""
    orphan: Orphan | None = None

    verb = "destroy"


@dataclasses.dataclass(frozen=True)
class Create(Stage):
    """Make a container from the template, marked as ours from its first moment, without tags.

    Args:
        desired: as it shall be.
        without: keys of volumes that are not made, since they come back from where they are parked.
    """

    desired: DesiredContainer
    without: tuple[str, ...] = ()

    verb = "create"

    def says(self) -> str:
        """The step, and whether it begins with the site's prepared template."""
        return f"{self.verb} from the prepared template" if self.desired.prepared else self.verb


@dataclasses.dataclass(frozen=True)
class MakeParking(Stage):
    """Make the container that holds the data of another one while that is replaced. It never starts."""

    desired: DesiredContainer
    parking: int

    verb = "make a parking container"

    def says(self) -> str:
        """The step with the new VMID."""
        return f"make {f'container {self.parking}' if self.parking else 'a container'} to park its data"


@dataclasses.dataclass(frozen=True)
class ParkFirewall(Stage):
    """Copy a container's firewall to its parking container, since rules of others are in it."""

    steps: tuple[Step, ...]
    parking: int

    verb = "copy its firewall"

    def says(self) -> str:
        """The step with where to."""
        return f"copy its firewall to {self.parking}"


@dataclasses.dataclass(frozen=True)
class MoveVolume(Stage):
    """Move one data volume to the parking container, or back.

    Args:
        key: of the volume, as ``mp0``; it has the same at both places.
        parking: the parking container.
        storage: that the volume is on.
        back: it comes back.
    """

    key: str
    parking: int
    storage: str
    back: bool = False

    verb = "move a volume"

    def says(self) -> str:
        """The step with the volume and where it goes."""
        if self.back:
            return f"bring {self.key} back"
        return f"park {self.key}" + (f" on {self.parking}" if self.parking else "")


@dataclasses.dataclass(frozen=True)
class MoveStorage(Stage):
    """Move one data volume of a stopped container to another storage. It is copied, and removed where it was."""

    change: AttributeChange

    verb = "move a volume to another storage"

    def says(self) -> str:
        """The step with the volume and the storage."""
        return f"move {self.change.key} to storage {self.change.sent}"


@dataclasses.dataclass(frozen=True)
class DropParking(Stage):
    """Remove the parking container; never while it holds a volume."""

    parking: int

    verb = "remove the parking container"

    def says(self) -> str:
        """The step with the VMID."""
        return f"{self.verb} {self.parking or ''}".rstrip()


@dataclasses.dataclass(frozen=True)
class Stop(Stage):
    """Stop a container, so that its volumes can be moved."""

    verb = "stop"


@dataclasses.dataclass(frozen=True)
class Configure(Stage):
    """Set options in one call.

    Args:
        changes: what to set.
        digest: of the configuration that they were planned from, so that Proxmox refuses them when somebody changed
            it since; empty where it is our own earlier stage that changed it.
    """

    changes: tuple[AttributeChange, ...]
    digest: str = ""

    verb = "configure"

    def says(self) -> str:
        """The step with the keys that it sets, and those of which it takes back what waits for a restart."""
        back = [one.key for one in self.changes if one.via is Via.REVERT]
        new = [one.key for one in self.changes if one.via is not Via.REVERT]
        return " and ".join(f"{verb} {', '.join(keys)}" for verb, keys in (("set", new), ("take back", back)) if keys)


@dataclasses.dataclass(frozen=True)
class Resize(Stage):
    """Grow one volume. ``digest`` is as in :class:`Configure`."""

    change: AttributeChange
    digest: str = ""

    verb = "resize"

    def says(self) -> str:
        """The step with the volume and its sizes."""
        return f"grow {self.change.key} from {self.change.before} to {self.change.after}"


@dataclasses.dataclass(frozen=True)
class PctSet(Stage):
    """Set what only root@pam may set, with ``pct set`` over SSH. ``digest`` is as in :class:`Configure`."""

    changes: tuple[AttributeChange, ...]
    digest: str = ""

    verb = "pct set"

    def says(self) -> str:
        """The step with the keys that it sets."""
        return f"pct set {', '.join(change.key for change in self.changes)}"


@dataclasses.dataclass(frozen=True)
class Start(Stage):
    """Start a container.

    Args:
        guarded: not before its firewall is in force on the node: what was written is in files at first, and
            pve-firewall takes them up in a cycle of ten seconds. Containers wait for it together, while others are
            still being made.
    """

    guarded: bool = False

    verb = "start"

    def says(self) -> str:
        """The step, and what it waits for."""
        return f"{self.verb}, once its firewall is in force" if self.guarded else self.verb


@dataclasses.dataclass(frozen=True)
class Restart(Stage):
    """Restart a container, so that pending changes take effect."""

    verb = "restart"


@dataclasses.dataclass(frozen=True)
class GainFlows(Stage):
    """Give a firewall what it gains: of one container, or with VMID 0 of the datacenter's objects."""

    steps: tuple[Step, ...]

    verb = "firewall"

    def says(self) -> str:
        """The step with its number of calls."""
        return f"{self.verb} (+{len(self.steps)})"


@dataclasses.dataclass(frozen=True)
class Close(GainFlows):
    """Close a container while it is put right, where its steps one by one would open too much."""

    def says(self) -> str:
        """The step in words."""
        return "close it meanwhile"


@dataclasses.dataclass(frozen=True)
class SwitchOn(Stage):
    """Turn the datacenter's firewall on, with a way back."""

    verb = "turn the datacenter's firewall on"


@dataclasses.dataclass(frozen=True)
class LoseFlows(Stage):
    """Take from a firewall what it loses, after everything else.

    Args:
        steps: what takes it.
        through: what can be reached through package sources that a killed run has left open.
    """

    steps: tuple[Step, ...]
    through: tuple[LostFlow, ...] = ()

    verb = "firewall"
    anyway = True

    def says(self) -> str:
        """The step with its number of calls."""
        return f"{self.verb} (-{len(self.steps)})"


@dataclasses.dataclass(frozen=True)
class ForgetFlows(Stage):
    """Remove rules that were put to sleep, once the connections over them are cut, and what they named."""

    steps: tuple[Step, ...]

    verb = "firewall"

    def says(self) -> str:
        """The step with its number of calls."""
        return f"{self.verb} (-{len(self.steps)} asleep)"


@dataclasses.dataclass(frozen=True)
class CutConnections(Stage):
    """Cut the open connections of flows that are lost. A later run would not know of them any more.

    Args:
        flows: which.
        losing: ids of the stages that take them away.
    """

    flows: tuple[LostFlow, ...]
    losing: tuple[str, ...] = ()

    verb = "cut connections"
    anyway = True

    @property
    def finishes(self) -> tuple[str, ...]:
        """The stages that take the flows away."""
        return self.losing

    def says(self) -> str:
        """The step with the flows."""
        return f"{self.verb} of {len(self.flows)} lost flows"


@dataclasses.dataclass(frozen=True)
class RollBack(Stage):
    """Go back to a release that was there before, behind its health gate.

    Args:
        back: how many of those that were healthy.
        by: who asked.
    """

    back: int
    by: str

    verb = "roll back"

    def says(self) -> str:
        """The step with how far it goes."""
        return self.verb if self.back == 1 else f"{self.verb} by {self.back} releases"


AnyStage = (
    Destroy
    | Create
    | MakeParking
    | ParkFirewall
    | MoveVolume
    | MoveStorage
    | DropParking
    | Stop
    | Configure
    | Resize
    | PctSet
    | Start
    | Restart
    | OpenSources
    | Converge
    | CloseSources
    | GainFlows
    | SwitchOn
    | LoseFlows
    | ForgetFlows
    | CutConnections
    | Snapshot
    | DropSnapshots
    | GoBack
    | RollBack
)
