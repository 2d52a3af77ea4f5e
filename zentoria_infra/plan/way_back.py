"""What protects the containers of a redeploy: the release before, or nothing but a snapshot that somebody takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from zentoria_infra.plan.stage_types import AnyStage, Converge, Create, Destroy


def changed_in_place(stages: Iterable[AnyStage]) -> dict[int, str]:
    """Names by VMID of the containers whose inside is changed, without those that are made anew: nothing old is left.

    Args:
        stages: of a plan.
    """
    found: dict[int, str] = {}
    anew: set[int] = set()
    for stage in stages:
        if isinstance(stage, Create | Destroy):
            anew.add(stage.vmid)
        elif isinstance(stage, Converge):
            found[stage.vmid] = stage.container
    return {vmid: name for vmid, name in found.items() if vmid not in anew}


def way_back(containers: dict[int, str], able: Collection[int], released: Collection[int]) -> Iterator[str]:
    """Lines that say what each container can go back to.

    Args:
        containers: names by VMID, from :func:`changed_in_place`.
        able: VMIDs whose storage can snapshot.
        released: VMIDs with services that are deployed in releases.
    """
    yes = {vmid: name for vmid, name in containers.items() if vmid in able}
    no = {vmid: name for vmid, name in containers.items() if vmid not in able}
    if no:
        yield f"No snapshot is possible of {_names(no)}: the storage cannot."
    if yes:
        commands = "; ".join(f"pct snapshot {vmid} NAME" for vmid in sorted(yes))
        yield f"The storage can snapshot {_names(yes)}, but Zentoria takes none. By hand, before: {commands}"
    if back := {vmid: name for vmid, name in containers.items() if vmid in released}:
        yield f"A release that fails its health gate gives way to the one before: {_names(back)}."
    if bare := {vmid: name for vmid, name in containers.items() if vmid not in released}:
        yield f"No releases are kept of {_names(bare)}: only your backups go back."


def _names(containers: dict[int, str]) -> str:
    return ", ".join(containers[vmid] for vmid in sorted(containers))
