"""What stands in the way of a container's plan: volumes that cannot be moved or mounted, and changes of others."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zentoria_infra.plan.model import parking
from zentoria_infra.plan.model.change import Action, ContainerPlan, Via
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.model.values import parse_properties
from zentoria_infra.plan.volumes import binding

ROOT_ONLY = re.compile(r"dev\d+|hookscript")
"""Options that only root@pam may set or take back (PVE::LXC::check_ct_modify_config_perm)."""


def in_the_way(plan: ContainerPlan, world: World) -> Iterator[str]:
    """What keeps data volumes from being moved or mounted, and a container from a start, in words.

    Args:
        plan: of the container.
        world: what is there.
    """
    title = f"container {plan.vmid} ({plan.name})"
    observed, parked = world.containers.get(plan.vmid), world.parked.get(plan.vmid)
    if plan.desired is not None:
        yield from binding.misplaced(plan.desired)
    mine = plan.parking.vmid if plan.parking is not None else plan.vmid
    for one in plan.attributes:
        volume = parse_properties(one.before, "volume").get("volume", "")
        if one.via is Via.MOVE and (owner := parking.another_owner(volume, plan.vmid)) not in (0, mine):
            yield (
                f"{title}: {one.key} is a volume of container {owner} ({volume}), and is not moved to another storage, "
                f"for it would be removed where {owner} has it"
            )
    if observed is None:
        return
    if plan.restart or (plan.start and plan.action is not Action.REPLACE):
        for key in sorted(key for key in observed.pending if ROOT_ONLY.fullmatch(key)):
            yield (
                f"{title} cannot be {'restarted' if plan.restart else 'started'}: a change of {key} that is not "
                f"Zentoria's waits for that, and only root@pam may take it back: `pct set {plan.vmid} --revert {key}`"
            )
    if plan.action is Action.REPLACE:
        held = parking.data_volumes({**observed.config, **observed.in_force})
        for key in sorted(held.keys() - parking.data_volumes(observed.config).keys()):
            yield (
                f"{title} cannot be replaced: its {key} is taken away at its next restart, and until then nobody can "
                "move it: restart the container first (`pct reboot`), which keeps the volume as an unused one"
            )
    if plan.parking is None:
        return
    here, there = parking.data_volumes(observed.config), parking.data_volumes(parked.config if parked else {})
    for key in sorted(here.keys() & there.keys()):
        yield (
            f"{key} of {title} is parked on container {plan.parking.vmid}, and it has another {key}: remove the one "
            "that is not needed, or move it to another key (`pct move-volume`)"
        )
    for key in plan.parking.park:
        if owner := parking.another_owner(here[key], plan.vmid):
            yield f"{title} cannot be replaced: {key} is a volume of container {owner} ({here[key]})"
