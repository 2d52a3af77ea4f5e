"""What containers can go back to, asked of the node: for the plan of a run that takes snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.look.reading import readers
from zentoria_infra.plan.model import parking
from zentoria_infra.plan.stages.types import AnyStage
from zentoria_infra.plan.stages.with_snapshots import Ways, changed_in_place
from zentoria_infra.proxmox.observe import Observer

_AT_ONCE = 8


def ways_back(deployment: Deployment, observer: Observer, stages: Sequence[AnyStage]) -> Ways:
    """What the containers of a plan can go back to. One call a container that is changed in place.

    Args:
        deployment: that the plan was made by.
        observer: reads the node.
        stages: of the plan.

    Raises:
        ZentoriaError: the node could not be asked.
    """
    changed = changed_in_place(stages)
    if not changed:
        return Ways({})
    nodes = {one.vmid: one.node for one in deployment.desired}
    with readers(min(_AT_ONCE, len(changed)), "snapshots") as pool:
        answers = pool.map(lambda vmid: observer.can_snapshot(vmid, nodes[vmid]), changed)
        able = frozenset(vmid for vmid, answer in zip(changed, answers, strict=True) if answer)
    inside = deployment.inside
    released = {vmid for vmid in changed if isinstance(inside, GuestsInside) and inside.has_releases(vmid)}
    seen = deployment.planned_from.containers
    data = {vmid: mounted(seen[vmid].config) for vmid in changed if vmid in seen}
    return Ways(changed, able, frozenset(released), {vmid: words for vmid, words in data.items() if words})


def unseen_after(config: Mapping[str, str], then: Mapping[str, str]) -> tuple[str, ...]:
    """Keys of the mounted volumes that going back to a snapshot takes out of sight: they are not in it.

    Proxmox keeps them as unused ones (``PVE::AbstractConfig::snapshot_rollback``).

    Args:
        config: as it is now.
        then: as it was at the snapshot.
    """
    kept = set(parking.data_volumes(then).values())
    now = parking.data_volumes(config)
    return tuple(key for key, volume in now.items() if key.startswith("mp") and volume not in kept)


def mounted(config: Mapping[str, str]) -> str:
    """The mounted volumes of a container besides its root file system, in words; empty without any.

    Args:
        config: as Proxmox has it.
    """
    keys = [key for key in parking.data_volumes(config) if key.startswith("mp")]
    return parking.words(config, keys)
