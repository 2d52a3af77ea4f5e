"""Snapshots around the changes of a plan: taken before the first one of a container, and the way back after a failure.

Which containers go back by themselves: those that keep no data on volumes of their own and have no releases.

- A snapshot holds all mounted volumes of a container, and its root file system. Going back to it takes away what was
  written since, without a word from the program that wrote it: rows of a database that others have been told of. So a
  container with data volumes never goes back by itself; the command for it is shown, and asks.
- A service that is deployed in releases has a better way back: the release before goes on behind its health gate,
  without a restart of the container. The snapshot stays, and the command for it is shown.

The firewall is no part of a snapshot: it stays as the inventory says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from zentoria_infra.plan.model import snapshots
from zentoria_infra.plan.stages.types import (
    AnyStage,
    Close,
    CloseSources,
    Configure,
    Converge,
    Create,
    Destroy,
    DropParking,
    DropSnapshots,
    ForgetFlows,
    GainFlows,
    GoBack,
    LoseFlows,
    MakeParking,
    MoveStorage,
    MoveVolume,
    OpenSources,
    PctSet,
    Resize,
    Restart,
    Snapshot,
    Start,
)

_FIREWALL = (Close, OpenSources, CloseSources, GainFlows, LoseFlows, ForgetFlows)
_NO_WAY_BACK = (Create, Destroy, MakeParking, MoveVolume, MoveStorage, DropParking)
"""A container with one of these gets no snapshot: it is made anew, or a volume of it moves, which a snapshot holds."""
_TESTS = (Start, Restart, Converge)
"""What tells whether the container works."""


@dataclasses.dataclass(frozen=True)
class Ways:
    """What the containers of a run can go back to, by VMID.

    Attributes:
        changed: names of the containers whose inside is changed in place.
        able: those whose storages can all snapshot.
        released: those with services that are deployed in releases.
        data: where data of a container is besides its root file system, in words, as ``mp0 (/var/lib/postgresql)``.
    """

    changed: Mapping[int, str]
    able: frozenset[int] = frozenset()
    released: frozenset[int] = frozenset()
    data: Mapping[int, str] = dataclasses.field(default_factory=dict)

    @property
    def snapshotted(self) -> frozenset[int]:
        """Those that get a snapshot."""
        return self.able & self.changed.keys()

    @property
    def by_themselves(self) -> frozenset[int]:
        """Those that go back to it by themselves."""
        return self.snapshotted - self.released - self.data.keys()


def changed_in_place(stages: Collection[AnyStage]) -> dict[int, str]:
    """Names by VMID of the containers whose inside is changed, without those that are made anew or whose volumes move.

    Args:
        stages: of a plan.
    """
    without = {stage.vmid for stage in stages if isinstance(stage, _NO_WAY_BACK)}
    inside = (stage for stage in stages if isinstance(stage, Converge))
    return {stage.vmid: stage.container for stage in inside if stage.vmid not in without}


def with_snapshots(
    stages: Sequence[AnyStage], ways: Ways, name: str, descriptions: Mapping[int, str]
) -> tuple[AnyStage, ...]:
    """The same stages, with a snapshot of each container that can be snapshotted before its first change.

    Args:
        stages: of a plan.
        ways: which containers, and which of them go back by themselves.
        name: of the snapshots.
        descriptions: of the snapshots, by VMID.
    """
    found: list[AnyStage] = []
    last = {stage.vmid: stage.id for stage in stages if not isinstance(stage, _FIREWALL)}
    for stage in stages:
        vmid = stage.vmid
        if vmid not in ways.snapshotted or isinstance(stage, _FIREWALL):
            found.append(stage)
            continue
        taken = f"{vmid}:snapshot"
        if not any(one.id == taken for one in found):
            digest = next((one.digest for one in _with_digest(stages, vmid)), "")
            found.append(Snapshot(vmid, stage.container, taken, stage.after, name, descriptions[vmid], digest))
            stage = dataclasses.replace(stage, after=(*stage.after, taken))
        if isinstance(stage, Configure | Resize | PctSet):
            stage = dataclasses.replace(stage, digest="")
        found.append(stage)
        if stage.id == last[vmid]:
            if vmid in ways.by_themselves:
                tests = tuple(one.id for one in stages if one.vmid == vmid and isinstance(one, _TESTS))
                found.append(GoBack(vmid, stage.container, f"{vmid}:back", tests, name, after_failure=True))
            # Only now: those of runs that failed are kept, so that the state before them is not lost.
            old = f"{vmid}:old-snapshots"
            found.append(DropSnapshots(vmid, stage.container, old, (stage.id,), keep=snapshots.KEEP))
    return tuple(_after(stage, [one for one in found if isinstance(one, GoBack)]) for stage in found)


def _after(stage: AnyStage, backs: Sequence[GoBack]) -> AnyStage:
    """What comes at the end, however it went, comes after the way back too."""
    ids = tuple(one.id for one in backs if stage.anyway and one.after[-1] in stage.after)
    return dataclasses.replace(stage, after=(*stage.after, *ids)) if ids else stage


def _with_digest(stages: Sequence[AnyStage], vmid: int) -> list[Configure | Resize | PctSet]:
    changing = (one for one in stages if isinstance(one, Configure | Resize | PctSet))
    return [one for one in changing if one.vmid == vmid and one.digest]
