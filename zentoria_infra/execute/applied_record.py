"""The record of what was last applied at a site: read for a plan to tell drift by, written after a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.engine import Result
from zentoria_infra.execute.events import Status
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.site_state import SiteState
from zentoria_infra.firewall.intent import Compiled
from zentoria_infra.guest.state import GuestState
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan import applied
from zentoria_infra.plan.applied import Applied, Digests, Origins
from zentoria_infra.plan.change import Action, Plan
from zentoria_infra.plan.desired import DesiredContainer
from zentoria_infra.plan.listing import Basis
from zentoria_infra.plan.stages import Destroy

_SHARED = 0


def basis(
    inventory: Inventory, deployment: Deployment, state: SiteState | None, only: Collection[int] | None = None
) -> Basis:
    """What a listing looks at besides the plan.

    Args:
        inventory: says where everything is asked for.
        deployment: what shall be.
        state: holds the record; None where nothing is remembered: the origin of all changes is unknown then.
        only: VMIDs that are planned; None means all.
    """
    places = dict(_places(inventory, deployment.firewall.compiled if deployment.firewall else None))
    pool = inventory.site.proxmox.pool
    inside = deployment.inside if isinstance(deployment.inside, GuestsInside) else None
    wanted = [one for one in deployment.desired if only is None or one.vmid in only]
    if inside is not None and not inside.missing:
        for one in wanted:
            found = {f"inside/{key}": place for key, place in inside.places(one.vmid).items()}
            places[one.vmid] = {**places.get(one.vmid, {}), **found}
    if state is None or inside is None:
        return Basis(places, pool)
    now = _now(wanted, deployment, inside)
    try:
        return Basis(places, pool, Origins(applied.parse(state.get(applied.NAME)), now))
    except ZentoriaError as error:
        return Basis(places, pool, Origins(None, now), unread=str(error).splitlines()[0])


def write(state: SiteState, seen: Basis, plan: Plan, result: Result | None) -> str:
    """Note what a run has applied: of the containers that ended well, and of those that had nothing to do.

    Args:
        state: holds the record.
        seen: from :func:`basis`, for the same plan.
        plan: what was carried out.
        result: how it ended; None when there was nothing to do.

    Returns:
        Why it could not be written, in words for the user; empty when it was.
    """
    bad = {one.stage.vmid for one in result.ended if one.status is not Status.DONE} if result else set()
    good = {one.vmid for one in plan if one.action not in (Action.REFUSE, Action.WAIT)} - bad
    whole = set(seen.origins.now) - {_SHARED} == {one.vmid for one in plan} and not plan.problems
    if whole and _SHARED not in bad:
        good.add(_SHARED)
    now = {vmid: seen.origins.now[vmid] for vmid in good if vmid in seen.origins.now}
    before = seen.origins.applied
    after = (before or Applied()).with_these(now)
    return "" if after == before else _put(state, after)


def forget(state: SiteState, result: Result) -> str:
    """Note which containers a run has destroyed: they have not drifted, they were taken down.

    Returns:
        Why it could not be written, in words for the user; empty when it was.
    """
    gone = {one.stage.vmid for one in result.ended if isinstance(one.stage, Destroy) and one.status is Status.DONE}
    try:
        before = applied.parse(state.get(applied.NAME))
    except ZentoriaError as error:
        return _unwritten(error)
    if before is None or not gone & before.containers.keys():
        return ""
    after = before.with_these({}, gone)
    if set(after.containers) <= {_SHARED}:
        after = Applied()
    return _put(state, after)


def _put(state: SiteState, record: Applied) -> str:
    try:
        state.put(applied.NAME, record.dump())
    except ZentoriaError as error:
        return _unwritten(error)
    return ""


def _unwritten(error: ZentoriaError) -> str:
    return f"what was applied could not be noted, so the next plan cannot tell drift: {error}"


def _now(wanted: Iterable[DesiredContainer], deployment: Deployment, inside: GuestsInside) -> dict[int, Digests]:
    key = inside.key
    firewall = deployment.firewall.compiled.configuration if deployment.firewall else None
    found: dict[int, Digests] = {}
    if firewall is not None:
        found[_SHARED] = applied.digests(applied.shared_values(firewall), _SHARED, key)
    for one in wanted:
        guest = firewall.guest(one.vmid) if firewall is not None else None
        state: GuestState | None = inside.state(one.vmid) if not inside.missing else None
        found[one.vmid] = applied.digests(applied.container_values(one, guest, state), one.vmid, key)
    return found


def _places(inventory: Inventory, compiled: Compiled | None) -> Mapping[int, Mapping[str, str]]:
    """Where the inventory says things: containers by VMID, what firewalls hold by identity."""
    found: dict[int, dict[str, str]] = {one.vmid: {"": inventory.where(one)} for one in inventory.containers}
    shared = {"": inventory.where("zones", "flows")}
    if compiled is not None:
        shared |= {key: str(position) for key, position in compiled.positions.items()}
        shared |= {one.key: str(one.position) for one in compiled.intents}
    found[_SHARED] = shared
    return found
