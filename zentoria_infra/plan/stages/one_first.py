"""One container of a group first: the rest begins only when its health gate has been passed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.stages.types import AnyStage, Close, CloseSources, CutConnections, ForgetFlows, LoseFlows

_APART = (Close, CloseSources, LoseFlows, ForgetFlows, CutConnections)
"""Stages that come before everything else in any case, or after it or what they finish."""


def one_first(stages: Sequence[AnyStage], desired: Iterable[DesiredContainer]) -> tuple[AnyStage, ...]:
    """The same stages, where those of all containers but one wait for the end of that one's.

    The first is the one that starts first, so that it needs none of the others. What all containers share comes before
    it, and what is lost comes after all, as ever.

    Args:
        stages: of a plan.
        desired: the containers.
    """
    at_work = {stage.vmid for stage in stages if stage.vmid and not isinstance(stage, _APART)}
    if len(at_work) < 2:
        return tuple(stages)
    order = {one.vmid: (one.order, one.vmid) for one in desired}
    first = min(at_work, key=lambda vmid: order.get(vmid, (0, vmid)))
    its = [stage for stage in stages if stage.vmid == first and not isinstance(stage, _APART)]
    # The others wait for what was to be done, not for the way back: that ends well when something went wrong.
    done = [stage for stage in its if not stage.after_failure]
    waited = {need for stage in done for need in stage.after}
    last = tuple(stage.id for stage in done if stage.id not in waited)
    found: list[AnyStage] = []
    placed = False
    for stage in stages:
        if not stage.vmid or isinstance(stage, _APART):
            found.append(stage)
            continue
        if not placed:
            found += its
            placed = True
        if stage.vmid != first:
            found.append(dataclasses.replace(stage, after=tuple(dict.fromkeys((*stage.after, *last)))))
    return tuple(found)
