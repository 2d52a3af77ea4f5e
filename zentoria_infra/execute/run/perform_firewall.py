"""Carries out the firewall's steps on a Proxmox server, and proves from inside that what was opened is closed again."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from zentoria_infra.errors import GuestError, ZentoriaError
from zentoria_infra.execute.run import egress_probe
from zentoria_infra.execute.run.in_force import InForce
from zentoria_infra.firewall.change.steps import (
    DropAlias,
    DropEntry,
    DropGroup,
    DropIpSet,
    DropRule,
    InsertRule,
    MakeGroup,
    MakeIpSet,
    MoveToEnd,
    PutAlias,
    PutEntry,
    SetOptions,
    Step,
    UpdateRule,
    Where,
    exactly,
    same_rule,
    says,
)
from zentoria_infra.inventory.model import Site
from zentoria_infra.plan.model.change import LostFlow
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.errors import MissingError
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.reachable import Patience, turn_on

Say = Callable[[str], None]

CYCLE = Patience().cycle
"""Seconds until what was written is in force on every node: pve-firewall looks every ten."""

_WAIT = 3 * CYCLE
_PAUSE, _LATER, _LONGEST = 0.3, 1.0, 5.0
"""Seconds between two looks from inside: at first, later, and at most where the look itself takes the node long. Each
costs it a second of a processor."""
_PROBE = 1.0
"""Seconds that a look waits for each target."""
_PORTS = 32
"""Intervals of up to so many ports are cut port by port, others by protocol alone: what rules still allow goes on."""


class OpeningError(ZentoriaError):
    """A container's package sources could not be opened, or not be closed again."""


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where a container's packages come from, as far as the firewall goes.

    Args:
        proxy: host and port of the HTTP proxy; None without one.
    """

    proxy: tuple[str, int] | None


NO_PROXY = Sources(None)


def package_sources(site: Site) -> Sources:
    """The sources of a site: its proxy, where it has one."""
    if site.proxy is None:
        return NO_PROXY
    url = urlsplit(site.proxy)
    return Sources((url.hostname or "", url.port or (443 if url.scheme == "https" else 80)))


class FirewallPerformer:
    """Carries out steps. Safe from several threads.

    Args:
        proxmox: the node.
        nodes: node by VMID.
        sources: where packages come from.
        management: the admins' networks.
        clock: monotonic seconds.
        sleep: waits seconds.
    """

    def __init__(
        self,
        proxmox: Proxmox,
        nodes: Mapping[int, str],
        sources: Sources = NO_PROXY,
        management: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._proxmox = proxmox
        self._nodes = nodes
        self._sources = sources
        self._management = tuple(management)
        self._clock = clock
        self._sleep = sleep
        self._in_force = InForce(proxmox, nodes, clock=clock, sleep=sleep)

    def await_filter(self, vmid: int, say: Say) -> None:
        """Wait until a container is filtered that is about to start.

        Raises:
            NotInForceError: it is not; it must not be started.
        """
        self._in_force.before_start(vmid, say)

    def carry_out(self, steps: Sequence[Step], say: Say) -> None:
        """Carry out steps, one after the other. Each may have been done before: by a run that was killed.

        Raises:
            ZentoriaError: one did not work; the next run goes on from what is there.
        """
        for number, step in enumerate(steps, 1):
            say(f"{number}/{len(steps)} {says(step)}")
            self._one(step)
            self._in_force.wrote(step.where.vmid)

    def switch_on(self, say: Say) -> None:
        """Turn the datacenter's firewall on; it is taken back unless the node can be reached again.

        Raises:
            LockedOutError: it could not be reached; it is off again.
        """
        say("wait until the node can be reached with it on")
        turn_on(self._proxmox, self._management)

    def await_sources(self, vmid: int, through: Sequence[LostFlow], say: Say) -> None:
        """Wait until a container's package sources, which were opened, can be reached.

        Args:
            vmid: the container.
            through: what can be reached then and not otherwise.
            say: told of the progress.

        Raises:
            OpeningError: they cannot be reached; they are closed again by the caller.
        """
        say("wait until package sources can be reached")
        targets = self._targets(vmid, through)
        if targets and not self._until(vmid, targets, is_open=True):
            names = ", ".join(f"{host}:{port}" for host, port in targets)
            named = any(not host.replace(".", "").isdigit() for host, _ in targets)
            raise OpeningError(
                f"reach the package sources of container {vmid}",
                got=f"none of {names} takes a connection from inside it, with the firewall open for them",
                todo="check the site's `proxy`, `dns` and `package_sources`, and that the node lets containers out: "
                "`zentoria bootstrap --dry-run` looks at its NAT and says what it lacks"
                + ("; of one in a private network, write the address in place of the name" if named else ""),
            )

    def close_sources(
        self, vmid: int, steps: Sequence[Step], through: Sequence[LostFlow], say: Say, ends: Iterable[int] = ()
    ) -> None:
        """Close a container's package sources, prove that they are closed, and cut what is open to them.

        Args:
            vmid: the container.
            steps: what closes them; none where that was done before.
            through: what went through them.
            say: told of the progress.
            ends: other containers whose rules they were opened in.

        Raises:
            OpeningError: they can still be reached, or a rule could not be removed.
            NotInForceError: the node does not come to close them.
        """
        self._close(vmid, steps, say)
        self.prove_closed(vmid, through, say, ends)
        if self._proxmox.has_ssh:
            self._cut(through, say)

    def _close(self, vmid: int, steps: Sequence[Step], say: Say) -> None:
        """Carry out every step, also when one before it failed: as little as possible stays open."""
        failed: ZentoriaError | None = None
        for step in steps:
            try:
                self.carry_out([step], say)
            except ZentoriaError as error:
                failed = failed or error
        if failed is not None:
            raise OpeningError(
                f"close the package sources of container {vmid}",
                got=f"{failed.tried}: {failed.got}",
                todo=f"{failed.todo}; run again: it closes what was left open (`zentoria status` shows it)",
            ) from failed

    def prove_closed(self, vmid: int, through: Sequence[LostFlow], say: Say, ends: Iterable[int] = ()) -> None:
        """See that package sources are closed: by the node's word, and from inside.

        A stopped container reaches nothing. The container's own word alone is not enough: it may be the one that they
        are closed to. What flows of the inventory allow anyway is not tried: that stays open.

        Raises:
            OpeningError: they can still be reached.
            NotInForceError: the node does not come to close them.
        """
        if not self._proxmox.has_ssh or self._proxmox.observe.status(vmid, self._nodes[vmid]) != "running":
            return
        say("prove that package sources are closed")
        self._in_force.all_of({vmid, *ends}, say)
        targets = self._targets(vmid, through)
        if targets and not self._until(vmid, targets, is_open=False):
            names = ", ".join(f"{host}:{port}" for host, port in targets)
            raise OpeningError(
                f"close the package sources of container {vmid}",
                got=f"{names} can still be reached from inside it",
                todo="see `zentoria firewall prove --observed` and that pve-firewall runs on the node; then run again",
            )

    def cut(self, flows: Sequence[LostFlow], say: Say) -> None:
        """Cut the open connections of lost flows, once the rules that allowed them are out of force.

        Raises:
            ZentoriaError: the node's table of connections could not be changed.
        """
        if not flows:
            return
        say("wait until the lost rules are out of force")
        # A connection that is cut too early comes back as a new one, by the rule that is still in force; and no guest
        # is asked whether it is, for it may be the one that would rather keep the connection.
        self._in_force.all_of(self._nodes, say)
        self._cut(flows, say)

    def _cut(self, flows: Sequence[LostFlow], say: Say) -> None:
        for flow in flows:
            say(f"cut {flow.says}")
            for port in _ports(flow):
                self._proxmox.conntrack.cut(flow.source, flow.destination, flow.protocol, port)

    def _until(self, vmid: int, targets: Sequence[tuple[str, int]], *, is_open: bool) -> bool:
        """Ask until one target is open, or all are closed."""
        until, pause = self._clock() + _WAIT, _PAUSE
        while True:
            begun = self._clock()
            found = egress_probe.is_open(self._proxmox, vmid, targets, _PROBE)
            if any(found.values()) == is_open:
                return True
            # A node that takes long over the look itself takes longer over its firewall too.
            cost = max(0.0, self._clock() - begun - _PROBE)
            until += cost
            if self._clock() >= until:
                return False
            self._sleep(max(pause, min(cost, _LONGEST)))
            pause = min(pause * 1.4, _LATER)

    def _targets(self, vmid: int, through: Sequence[LostFlow]) -> Sequence[tuple[str, int]]:
        """Where the container's packages come from: the site's proxy, else what its own package sources name.

        Only those that can be reached by the opening alone.
        """
        if self._sources.proxy is not None:
            found = [self._sources.proxy]
        else:
            argv = ["apt-get", "indextargets", "--format", "$(SITE)"]
            tried = f"ask container {vmid} for its package sources"
            result = self._proxmox.pct.exec(vmid, argv, tried=tried)
            if result.exit:
                said = (result.stderr or result.stdout).decode(errors="replace").strip()[-500:]
                raise GuestError(
                    tried,
                    got=f"`apt-get indextargets` ended with {result.exit}: {said}",
                    todo=f"look at its package sources: `pct exec {vmid} -- apt-get indextargets`",
                )
            found = _hosts(result.stdout.decode(errors="replace"))
        return [target for target in found if any(_has(flow, target) for flow in through)]

    def _one(self, step: Step) -> None:
        write = self._proxmox.write_firewall
        scope = self._scope(step.where)
        match step:
            case SetOptions(values=values):
                write.set_options(scope, values)
            case PutAlias(alias=alias, exists=exists):
                if exists:
                    write.update_alias(scope, alias)
                else:
                    write.create_alias(scope, alias)
            case DropAlias(name=name):
                write.delete_alias(scope, name)
            case MakeIpSet(name=name, comment=comment):
                write.create_ipset(scope, name, comment)
            case DropIpSet(name=name):
                write.delete_ipset(scope, name, force=True)
            case PutEntry(ipset=ipset, entry=entry, exists=exists):
                if exists:
                    write.update_entry(scope, ipset, entry)
                else:
                    write.add_entry(scope, ipset, entry)
            case DropEntry(ipset=ipset, cidr=cidr):
                write.delete_entry(scope, ipset, cidr)
            case MakeGroup(name=name, comment=comment):
                write.create_group(name, comment)
            case DropGroup(name=name):
                write.delete_group(name)
            case InsertRule(rule=rule):
                write.rules.insert(scope, rule)
            case UpdateRule(rule=rule):
                try:
                    write.rules.update(scope, same_rule(rule), rule)
                except MissingError:
                    if rule.enable:
                        raise
                    # It was to be put to sleep, and somebody has removed it: so it is.
            case MoveToEnd(rule=rule):
                write.rules.move(scope, same_rule(rule))
            case DropRule(rule=rule, exact=exact):
                write.rules.delete(scope, exactly(rule) if exact else same_rule(rule), surplus=exact)

    def _scope(self, where: Where) -> fw.Scope:
        if where.vmid:
            return fw.guest(where.vmid, self._nodes[where.vmid])
        return fw.group(where.group) if where.group else fw.DATACENTER


def _hosts(text: str) -> list[tuple[str, int]]:
    """Hosts and ports of package sources, from URLs or sites as apt prints them; each once, and none of files."""
    found: list[tuple[str, int]] = []
    for line in text.split():
        match = re.match(r"(?:(https?)://)?(?:[^@/]*@)?([A-Za-z0-9.-]+)(?::(\d+))?(?:/|$)", line)
        if match:
            port = int(match[3]) if match[3] else 443 if match[1] == "https" else 80
            found.append((match[2], port))
    return list(dict.fromkeys(found))


def _has(flow: LostFlow, target: tuple[str, int]) -> bool:
    """Whether a TCP connection to a target belongs to a flow; of a name it is not known where it leads."""
    host, port = target
    is_there = flow.destination in ("", host) or not host.replace(".", "").isdigit()
    return flow.protocol in ("", "tcp") and flow.ports[0] <= port <= flow.ports[1] and is_there


def _ports(flow: LostFlow) -> range | list[int]:
    first, last = flow.ports
    return range(first, last + 1) if flow.protocol and last - first < _PORTS else [0]
