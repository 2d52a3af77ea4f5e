"""Holds the firewall of a site against reality: listeners stand up in the guests, probes go, what came in is asked.

Three commands in each guest, one after the other: no listener holds an SSH channel, and sshd has few of them.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import math
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from zentoria_infra.errors import GuestError
from zentoria_infra.firewall.probe.probes import GuestPlan, Place, Probe, ProbePlan
from zentoria_infra.firewall.probe.verdicts import Judged, Seen, judge
from zentoria_infra.guest import bundle
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.plan.model import ownership
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.shell.ssh import CHANNELS

VERSION = 1
"""Of what is said to the prober."""

AT_ONCE = 700
"""Probes under way in one guest."""

WAIT = 1.3
"""Seconds after which silence counts: a SYN is sent again after one."""

PATIENCE = 3.5
"""Seconds for a declared flow: a SYN is sent three times."""

_MARGIN = 30.0
"""Seconds that listeners live longer than all should take."""
_GUEST = 5.0
"""Seconds that one command in a guest may take besides, on a slow node."""

Heard = Callable[[str, int, int], None]
"""Told what is done, in how many guests of how many."""


@dataclasses.dataclass(frozen=True)
class Reality:
    """What came out.

    Args:
        plan: what was tried.
        judged: the verdicts.
        absent: by name of a guest that took no part: why.
        seconds: how long it took.
    """

    plan: ProbePlan
    judged: tuple[Judged, ...]
    absent: Mapping[str, str]
    seconds: float

    @property
    def mismatches(self) -> tuple[Judged, ...]:
        """Where reality is not what is declared."""
        return tuple(one for one in self.judged if one.is_mismatch)

    @property
    def good(self) -> bool:
        """Whether every guest took part and all is as declared."""
        return not self.absent and not self.mismatches


def verify_firewall(
    proxmox: Proxmox, inventory: Inventory, plan: ProbePlan, heard: Heard = lambda what, done, of: None
) -> Reality:
    """Try everything in a plan. Nothing of it stays in the guests.

    Args:
        proxmox: the node; it needs SSH.
        inventory: says which containers are ours.
        plan: what to try.
        heard: told of the progress.

    Raises:
        UnreachableError: the node could not be reached.
    """
    return _Verification(proxmox, inventory, plan, heard).run()


class _Absent(Exception):
    """A guest takes no part; the text says why."""


class _Verification:
    def __init__(self, proxmox: Proxmox, inventory: Inventory, plan: ProbePlan, heard: Heard) -> None:
        self._proxmox = proxmox
        self._inventory = inventory
        self._plan = plan
        self._heard = heard
        self._run = secrets.token_hex(8)
        self._absent: dict[str, str] = {}
        self._results: dict[int, str] = {}
        self._unsent: dict[int, str] = {}
        self._arrived: dict[str, Collection[int]] = {}
        self._lacking: dict[Place, str] = {}
        self._blind: dict[str, str] = {}
        self._raw = [probe for probe in plan.probes if probe.is_raw]
        self._begun: set[str] = set()
        self._states: dict[int, str] = {}

    def run(self) -> Reality:
        begun = time.monotonic()
        observe = self._proxmox.observe
        for node in sorted({self._inventory.node_of(self._container(guest)) for guest in self._plan.guests}):
            self._states.update((one.vmid, one.status) for one in observe.containers(node))
        self._each("look", self._taking_part(), self._look)
        try:
            self._each("listen", self._taking_part(), self._listen)
            self._each("probe", self._taking_part(), self._probe)
        finally:
            # Also where something went wrong since, or somebody pressed Ctrl-C: what was begun is ended.
            self._each("collect", [guest for guest in self._plan.guests if guest.name in self._begun], self._collect)
        seen = Seen(self._results, self._unsent, self._arrived, self._lacking, self._blind, self._absent)
        return Reality(self._plan, judge(self._plan, seen), self._absent, time.monotonic() - begun)

    def _taking_part(self) -> list[GuestPlan]:
        return [guest for guest in self._plan.guests if guest.name not in self._absent]

    def _container(self, guest: GuestPlan) -> Container:
        return self._inventory.by_vmid(guest.vmid)

    def _each(self, what: str, guests: Sequence[GuestPlan], work: Callable[[GuestPlan], None]) -> None:
        """Do something in guests; the SSH connection holds back what is too much for it. Who fails takes no part."""

        def one(guest: GuestPlan) -> tuple[str, str]:
            try:
                work(guest)
            except _Absent as error:
                return guest.name, str(error)
            except GuestError as error:
                return guest.name, error.got.strip().splitlines()[-1] if error.got.strip() else error.tried
            return guest.name, ""

        self._heard(what, 0, len(guests))
        with concurrent.futures.ThreadPoolExecutor(max(1, len(guests)), thread_name_prefix="verify") as pool:
            for done, (name, reason) in enumerate(pool.map(one, guests), 1):
                self._heard(what, done, len(guests))
                if reason:
                    self._absent.setdefault(name, reason)

    def _look(self, guest: GuestPlan) -> None:
        """Nothing is run in a container that is not ours."""
        node = self._inventory.node_of(self._container(guest))
        there = self._states.get(guest.vmid)
        if there is None:
            raise _Absent("it does not exist: `zentoria up` makes it")
        config = self._proxmox.observe.config(guest.vmid, node).values
        whose = ownership.owner(config.get("description", ""), self._inventory.site.id, guest.vmid)
        if whose is not ownership.Owner.OURS:
            raise _Absent("it is not Zentoria's, so nothing is run in it")
        if there != "running":
            raise _Absent(f"it is {there}: `zentoria up` starts it")

    def _listen(self, guest: GuestPlan) -> None:
        syns = [(probe.number, self._syn(probe)) for probe in self._raw if probe.target == guest.name]
        self._begun.add(guest.name)
        listen = [(place.protocol, place.address, place.port) for place in guest.listen]
        answer = self._ask(guest, "listen", listen=listen, syns=syns, seconds=self._life)
        if answer["sniffing"]:
            self._blind[guest.name] = f"{guest.name} cannot see packets come in: {answer['sniffing']}"
        for protocol, address, port, why in answer["failed"]:
            self._lacking[Place(protocol, address, port)] = why
        for protocol, address, port in answer["held"]:
            # A service does not answer to datagrams of ours: they are seen, or nobody knows.
            if protocol == "udp" and guest.name in self._blind:
                self._lacking[Place(protocol, address, port)] = self._blind[guest.name]

    def _probe(self, guest: GuestPlan) -> None:
        targets = [
            (probe.number, probe.protocol, probe.address, probe.port, _wait(probe), probe.hops)
            for probe in guest.probes
            if not probe.is_raw and probe.target not in self._absent
        ]
        syns = [
            (probe.number, self._syn(probe))
            for probe in guest.probes
            if probe.is_raw and probe.target not in self._absent
        ]
        answer = self._ask(guest, "probe", targets=targets, syns=syns, at_once=AT_ONCE)
        self._results.update((int(number), str(result)) for number, result in answer["results"].items())
        self._unsent.update((int(number), str(why)) for number, why in answer["sent"].items() if why)

    def _collect(self, guest: GuestPlan) -> None:
        self._arrived[guest.name] = frozenset(self._ask(guest, "collect")["seen"])

    def _ask(self, guest: GuestPlan, mode: str, **request: Any) -> dict[str, Any]:
        """One command in a guest.

        Raises:
            _Absent: the guest cannot do it.
            GuestError: it does not answer in time.
        """
        text = json.dumps({"version": VERSION, "mode": mode, "run": self._run, **request}).encode()
        stdin = bundle.prober() + b"%d\n" % len(text) + text
        result = self._proxmox.pct.exec(
            guest.vmid, bundle.agent_argv(), stdin, timeout=self._life, tried=f"try connections in {guest.name}"
        )
        said = result.stdout.decode(errors="replace").strip()
        if said == bundle.NO_PYTHON:
            raise _Absent("there is no Python in it: `zentoria up` installs it")
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            words = (result.stderr.decode(errors="replace").strip() or said).splitlines()
            raise _Absent(f"exit code {result.exit}" + (f": {words[-1][:300]}" if words else ""))
        if "error" in answer:
            raise _Absent(": ".join(filter(None, [answer["error"], *answer.get("output", "").splitlines()[-1:]])))
        return answer

    def _syn(self, probe: Probe) -> Sequence[object]:
        """What marks a raw packet: a sequence number of this run, and a source port of its own."""
        sequence = (int(self._run[:8], 16) + probe.number) & 0xFFFFFFFF
        return probe.source_address, probe.address, 20000 + probe.number % 40000, probe.port, sequence

    @property
    def _life(self) -> float:
        """Seconds that listeners live, however this program ends."""
        most = max((len(guest.probes) for guest in self._plan.guests), default=0)
        rounds = math.ceil(len(self._plan.guests) / CHANNELS)
        return _MARGIN + 2 * rounds * (math.ceil(most / AT_ONCE) * WAIT + PATIENCE + _GUEST)


def _wait(probe: Probe) -> float:
    """Patience is for what must not be called blocked by mistake; where nobody may answer, it would be in vain."""
    return PATIENCE if probe.allowed and probe.heard else WAIT
