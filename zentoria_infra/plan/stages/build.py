"""From a plan to the steps that carry it out: one list, which ``execute`` runs and ``explain`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from zentoria_infra.firewall.change.changes import two_phases
from zentoria_infra.firewall.change.steps import Step
from zentoria_infra.plan.model.change import Action, AttributeChange, ContainerPlan, Plan, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.values import format_tags, truth
from zentoria_infra.plan.stages.of_sources import packages_of
from zentoria_infra.plan.stages.types import (
    DATACENTER,
    AnyStage,
    Close,
    CloseSources,
    Configure,
    Converge,
    Create,
    CutConnections,
    Destroy,
    DropParking,
    DropSnapshots,
    ForgetFlows,
    GainFlows,
    LoseFlows,
    MakeParking,
    MoveStorage,
    MoveVolume,
    OpenSources,
    ParkFirewall,
    PctSet,
    Resize,
    Restart,
    Start,
    Stop,
    SwitchOn,
)
from zentoria_infra.plan.volumes.binding import MOUNT

_OBJECTS = "datacenter:firewall"
_SWITCH = "datacenter:switch"


def build_stages(plan: Plan, desired: Iterable[DesiredContainer]) -> tuple[AnyStage, ...]:
    """Turn a plan into stages.

    A container's stages follow each other. Converging waits for the containers whose services it needs, where
    these converge in the same run and come earlier in the start order (needs may run in circles between
    containers, since a container holds several services). It does not wait until their package sources are seen to
    be closed.
    """
    by_vmid = {one.vmid: one for one in desired}
    converging = {c.vmid for c in plan if c.converge}
    shared = _datacenter_stages(plan)
    stages = [
        *shared,
        *(
            stage
            for container in plan
            if container.changes
            for stage in _container_stages(
                container,
                container.desired or by_vmid[container.vmid],
                by_vmid,
                converging,
                shared,
                filtered=plan.filtered,
            )
        ),
    ]
    return (*stages, *_losses(plan, stages))


def _datacenter_stages(plan: Plan) -> list[AnyStage]:
    """What all containers wait for: objects that their rules name, and the switch without which nothing is filtered.

    Before that, containers are closed that would be open for too much on the way.
    """
    stages: list[AnyStage] = [
        Close(one.vmid, one.name, f"{one.vmid}:close", (), one.closed) for one in plan if one.closed
    ]
    if plan.datacenter.gained:
        closed = tuple(stage.id for stage in stages)
        stages.append(GainFlows(0, DATACENTER, _OBJECTS, closed, plan.datacenter.gained))
    if plan.switch_on:
        stages.append(SwitchOn(0, DATACENTER, _SWITCH, tuple(stage.id for stage in stages)))
    return stages


def _losses(plan: Plan, stages: Sequence[AnyStage]) -> Iterator[AnyStage]:
    """What is lost, after everything else: guests first, then the objects that their rules named, then connections.

    Where connections are cut, rules sleep until that is done.
    """
    before = tuple(stage.id for stage in stages)
    ids: list[str] = []
    later: list[AnyStage] = []
    cut = f"{DATACENTER}:cut"

    def parts(vmid: int, name: str, lost: tuple[Step, ...]) -> tuple[Step, ...]:
        first, then = two_phases(lost) if plan.cut else (lost, ())
        if then:
            waits = tuple(stage.id for stage in later) if not vmid else ()
            later.append(ForgetFlows(vmid, name, f"{vmid or DATACENTER}:forget", (cut, *waits), then))
        return first

    for container in plan:
        if container.changes and container.firewall.lost and not container.start:
            lost = parts(container.vmid, container.name, container.firewall.lost)
            if lost:
                ids.append(f"{container.vmid}:lose")
                yield LoseFlows(container.vmid, container.name, ids[-1], before, lost, container.through)
    if lost := parts(0, DATACENTER, plan.datacenter.lost):
        ids.append(f"{DATACENTER}:lose")
        yield LoseFlows(0, DATACENTER, ids[-1], (*before, *ids[:-1]), lost)
    if plan.cut:
        yield CutConnections(0, DATACENTER, cut, (*before, *ids), plan.cut, tuple(ids))
    yield from later


def _container_stages(
    plan: ContainerPlan,
    desired: DesiredContainer,
    everyone: Mapping[int, DesiredContainer],
    converging: set[int],
    shared: Sequence[AnyStage],
    *,
    filtered: bool,
) -> list[AnyStage]:
    stages: list[AnyStage] = []
    objects = tuple(stage.id for stage in shared if isinstance(stage, GainFlows))
    switch = tuple(stage.id for stage in shared if isinstance(stage, SwitchOn))

    def head(name: str, *more: str) -> tuple[int, str, str, tuple[str, ...]]:
        before = (stages[-1].id,) if stages else (f"{plan.vmid}:close",) if plan.closed else ()
        return plan.vmid, plan.name, f"{plan.vmid}:{name}", (*before, *more)

    attributes = plan.attributes
    parking = plan.parking
    back = parking.back if parking else ()
    fresh = plan.action in (Action.CREATE, Action.REPLACE)
    moving = tuple(one for one in attributes if one.via is Via.MOVE)
    # With the container stopped for it, what waits for a restart takes effect at the start that follows.
    # So it is for mount points: Proxmox would mount a new one at once over what the services have open, and leave
    # what another one loses until the restart.
    mounted = any(MOUNT.fullmatch(one.key) and one.via is Via.CONFIG for one in attributes)
    stopped = not fresh and plan.restart and bool(back or moving or mounted)
    # Each change makes a new digest, so only the first one goes with that of the look.
    digest = plan.digest if plan.action is not Action.REPLACE and not back and not moving else ""
    taken_back = tuple(one for one in attributes if one.via is Via.REVERT)
    if taken_back and not fresh:
        # First of all: what is written to a container that does not run puts in force all that waits. So does a start.
        stages.append(Configure(*head("take-back"), taken_back, plan.digest))
        digest = ""
        attributes = tuple(one for one in attributes if one.via is not Via.REVERT)
    if plan.action is Action.REPLACE:
        if parking:
            if not parking.exists:
                stages.append(MakeParking(*head("parking"), desired, parking.vmid))
            if parking.firewall:
                stages.append(ParkFirewall(*head("park-firewall"), parking.firewall, parking.vmid))
            if parking.park:
                if plan.snapshots:
                    stages.append(DropSnapshots(*head("no-snapshots")))
                stages.append(Stop(*head("stop")))
            for key in parking.park:
                one = MoveVolume(*head(f"park-{key}"), key, parking.vmid, parking.storages[key])
                stages.append(one)
        # Moving volumes, or removing a snapshot, makes another digest.
        planned = plan.digest if not stages else ""
        stages.append(Destroy(*head("destroy"), emptied=parking is not None, digest=planned))
    if fresh:
        stages.append(Create(*head("create"), desired, back))
        attributes = (*after_create(desired, plan.kept_tags), *(one for one in attributes if one.key in back))
        moving = tuple(one for one in moving if one.key in back)
    elif stopped:
        if plan.snapshots:
            stages.append(DropSnapshots(*head("no-snapshots")))
        stages.append(Stop(*head("stop")))
    if parking:
        for key in back:
            storage = parking.storages[key]
            stages.append(MoveVolume(*head(f"bring-back-{key}"), key, parking.vmid, storage, back=True))
    first = [vmid for vmid in sorted(desired.needs & converging) if everyone[vmid].order < desired.order]
    opened_by: list[str] = []
    opening = plan.opening
    gained = plan.firewall.gained
    if fresh and plan.start and not first and all(step.where.vmid == plan.vmid for step in opening):
        # It converges as soon as it runs: its package sources come into force together with the rest, or it would
        # wait for another cycle of pve-firewall with nothing to do.
        gained, opening = (*gained, *opening), ()
        opened_by.append(f"{plan.vmid}:firewall")
    if gained:
        needed = (one for one in objects if one != f"{plan.vmid}:close")
        stages.append(GainFlows(*head("firewall", *needed), gained))
    if plan.firewall.lost and plan.start:
        # It does not run: nothing is in use, and it shall not start with what it loses.
        stages.append(LoseFlows(*head("lose"), plan.firewall.lost, plan.through))
    for change in moving:
        moved = MoveStorage(*head(f"move-{change.key}"), change)
        stages.append(moved)
    configure = tuple(a for a in attributes if a.via in (Via.CONFIG, Via.REVERT))
    for name, changes in _calls(configure, protected=desired.protect):
        stages.append(Configure(*head(name), changes, digest))
        digest = ""
    for change in attributes:
        if change.via is Via.RESIZE:
            stages.append(Resize(*head(f"resize-{change.key}"), change, digest))
            digest = ""
    by_pct = tuple(a for a in attributes if a.via is Via.PCT)
    if by_pct:
        stages.append(PctSet(*head("pct-set"), by_pct, digest))
    if parking:
        # All that it held is in its place again, the rules of others too.
        stages.append(DropParking(*head("parking-gone"), parking.vmid))
    if plan.start or stopped:
        # Default deny is in force before a container starts: its own rules, and the switch without which they sleep.
        # Also for one that a killed run has made: when its rules were written nobody knows.
        stages.append(Start(*head("start", *switch), guarded=filtered))
    elif plan.restart:
        stages.append(Restart(*head("restart", *switch)))
    if plan.converge:
        if opening:
            stages.append(OpenSources(*head("open-sources", *map(packages_of, first)), opening))
            opened_by.append(stages[-1].id)
        stages.append(Converge(*head("converge", *(f"{one}:converge" for one in first)), plan.closing, plan.through))
        if plan.closing:
            opened_by.append(stages[-1].id)
            stages.append(CloseSources(*head("close-sources"), plan.closing, plan.through, tuple(opened_by)))
    return stages


def _calls(
    changes: tuple[AttributeChange, ...], *, protected: bool
) -> Iterator[tuple[str, tuple[AttributeChange, ...]]]:
    """Changes in the calls that they take: Proxmox changes no drive of a protected container (behaviour 25).

    Args:
        changes: what to set.
        protected: it shall be protected.
    """
    lifted = tuple(one for one in changes if one.key == "protection" and not truth(one.after))
    set_now = tuple(one for one in changes if one.key == "protection" and truth(one.after))
    drives = any(one.key.startswith(("mp", "rootfs")) for one in changes)
    if drives and protected and not set_now:
        yield "unprotect", (AttributeChange("protection", "1", "0"),)
        yield "configure", changes
        yield "protect", (AttributeChange("protection", "0", "1"),)
    elif drives and lifted:
        yield "unprotect", lifted
        yield "configure", tuple(one for one in changes if one not in lifted)
    elif changes:
        yield "configure", changes


def after_create(desired: DesiredContainer, kept: frozenset[str] = frozenset()) -> tuple[AttributeChange, ...]:
    """What a create call with pool rights cannot set (rights.md): tags, features for root@pam alone, protection.

    ``kept`` are tags of others, which the container that it replaces had. ``protection`` waits until the end, so that
    a half-made container can still be removed by its maker.
    """
    where = desired.said_at("")
    changes = [AttributeChange("tags", "", format_tags(desired.tags | kept), where=where)]
    if desired.protect:
        changes.append(AttributeChange("protection", "0", "1", where=where))
    if desired.features != desired.api_features:
        before = ",".join(f"{name}=1" for name in sorted(desired.api_features))
        text = ",".join(f"{name}=1" for name in sorted(desired.features))
        changes.append(AttributeChange("features", before, text, via=Via.PCT, where=where))
    return tuple(changes)
