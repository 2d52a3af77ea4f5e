"""Waits until firewall rules that were written are in force on the node.

What Proxmox is told about the firewall goes into files. pve-firewall reads all of them every ten seconds, compiles them
and changes the kernel's rules (PVE::Service::pve_firewall, ``$updatetime``). It compiles the rules of each container
that has a configuration on the node, whether that runs or not (PVE::Firewall::read_local_vm_config goes through all of
them, ``compile_iptables_filter`` asks for no state), by the name that its network device will have: so the rules of a
container can be in force before it first starts, and are waited for then.

The API has no word for "in force". The node's own ``pve-firewall compile`` has: it compares what the files say with
what the kernel has (``zentoria-firewall pending``, node/firewall.py). Where nobody can be asked (no SSH, another node
of a cluster, rules in nftables), time must do: a whole cycle that began after the write.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Collection, Mapping

from zentoria_infra.errors import ApiError, ZentoriaError
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.shell.filtered import Filtered, NotToldError

Say = Callable[[str], None]

PATIENCE = 150.0
"""Seconds until it is given up. At a load of 20 on two processors a cycle of pve-firewall took up to 13 s more."""
_UPDATE = 10.0
_COMPILE = 1.0
"""Seconds of a processor that one cycle takes: 0.7 for 17 containers, measured."""
_SLOWEST = 30.0
_GAP = 1.0
_LONGEST_GAP = 10.0
"""Seconds between two questions: twice what an answer took, for the node is busy then, within these limits."""


def by_time(load: float, processors: int) -> float:
    """Seconds after which a write is in force on a node, if pve-firewall runs there.

    A write that just misses a cycle waits for its end and for the whole next one. Each takes as much longer as there
    are programs for each processor.
    """
    compiling = min(_SLOWEST, _COMPILE * max(1.0, load / max(1, processors)))
    return max(_UPDATE, compiling) + compiling + 1.0


class NotInForceError(ZentoriaError):
    """Firewall rules did not come into force."""


class InForce:
    """Knows when rules are in force. Safe from several threads, which share the answers.

    Args:
        proxmox: the node.
        nodes: node by VMID.
        clock: monotonic seconds.
        sleep: waits seconds.
    """

    def __init__(
        self,
        proxmox: Proxmox,
        nodes: Mapping[int, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._proxmox = proxmox
        self._nodes = nodes
        self._clock = clock
        self._sleep = sleep
        self._asking = threading.Lock()
        self._asked = self._answered = float("-inf")
        self._answer: Filtered | ZentoriaError = Filtered(False, frozenset(), frozenset())
        self._written: dict[int, float] = {}
        self._not_told = ""

    def wrote(self, vmid: int) -> None:
        """Something of a container's firewall, or with 0 of the datacenter's, was written just now."""
        self._written[vmid] = self._clock()

    def before_start(self, vmid: int, say: Say) -> None:
        """Wait until a container is filtered that is about to start.

        Raises:
            NotInForceError: it is not; it must not be started.
        """
        if self._has_guests:
            say("wait until its firewall is in force")
            self._wait([vmid], lambda found: found.lacking(vmid), say)

    def all_of(self, vmids: Collection[int], say: Say) -> None:
        """Wait until what was written of some containers and of the datacenter is in force.

        Raises:
            NotInForceError: it did not come into force.
        """
        if self._has_guests:
            self._wait(sorted(vmids), lambda found: found.outdated(vmids), say)

    @property
    def _has_guests(self) -> bool:
        """Whether containers have an inside; without, as in a lab of an API alone, there is nobody to filter."""
        return self._proxmox.ssh is None or self._proxmox.has_ssh

    def _wait(self, vmids: Collection[int], lacking: Callable[[Filtered], Collection[str]], say: Say) -> None:
        here = self._proxmox.observe.node
        nodes = {self._nodes.get(vmid, here) for vmid in vmids} or {here}
        for node in sorted(nodes - {here}):
            self._by_time(vmids, node, say)
        if here in nodes and not self._is_told(vmids, lacking):
            self._by_time(vmids, here, say)

    def _is_told(self, vmids: Collection[int], lacking: Callable[[Filtered], Collection[str]]) -> bool:
        """Ask until nothing is lacking; whether the node tells at all."""
        began = self._clock()
        while True:
            try:
                found = self._ask(self._clock())
            except NotToldError as error:
                self._not_told = error.got
                return False
            except ZentoriaError as error:
                left = [error.got]
            else:
                left = list(lacking(found)) if found.enabled else ["the datacenter's firewall is off"]
                if not left:
                    return True
                if self._in_nftables:
                    return False
            if self._clock() - began >= PATIENCE:
                names = ", ".join(map(str, vmids)) or "the datacenter"
                raise NotInForceError(
                    f"wait until the firewall of {names} is in force",
                    on=self._proxmox.endpoint.where,
                    got=f"after {PATIENCE:.0f} s it is not: {', '.join(left[:4])}",
                    todo="on the node, `pve-firewall compile` shows what is not in force, `systemctl status "
                    "pve-firewall` and `journalctl -u pve-firewall` why; then run again",
                )
            self._sleep(_GAP)

    @functools.cached_property
    def _in_nftables(self) -> bool:
        """Whether the node's rules are in nftables (by proxmox-firewall): `pve-firewall compile` knows none of them."""
        try:
            return self._proxmox.observe.node_firewall().values.get("nftables", "0") != "0"
        except ApiError:
            return False

    def _ask(self, since: float) -> Filtered:
        """An answer that was asked for not before ``since``. Raises what was raised for it."""
        with self._asking:
            if self._asked < since:
                if self._not_told:
                    raise NotToldError(
                        "ask which rules are in force", got=self._not_told, todo="run `zentoria bootstrap`"
                    )
                took = self._answered - self._asked if self._asked > 0 else 0.0
                if (rest := self._answered + min(_LONGEST_GAP, max(_GAP, 2 * took)) - self._clock()) > 0:
                    self._sleep(rest)
                self._asked = self._clock()
                try:
                    self._answer = self._proxmox.filtered.read()
                except ZentoriaError as error:
                    self._answer = error
                self._answered = self._clock()
            if isinstance(self._answer, ZentoriaError):
                raise self._answer
            return self._answer

    def _by_time(self, vmids: Collection[int], node: str, say: Say) -> None:
        """Let a whole cycle pass since the last write; one that a run before us may have made counts as made now."""
        seconds = by_time(20.0, 1)
        with contextlib.suppress(ApiError):
            status = self._proxmox.observe.node_status(node)
            seconds = by_time(status.load, status.cpus)
        known = [self._written[vmid] for vmid in (*vmids, 0) if vmid in self._written]
        rest = (max(known) if known else self._clock()) + seconds - self._clock()
        if rest > 0:
            say(
                f"wait {rest:.0f} s: a whole cycle of pve-firewall on node {node}, which does not tell what is in force"
            )
            self._sleep(rest)
