"""The record of what was last applied at a site: read for a plan to tell drift by, written after a run."""

from __future__ import annotations

from collections.abc import Collection

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.run.engine import Result
from zentoria_infra.execute.run.events import WELL, Status
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.model.change import Action, Plan
from zentoria_infra.plan.model.places import places_of
from zentoria_infra.plan.saved import applied
from zentoria_infra.plan.saved.applied import Applied, Digests, Origins
from zentoria_infra.plan.show.listing import Basis
from zentoria_infra.plan.stages.types import Destroy
from zentoria_infra.site.site_state import SiteState

_SHARED = 0


def basis(
    inventory: Inventory, deployment: Deployment, plan: Plan, content: bytes | None, *, unread: str = ""
) -> Basis:
    """What a listing looks at besides the plan.

    What guests shall be is made only of those that were looked into: their states are made then already.

    Args:
        inventory: says where everything is asked for.
        deployment: what shall be.
        plan: that is to be listed.
        content: the document ``applied`` of the site's memory; None when there is none: origins are unknown then.
        unread: why the document could not be read; empty where it could.

    Raises:
        ZentoriaError: the site's key cannot be made.
    """
    places = dict(places_of(inventory, deployment.firewall.compiled if deployment.firewall else None))
    pool = inventory.site.proxmox.pool
    inside = deployment.inside if isinstance(deployment.inside, GuestsInside) else None
    if inside is None:
        return Basis(places, pool, unread=unread)
    looked = {one.vmid for one in plan if one.guest is not None}
    for vmid in looked:
        found = {f"inside/{key}": place for key, place in inside.places(vmid).items()}
        places[vmid] = {**places.get(vmid, {}), **found}
    before = applied.parse(content)
    if before is None:
        return Basis(places, pool, unread=unread)
    now = _now(deployment, plan, {one.vmid for one in plan}, inside, looked)
    for vmid in looked:
        if anew := applied.asked_anew(inside.state(vmid)):
            now[vmid] = {**now[vmid], **applied.digests(anew, vmid, inside.key)}
    return Basis(places, pool, Origins(before, now), unread)


def recorded(state: SiteState) -> tuple[bytes | None, str]:
    """Read the document for a plan, which is worth having without it.

    Returns:
        The document, None when there is none; and why it could not be read, empty when it could.
    """
    try:
        return state.get(applied.NAME), ""
    except ZentoriaError as error:
        return None, str(error).splitlines()[0]


def after(deployment: Deployment, plan: Plan, result: Result | None, content: bytes | None) -> bytes:
    """The document after a run: anew for the containers that ended well, and for those that had nothing to do.

    Args:
        deployment: what shall be.
        plan: what was carried out.
        result: how it ended; None when there was nothing to do.
        content: the document before.
    """
    before = applied.parse(content) or Applied()
    if not isinstance(deployment.inside, GuestsInside):
        return before.dump()
    bad = {one.stage.vmid for one in result.ended if one.status not in WELL} if result else set()
    good = {one.vmid for one in plan if one.action not in (Action.REFUSE, Action.WAIT)} - bad
    without = bool(deployment.inside.missing)
    now = _now(deployment, plan, good, deployment.inside, set() if without else good)
    if without:  # who goes inside knows more, and it stays
        now = {
            vmid: {**{key: one for key, one in before.containers.get(vmid, {}).items() if _is_inside(key)}, **values}
            for vmid, values in now.items()
        }
    if _SHARED in bad or len(plan.containers) < len(deployment.desired):
        now.pop(_SHARED, None)
    return before.with_these(now, _destroyed(result, orphans=True)).dump()


def after_rollback(content: bytes | None, vmid: int, *, whole: bool = False) -> bytes:
    """The document after a container went back to an earlier release or snapshot: that it differs is intent.

    Args:
        content: the document before.
        vmid: the container.
        whole: its configuration went back too, as with a snapshot.
    """
    before = applied.parse(content) or Applied()
    then = before.containers.get(vmid)
    if then is None:
        return before.dump()
    went = ("inside/", "config/") if whole else ("inside/",)
    return before.with_these({vmid: {key: one for key, one in then.items() if not key.startswith(went)}}).dump()


def _is_inside(name: str) -> bool:
    return name.startswith("inside/")


def after_removal(content: bytes | None, result: Result) -> bytes:
    """The document after containers were destroyed on purpose: they have not drifted, they were taken down.

    Args:
        content: the document before.
        result: how the removal ended.
    """
    left = (applied.parse(content) or Applied()).with_these({}, _destroyed(result))
    return (left if set(left.containers) - {_SHARED} else Applied()).dump()


def _destroyed(result: Result | None, *, orphans: bool = False) -> set[int]:
    """VMIDs of containers that a run has destroyed; with ``orphans``, of those that the inventory does not have."""
    return {
        one.stage.vmid
        for one in (result.ended if result else ())
        if isinstance(one.stage, Destroy)
        and one.status is Status.DONE
        and (one.stage.orphan is not None or not orphans)
    }


def _now(
    deployment: Deployment, plan: Plan, vmids: Collection[int], inside: GuestsInside, looked: Collection[int]
) -> dict[int, Digests]:
    """Digests of what some containers shall be, and of what all share; with the inside of those of ``looked``."""
    key = inside.key
    firewall = deployment.firewall.compiled.configuration if deployment.firewall else None
    found: dict[int, Digests] = {}
    if firewall is not None:
        found[_SHARED] = applied.digests(applied.shared_values(firewall), _SHARED, key)
    planned = {one.vmid: one.desired for one in plan}
    for wanted in deployment.desired:
        one = planned.get(wanted.vmid) or wanted  # its volumes at the mount points that they have
        if one.vmid in vmids:
            guest = firewall.guest(one.vmid) if firewall is not None else None
            state = inside.state(one.vmid) if one.vmid in looked else None
            found[one.vmid] = applied.digests(applied.container_values(one, guest, state), one.vmid, key)
    return found
