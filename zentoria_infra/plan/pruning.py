"""Orphans are destroyed in the same run, before anything gets an address of theirs. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from zentoria_infra.plan.orphans import Clash
from zentoria_infra.plan.stages.types import AnyStage, Destroy


def pruned(stages: Sequence[AnyStage], gone: Sequence[Destroy], clashes: Iterable[Clash]) -> tuple[AnyStage, ...]:
    """The stages of a run with those that destroy orphans; who gets an address of an orphan waits until it is gone.

    Args:
        stages: of the plan.
        gone: the stages that destroy orphans.
        clashes: who would get an address that another has.
    """
    ids = {one.vmid: one.id for one in gone}
    waits: dict[int, list[str]] = {}
    for one in clashes:
        if one.other in ids:
            waits.setdefault(one.vmid, []).append(ids[one.other])
    return (
        *gone,
        *(dataclasses.replace(one, after=(*one.after, *waits.get(one.vmid, ()))) for one in stages),
    )
