"""A site's stack on its node: plan it, bring it up, take it down."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from zentoria_infra.errors import PermissionDeniedError, RefusedError, ZentoriaError
from zentoria_infra.execute.look import world
from zentoria_infra.execute.look.firewall_observe import observe_firewall, read_firewall
from zentoria_infra.execute.look.node_needs import unmet_needs
from zentoria_infra.execute.look.removal import RemovalLook
from zentoria_infra.execute.run import engine, perform, rights
from zentoria_infra.execute.run.events import Listener
from zentoria_infra.execute.run.perform import Converger, Performer
from zentoria_infra.execute.run.perform_firewall import NO_PROXY, FirewallPerformer, Sources
from zentoria_infra.firewall.change import changes
from zentoria_infra.firewall.config import Guest
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.diff import make_plan
from zentoria_infra.plan.firewall import DesiredFirewall, add_firewall
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.model.values import truth
from zentoria_infra.plan.orphans import clashes, held_back, orphans_of, with_orphans
from zentoria_infra.plan.pruning import pruned
from zentoria_infra.plan.stages.build import build_stages
from zentoria_infra.plan.stages.types import DATACENTER, AnyStage, Converge, Destroy, LoseFlows, ParkFirewall
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.firewall import records as fw

MANAGEMENT = "management"
"""IP set of the datacenter whose members reach the nodes' management ports (Proxmox's own name)."""


class Inside(Converger, Protocol):
    """The inside of containers: looked at for a plan, changed by a run."""

    @property
    def missing(self) -> str:
        """Why nothing can be done inside containers; empty where it can."""
        ...

    def check(self, vmid: int) -> GuestReport:
        """What the agent would change. Raises GuestError."""
        ...


class Deployment:
    """One site's containers on one node or cluster.

    Args:
        proxmox: the client.
        desired: the containers of the inventory, in start order.
        inside: looks into guests and changes them.
        listen: told of the progress of a run.
        firewall: as it shall be, and proven; None leaves the firewall alone.
        sources: where the containers' packages come from.
        management: networks of the admins, which may reach the node with the firewall on.
        prepared: told of a container and of the templates of its node (sizes by volume id), answers the container with
            the template that it is made from.
    """

    def __init__(
        self,
        proxmox: Proxmox,
        desired: Sequence[DesiredContainer],
        inside: Inside,
        listen: Listener = lambda event: None,
        *,
        firewall: DesiredFirewall | None = None,
        sources: Sources = NO_PROXY,
        management: Sequence[str] = (),
        prepared: Callable[[DesiredContainer, Mapping[str, int]], DesiredContainer] = lambda one, templates: one,
    ) -> None:
        self._proxmox = proxmox
        self._prepared = prepared
        self._desired = tuple(desired)
        self._inside = inside
        self._listen = listen
        self._firewall = firewall
        self._sources = sources
        self._management = tuple(management)
        self._planned_from: World | None = None

    @property
    def desired(self) -> tuple[DesiredContainer, ...]:
        """The containers of the inventory, in start order."""
        return self._desired

    @property
    def inside(self) -> Inside:
        """The inside of the containers."""
        return self._inside

    @property
    def planned_from(self) -> World:
        """What the last plan was made from.

        Raises:
            RuntimeError: none was made.
        """
        if self._planned_from is None:
            raise RuntimeError("nothing was planned yet")
        return self._planned_from

    @property
    def firewall(self) -> DesiredFirewall | None:
        """The firewall as it shall be; None where it is left alone."""
        return self._firewall

    def observe(self, only: Collection[int] | None = None, *, replace: Collection[int] = ()) -> World:
        """Read what is there. ``only`` limits it to some containers; ``replace`` are those somebody wants replaced."""
        wanted = self._selected(only)
        look = None if self._inside.missing else self._look
        seen = world.observe(
            self._proxmox.observe,
            wanted,
            look,
            no_inside=self._inside.missing,
            replace=replace,
            reserved=[one.vmid for one in self._desired],
            pools={one.pool for one in self._desired},
        )
        return self._with_firewall(seen, wanted, seen) if self._firewall is not None else seen

    def there(self) -> frozenset[int]:
        """VMIDs of the inventory's containers that exist, as far as we may see them."""
        nodes = sorted({one.node for one in self._desired})
        return frozenset(guest.vmid for node in nodes for guest in self._proxmox.observe.containers(node))

    def plan(
        self,
        only: Collection[int] | None = None,
        *,
        wait: bool = False,
        replace: Collection[int] = (),
        prune: bool = False,
    ) -> tuple[Plan, tuple[AnyStage, ...]]:
        """Make a plan and its stages.

        Args:
            only: VMIDs to plan for; None means all.
            wait: first wait for tasks that an earlier run left at work on the node.
            replace: VMIDs of containers that are replaced though nothing asks for it.
            prune: containers of ours that the inventory does not have are destroyed.
        """
        wanted = self._selected(only)
        if wait:
            world.wait_for_tasks(self._proxmox.observe, wanted, self._proxmox.who)
        seen = self.observe(only, replace=replace)
        wanted = tuple(self._prepared(one, seen.templates.get(one.node, {})) for one in wanted)
        made = plan = make_plan(wanted, seen, replace=frozenset(replace))
        if self._firewall is not None:
            plan = add_firewall(made, seen, self._firewall)
            if only is not None and plan.datacenter.gained:
                # What all containers share will change: what that means for the others is looked at as well.
                seen = self._with_firewall(seen, self._desired, self._seen(None))
                plan = add_firewall(made, seen, self._firewall)
            plan = dataclasses.replace(
                plan, problems=(*plan.problems, *world.unfiltered(self._proxmox.observe, wanted))
            )
        self._planned_from = seen
        plan = with_orphans(plan, wanted, seen, {one.vmid for one in self._desired}, prune=prune)
        stages = build_stages(plan, wanted)
        if prune and plan.orphans and not plan.problems:
            gone = self._without_orphans(plan.orphans, seen, RemovalLook(self._proxmox.observe))
            stages = pruned(stages, gone, clashes(plan, wanted, seen, plan.orphans))
        return self._with_rights(plan, stages), stages

    def _with_rights(self, plan: Plan, stages: Sequence[AnyStage]) -> Plan:
        """The plan, and as problems what we may not do of it; or not even see, where something looks like another's."""
        if not stages and not plan.refused:
            return plan
        held = self._proxmox.observe.permissions()
        missing = rights.missing_to_look(held, self._desired, firewall=self._firewall is not None)
        missing += rights.missing_rights(held, stages, self._desired, self._release)
        return dataclasses.replace(plan, problems=(*plan.problems, *self._lacking(missing)))

    def lacks(self, stages: Sequence[AnyStage]) -> tuple[str, ...]:
        """What we may not do of stages that a plan was given besides its own, in words."""
        held = self._proxmox.observe.permissions()
        missing = rights.missing_rights(held, stages, self._desired, self._release)
        return tuple(self._lacking(missing))

    def _release(self) -> int:
        return self._proxmox.observe.version().major

    def _lacking(self, missing: Iterable[str]) -> Iterator[str]:
        return (f"{self._proxmox.who} lacks {one}: `zentoria bootstrap` gives it" for one in missing)

    def run(
        self, stages: Sequence[AnyStage], stop: threading.Event | None = None, listen: Listener | None = None
    ) -> engine.Result:
        """Carry out stages.

        Args:
            stages: of a plan of this deployment.
            stop: once set, no further stage begins.
            listen: told of the progress, instead of whom the deployment was made with.
        """
        nodes = {one.vmid: one.node for one in self._desired}
        nodes |= {stage.parking: nodes[stage.vmid] for stage in stages if isinstance(stage, ParkFirewall)}
        firewall = FirewallPerformer(self._proxmox, nodes, self._sources, self._management)
        halfway = engine.Halfway()
        desired = {one.vmid: one for one in self._desired}
        performer = Performer(self._proxmox, desired, self._inside, firewall, halfway.passed)
        return engine.run(stages, performer, listen or self._listen, stop=stop, halfway=halfway)

    def removal(
        self, only: Collection[int] | None = None, orphans: Collection[int] = ()
    ) -> tuple[tuple[AnyStage, ...], tuple[int, ...]]:
        """Stages that destroy our containers; those that are not there need none.

        Args:
            only: VMIDs of the inventory; None means all.
            orphans: VMIDs of containers of ours that the inventory does not have, which are destroyed too.

        Returns:
            The stages, and the VMIDs that are left alone: those that are not ours, and orphans that nobody named.

        Raises:
            RefusedError: one of them is protected, its data is parked, or we lack a right; nothing was changed.
        """
        stages: list[AnyStage] = []
        left: list[int] = []
        look = RemovalLook(self._proxmox.observe)
        world.wait_for_tasks(self._proxmox.observe, self._selected(only), self._proxmox.who)
        seen = self._seen(only)
        for one in reversed(self._selected(only)):
            observed = seen.containers.get(one.vmid)
            if parked := seen.parked.get(one.vmid):
                raise RefusedError(
                    f"destroy container {one.vmid} ({one.name})",
                    got=f"a run that did not end was replacing it, and container {parked.vmid} holds its data",
                    todo="`zentoria up` completes that run first; nothing was changed",
                )
            if observed is None:
                if one.vmid in seen.taken:
                    left.append(one.vmid)  # somebody else's: our token may not even see it
                continue
            text = observed.config.get("description", "")
            if ownership.owner(text, one.site_id, one.vmid) is not ownership.Owner.OURS:
                left.append(one.vmid)
                continue
            if one.protect or truth(observed.config.get("protection", "0")):
                raise RefusedError(
                    f"destroy container {one.vmid} ({one.name})",
                    got="it is protected",
                    todo=f"set `protect: false` ({one.said_at('protection')}) and run `zentoria up`, then try again",
                )
            stages.append(look.stage(observed, one.name, one.site_id))
        found = self._orphans(seen)
        stages += self._without_orphans([one for one in found if one.vmid in orphans], seen, look)
        if missing := set(orphans) - {one.vmid for one in found}:
            named = ", ".join(map(str, sorted(missing)))
            raise RefusedError(
                f"destroy container {named}",
                got="the inventory has none of that name, and there is no container of that VMID with our site's mark",
                todo="`zentoria status` names what there is; nothing was changed",
            )
        left += [one.vmid for one in found if only is None and one.vmid not in orphans]
        if only is None and not left:
            stages += self._objects_removal(tuple(stage.id for stage in stages))
        if stages:
            self.require_rights(stages)
        return tuple(stages), tuple(left)

    def remains(self, left: Collection[int], *, whole: bool) -> Iterator[str]:
        """What stays when the stack was taken down, in words.

        Args:
            left: VMIDs that :meth:`removal` left alone.
            whole: all of the stack was taken down, and not some containers.
        """
        if whole and self._firewall is not None:
            with contextlib.suppress(ZentoriaError):
                yield from self._shared_left()
        for vmid in left:
            whose = "is not Zentoria's" if vmid in {one.vmid for one in self._desired} else (
                f"is not in the inventory: `zentoria down {vmid}` destroys it"
            )  # fmt: skip
            yield f"container {vmid} {whose}; left as it is"

    def _shared_left(self) -> Iterator[str]:
        """What is turned on or made in the datacenter for the node's own sake: others may count on it by now."""
        options, _ = self._proxmox.firewall.options(fw.DATACENTER)
        if truth(options.get("enable", "0")):
            yield "the datacenter's firewall stays on (Datacenter, Firewall, Options turns it off)"
        if found := self._proxmox.firewall.ipset(fw.DATACENTER, MANAGEMENT):
            members = ", ".join(one.cidr for one in found.entries)
            yield f"the datacenter's IP set `{MANAGEMENT}` stays: {members or 'it is empty'} (who reaches the node)"

    def _orphans(self, seen: World) -> tuple[Orphan, ...]:
        return orphans_of(seen, {one.vmid for one in self._desired}, self._desired[0].site_id) if self._desired else ()

    def _without_orphans(self, orphans: Sequence[Orphan], seen: World, look: RemovalLook) -> list[Destroy]:
        if held := [text for one in orphans if (text := held_back(one, seen))]:
            raise RefusedError("destroy orphans", got="; ".join(held), todo="nothing was changed")
        return [look.orphan(one, seen.others[one.vmid]) for one in orphans]

    def _objects_removal(self, after: tuple[str, ...]) -> list[AnyStage]:
        """Our objects in the datacenter go when the last of our containers does; its switch stays as it is."""
        if self._firewall is None:
            return []
        wanted = self._firewall.compiled.configuration
        steps = changes.removal(observe_firewall(self._proxmox.firewall, wanted, {}), wanted.datacenter).lost
        return [LoseFlows(0, DATACENTER, f"{DATACENTER}:lose", after, steps)] if steps else []

    def _with_firewall(self, seen: World, wanted: Sequence[DesiredContainer], found_in: World) -> World:
        """What was seen, with the firewall of those of our containers that were found."""
        if self._firewall is None:
            return seen
        ours = {
            one.vmid: observed.config
            for one in wanted
            if (observed := found_in.containers.get(one.vmid)) is not None and world.is_ours(one, observed)
        }
        try:
            compiled, whole = self._firewall.compiled, {*seen.spare, *seen.parked}
            found, digests = read_firewall(self._proxmox.firewall, compiled.configuration, ours, whole)
            lacks = unmet_needs(self._proxmox.firewall, compiled)
            copies = {vmid: self._copy(one) for vmid, one in seen.parked.items()}
        except ZentoriaError as error:
            return dataclasses.replace(seen, firewall_unknown=str(error))
        return dataclasses.replace(
            seen, firewall=found, firewall_digests=digests, parked_firewall=copies, node_lacks=lacks
        )

    def _copy(self, parked: ObservedContainer) -> Guest:
        """The firewall of a parking container."""
        name = parked.config.get("hostname", "")
        read = self._proxmox.firewall.guest
        return read(parked.vmid, name, (), node=parked.node, ipsets=(), aliases=True, all_ipsets=True).guest

    def require_ours(self, vmid: int) -> None:
        """Refuse to go into a container that is not ours.

        Raises:
            RefusedError: it does not carry our mark.
        """
        one = next(one for one in self._desired if one.vmid == vmid)
        try:
            config = self._proxmox.observe.config(vmid, one.node)
        except PermissionDeniedError as error:
            raise RefusedError(
                f"go into container {vmid} ({one.name})",
                got=f"it does not exist or is not Zentoria's; Proxmox says the same of both: {error.got}",
                todo="`zentoria status` tells which; `zentoria up` makes what is missing",
            ) from None
        perform.require_ours(config, one)

    def require_rights(self, stages: Sequence[AnyStage]) -> None:
        """See that we may do what some stages do.

        Raises:
            RefusedError: a right is missing.
        """
        held = self._proxmox.observe.permissions()
        missing = rights.missing_rights(held, stages, self._desired, self._release)
        rights.require_rights(missing, self._proxmox.who)

    def require_inside(self, stages: Sequence[AnyStage]) -> None:
        """See that the way into containers is open, where stages need it: before the first of them is made.

        Raises:
            UnreachableError: the node cannot be reached over SSH; AuthError when it does not accept the key.
        """
        if any(isinstance(stage, Converge) for stage in stages):
            self._proxmox.pct.reach()

    def _seen(self, only: Collection[int] | None) -> World:
        reserved, pools = [one.vmid for one in self._desired], {one.pool for one in self._desired}
        return world.observe(
            self._proxmox.observe, self._selected(only), None, no_inside="not asked", reserved=reserved, pools=pools
        )

    def _selected(self, only: Collection[int] | None) -> tuple[DesiredContainer, ...]:
        return tuple(one for one in self._desired if only is None or one.vmid in only)

    def _look(self, one: DesiredContainer) -> GuestCheck:
        try:
            return GuestCheck(self._inside.check(one.vmid))
        except ZentoriaError as error:
            return GuestCheck(unknown=world.describe(error))
        except OSError as error:
            return GuestCheck(unknown=f"{error.strerror or error} on this machine")
