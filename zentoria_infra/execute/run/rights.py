"""Which rights a run would miss, told before it begins and not in the middle. One call: ``GET /access/permissions``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from zentoria_infra.errors import RefusedError
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.privileges import PRIVILEGED, Need, guest_path, stage_needs
from zentoria_infra.plan.stages.types import AnyStage, Create
from zentoria_infra.proxmox.records import Permissions

_INSTEAD = {"Datastore.Audit": ("Datastore.AllocateSpace", "Datastore.Allocate")}
"""What serves as well: to see what is on a storage, one of them is enough (PVE::Storage::check_volume_access)."""


def missing_to_look(
    permissions: Permissions, desired: Sequence[DesiredContainer], *, firewall: bool
) -> tuple[str, ...]:
    """What is missing to make a plan, in words: without it, containers of ours look as if they were somebody else's.

    Args:
        permissions: ours, from ``Observer.permissions()``.
        desired: the containers of the inventory.
        firewall: whether the firewall is looked at.
    """
    guests = sorted({(one.pool, 0 if one.pool else one.vmid) for one in desired})
    wanted = [(Need(guest_path(vmid, pool), "VM.Audit"), "to see containers", vmid) for pool, vmid in guests]
    if firewall:
        wanted.append((Need("/", "Sys.Audit"), "to see whether the datacenter's firewall is on", 0))
    return _told((need, why) for need, why, vmid in wanted if not _allowed(permissions, need, vmid))


def missing_rights(
    permissions: Permissions,
    stages: Iterable[AnyStage],
    desired: Sequence[DesiredContainer],
    release: Callable[[], int] = lambda: 9,
) -> tuple[str, ...]:
    """What is missing to carry out stages, in words, each with what it is for.

    As ``VM.Config.Memory on /pool/zentoria, to set memory of 404 (db)``. A right on a guest may come from its pool,
    or from the guest's own path.

    Args:
        permissions: ours, from ``Observer.permissions()``.
        stages: of the plan.
        desired: the containers of the inventory.
        release: asks for the server's major release, which is asked for only where it makes a difference.
    """
    return _told(
        (need, "to see the pool that new containers join" if stage is None else f"to {_says(stage)}")
        for stage, need in lacking(permissions, stages, desired)
        if not (need == PRIVILEGED and isinstance(stage, Create) and release() < 9)
    )


def lacking(
    permissions: Permissions, stages: Iterable[AnyStage], desired: Sequence[DesiredContainer]
) -> Iterator[tuple[AnyStage | None, Need]]:
    """Yield what each stage lacks. For None, what is missing of the pool that new containers join."""
    stages = tuple(stages)
    by_vmid = {one.vmid: one for one in desired}
    pools = sorted({one.pool for one in desired})
    made = {stage.vmid: stage.desired.pool for stage in stages if isinstance(stage, Create)}
    for pool in sorted({pool for pool in made.values() if pool}):
        if not _allowed(permissions, need := Need(f"/pool/{pool}", "Pool.Audit"), 0):
            yield None, need
    for stage in stages:
        one = by_vmid.get(stage.vmid)
        pool = one.pool if one else pools[0] if len(pools) == 1 else ""
        for need in stage_needs(stage, pool, one):
            if not _allowed(permissions, need, 0 if stage.vmid in made else stage.vmid):
                yield stage, need


def require_rights(missing: Sequence[str], who: str) -> None:
    """Refuse to begin what would fail in the middle.

    Raises:
        RefusedError: rights are missing; all of them are named.
    """
    if missing:
        raise RefusedError(
            "begin",
            got=f"{who} lacks rights for it:\n" + "\n".join(f"    {line}" for line in missing),
            todo="`zentoria bootstrap` gives them, with an administrator's credentials; nothing was changed",
        )


def _says(stage: AnyStage) -> str:
    """As ``set memory of 404 (db)``."""
    what = stage.says().partition(" (")[0]
    title = f"{stage.vmid} ({stage.container})" if stage.vmid else stage.container
    if what == "firewall":
        return f"change the firewall of {title}"
    if not stage.vmid:
        return what
    return f"{what} {title}" if what == stage.verb and " " not in what else f"{what} of {title}"


def _told(missing: Iterable[tuple[Need, str]]) -> tuple[str, ...]:
    """One line a right: with the first thing that it is for, and how many there are besides."""
    found: dict[Need, list[str]] = {}
    for need, why in missing:
        reasons = found.setdefault(need, [])
        if why not in reasons:
            reasons.append(why)
    return tuple(
        f"{need}, {reasons[0]}" + (f" and {len(reasons) - 1} more" if len(reasons) > 1 else "")
        for need, reasons in sorted(found.items())
    )


def _allowed(permissions: Permissions, need: Need, vmid: int) -> bool:
    """Whether a right is held. ``vmid`` is a guest that is there: its own path tells also of the pool that it is in."""
    own = f"/vms/{vmid}"
    paths = [need.path]
    if vmid and need.path.startswith(("/pool/", "/vms/")) and need.privilege != "Pool.Audit":
        # Proxmox lists the members of pools with what they have from there; without that, the pool is asked.
        paths = [own] if own in permissions.by_path else [need.path, own]
    elif need.path.startswith("/sdn/zones/"):
        bridge = need.path.split("/")[4]  # a vnet is a bridge too, in a zone of its own
        paths += [
            path
            for path in permissions.by_path
            if path.split("/")[1:3] == ["sdn", "zones"] and path.endswith(f"/{bridge}")
        ]
    names = (need.privilege, *_INSTEAD.get(need.privilege, ()))
    return any(permissions.allows(path, name) for path in paths for name in names)
