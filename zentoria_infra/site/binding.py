"""Binds a plan to what it was made from: a saved plan is carried out as it is, or refused with what moved since."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from typing import Protocol

from pydantic.main import IncEx

import zentoria_infra
from zentoria_infra.errors import RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.recipe import bare_url, recipes
from zentoria_infra.guest.state import GuestReport, GuestState
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.document import PlanDocument
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.saved.moved import moved
from zentoria_infra.plan.saved.saved_plan import GuestHashes, SavedPlan, sealed
from zentoria_infra.plan.saved.state_file import state_of

__all__ = ["bound", "inventory_hash", "moved", "require_unmoved", "saved_plan_for"]

_OF_THIS_MACHINE: Mapping[str, IncEx | bool] = {
    "proxmox": {"host", "port", "ca_file", "fingerprint", "token_id", "token_secret_file", "ssh", "connect_timeout",
                "read_timeout"},
    "certificate": {"certificate_file", "key_file"},
    "secrets_file": True,
    "parallel": True,
    "limits": True,
}  # fmt: skip
"""Of a site: how this machine reaches the node and keeps its secrets, and how it works. What is made does not depend
on it."""


class Keyed(Protocol):
    """The inside of containers, as far as hashes go (:class:`zentoria_infra.execute.inside.GuestsInside`)."""

    @property
    def missing(self) -> str:
        """Why nothing can be done inside containers; empty where it can."""
        ...

    @property
    def key(self) -> bytes:
        """The site's key for fingerprints."""
        ...

    def state(self, vmid: int) -> GuestState:
        """The desired state of one guest."""
        ...


class Unkeyed:
    """Containers without an inside."""

    missing = "they have no inside"
    key = b""

    def state(self, vmid: int) -> GuestState:
        """Never asked: nobody looked inside. Raises KeyError."""
        raise KeyError(vmid)


def saved_plan_for(
    inventory: Inventory,
    desired: Collection[DesiredContainer],
    world: World,
    plan: PlanDocument,
    inside: Keyed,
    *,
    only: Collection[int] | None = None,
) -> SavedPlan:
    """A plan with everything that it was made from, sealed.

    Of guests that were looked at, the desired state is hashed with the site's key, since passwords are in it; it was
    made for the look anyway. Of the others the recipe is bound, so that nothing is built for a plan.

    Args:
        inventory: what was planned.
        desired: its containers.
        world: what the plan was made from (``Deployment.planned_from``).
        plan: the plan's document.
        inside: of the containers.
        only: the containers that the plan is for; None for all.
    """
    chosen = sorted(one.vmid for one in desired if only is None or one.vmid in only)
    bound = recipes(inventory, chosen)
    return sealed(
        SavedPlan(
            tool=zentoria_infra.__version__,
            site=inventory.site.id,
            node=inventory.site.proxmox.node,
            inventory=inventory_hash(inventory),
            selected=None if only is None else tuple(chosen),
            guests=tuple(_hashes(vmid, bound[vmid], world, inside) for vmid in chosen),
            state=state_of(world, desired, inventory.site.id, bound),
            plan=plan,
        )
    )


def bound(
    inventory: Inventory, deployment: Deployment, plan: PlanDocument, *, only: Collection[int] | None = None
) -> SavedPlan:
    """The last plan of a deployment with everything that it was made from; see :func:`saved_plan_for`."""
    inside = deployment.inside
    keyed = inside if isinstance(inside, GuestsInside) else Unkeyed()
    return saved_plan_for(inventory, deployment.desired, deployment.planned_from, plan, keyed, only=only)


def require_unmoved(saved: SavedPlan, now: SavedPlan) -> None:
    """See that a saved plan is still what would be planned now, for the same reasons.

    Args:
        saved: as read from its file.
        now: made anew of what is there now, for the same containers.

    Raises:
        RefusedError: something moved; every such thing is named.
    """
    found = moved(saved, now)
    if found:
        raise RefusedError(
            f"carry out the saved plan {saved.name}",
            got="\n  - ".join(["what it was made from has moved since:", *found]),
            todo="nothing was changed; make the plan anew (`zentoria plan --out FILE`), and look at it again",
        )


def inventory_hash(inventory: Inventory) -> str:
    """SHA-256 of what the inventory says. Where files are, and where in them it is said, does not matter.

    There is no secret in an inventory but for the password that a proxy's URL may carry; that is left out.
    """
    site = inventory.site.model_copy(update={"proxy": bare_url(inventory.site.proxy)})
    value = inventory.model_copy(update={"site": site}).model_dump(
        mode="json", exclude={"root": True, "positions": True, "site": _OF_THIS_MACHINE}
    )
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _hashes(vmid: int, recipe: str, world: World, inside: Keyed) -> GuestHashes:
    check = world.guests.get(vmid)
    if check is None or check.report is None or inside.missing:
        return GuestHashes(vmid=vmid, recipe=recipe)
    state, report = inside.state(vmid).model_dump_json(), _timeless(check.report)
    keyed = (hmac.new(inside.key, f"{vmid}\0{text}".encode(), "sha256").hexdigest() for text in (state, report))
    return GuestHashes(vmid=vmid, recipe=recipe, desired=next(keyed), reported=next(keyed))


def _timeless(report: GuestReport) -> str:
    return report.model_copy(update={"seconds": 0.0}).model_dump_json()
