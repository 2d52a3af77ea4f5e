"""What protects the containers of a redeploy, in words: a snapshot, the release before, or nothing but backups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zentoria_infra.plan.stages.with_snapshots import Ways


def way_back(ways: Ways, name: str) -> Iterator[str]:
    """Lines that say what each container can go back to.

    Args:
        ways: of the containers that are changed.
        name: of the snapshots that are taken; empty where none are.
    """
    names = ways.changed
    if no := names.keys() - ways.able:
        yield f"No snapshot is possible of {_names(ways, no)}: the storage cannot."
    taken = ways.snapshotted
    if taken and not name:
        yield f"No snapshot is taken of {_names(ways, taken)}, as was asked for."
        taken = frozenset()
    if taken:
        yield f"Snapshot {name} is taken first of {_names(ways, taken)}."
    if back := taken & ways.by_themselves:
        yield f"What fails goes back to it by itself: {_names(ways, back)}."
    for vmid in sorted(taken & ways.data.keys()):
        yield (
            f"{names[vmid]} keeps data on {ways.data[vmid]}, which would go back too: it does so only when told "
            f"(`{command(names[vmid], name)}`)."
        )
    if released := ways.released & names.keys():
        yield f"A release that fails its health gate gives way to the one before: {_names(ways, released)}."
    if bare := names.keys() - ways.released - taken:
        yield f"No releases are kept of {_names(ways, bare)}: only your backups go back."


def command(container: str, name: str) -> str:
    """The command that puts a container back to a snapshot."""
    return f"zentoria rollback {container} --snapshot {name}"


def _names(ways: Ways, vmids: Iterable[int]) -> str:
    return ", ".join(ways.changed[vmid] for vmid in sorted(vmids))
