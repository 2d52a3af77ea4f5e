"""Package sources are opened, proven and closed again; lost connections are cut in time. Fakes, and no real waits."""

from __future__ import annotations

import dataclasses
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from zentoria_infra.errors import ApiError, GuestError, ZentoriaError
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Ended, Event, Listener, Status
from zentoria_infra.execute.run.in_force import PATIENCE, NotInForceError
from zentoria_infra.execute.run.perform import Performer
from zentoria_infra.execute.run.perform_firewall import CYCLE, NO_PROXY, FirewallPerformer, OpeningError, Sources
from zentoria_infra.firewall.change.steps import (
    DATACENTER,
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
    UpdateRule,
    Where,
)
from zentoria_infra.firewall.config import Alias, Entry, Rule
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.change import LostFlow
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.stages.types import AnyStage, CloseSources, Converge, LoseFlows, OpenSources, Start
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.records import ContainerConfig
from zentoria_infra.proxmox.shell.filtered import Filtered, NotToldError
from zentoria_infra.proxmox.shell.pct import ExecResult

DB, PROXY = Where(vmid=404), ("10.10.47.254", 3128)
BY_PROXY = Sources(PROXY)
OUT = Rule("out", "ACCEPT", iface="net0", dest="10.10.47.254", proto="tcp", dport="3128",
           comment="zt/opening/db/tcp Package sources")  # fmt: skip
DNS = Rule("out", "ACCEPT", iface="net0", dest="10.10.47.254", proto="udp", dport="53",
           comment="zt/opening/db/dns/udp Name resolution")  # fmt: skip
OPEN, CLOSE = (InsertRule(DB, OUT), InsertRule(DB, DNS)), (DropRule(DB, OUT), DropRule(DB, DNS))
THROUGH = (LostFlow("10.10.40.4", "10.10.47.254", "tcp", (3128, 3128), 404, "db → gateway tcp/3128"),)
WEB = (
    LostFlow("10.10.40.4", "", "tcp", (80, 80), 404, "db → internet tcp/80"),
    LostFlow("10.10.40.4", "", "tcp", (443, 443), 404, "db → internet tcp/443"),
)


@pytest.fixture(autouse=True)
def no_cycle() -> None:
    """In place of the one of other modules: here cycles pass, by a clock of the test's own."""


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Pve:
    """A node: rules of containers that come into force ``lag`` seconds after they were written.

    Args:
        clock: its time.
        lag: seconds until what was written is in force.
    """

    def __init__(self, clock: Clock, lag: float = 5.0) -> None:
        self.clock = clock
        self.lag = lag
        self.said: list[str] = []
        self.cuts: list[tuple[str, str, str, int]] = []
        self.probed: list[tuple[int, tuple[tuple[str, int], ...]]] = []
        self.written: list[tuple[object, ...]] = []
        self.rules: dict[int, list[Rule]] = {404: []}
        self.at: dict[tuple[int, bool], float] = {}
        self.status = "running"
        self.has_ssh = True
        self.sites = b"http://deb.example.org/debian/\nhttp://me:pw@security.example.org:8080/\nfile:/srv/debs/\ndeb.example.org\n"
        self.apt_exit = 0
        self.deaf: set[tuple[str, int]] = set()
        """Targets that never answer."""
        self.cost = 0.0
        """Seconds that a look from inside takes the node."""
        self.wide: set[tuple[str, int]] = set()
        """Targets that can always be reached."""
        self.breaks: Callable[[str], bool] = lambda call: False
        self.foreign: set[int] = set()
        self.told = True
        """Whether the node tells what is in force."""
        self.load = 0.0
        self.ssh = object()
        self.endpoint = types.SimpleNamespace(where="pve")
        self.filtered = types.SimpleNamespace(read=self._filtered)
        self.observe = types.SimpleNamespace(
            node="pve", status=lambda vmid, node: self.status, config=self._config,
            node_status=lambda node: types.SimpleNamespace(load=self.load, cpus=2),
            node_firewall=lambda: types.SimpleNamespace(values={}),
        )  # fmt: skip
        self.pct = types.SimpleNamespace(exec=self._exec)
        self.conntrack = types.SimpleNamespace(cut=lambda *args: self.cuts.append(args))
        self.write_firewall = Writer(self)

    def _filtered(self) -> Filtered:
        if not self.told:
            raise NotToldError("ask", got="zentoria-gate: not zentoria-firewall", todo="bootstrap")
        names = {vmid: {f"veth{vmid}i0-IN", f"veth{vmid}i0-OUT"} for vmid in self.rules}
        late = {vmid for (vmid, _), at in self.at.items() if self.clock.now - at < self.lag}
        there = {name for vmid in self.rules if vmid not in late for name in names[vmid]}
        return Filtered(True, frozenset(there), frozenset(name for vmid in late for name in names[vmid]))

    def _config(self, vmid: int, node: str) -> ContainerConfig:
        text = "somebody else's" if vmid in self.foreign else ownership.description("zentoria-db", "x", "home", vmid)
        return ContainerConfig(vmid, node, {"description": text, "tags": "zentoria"}, "digest")

    def _exec(
        self, vmid: int, argv: Sequence[str], stdin: bytes | None = None, timeout: float = 0, *, tried: str = ""
    ) -> ExecResult:
        if argv[0] == "apt-get":
            return ExecResult(self.apt_exit, self.sites if not self.apt_exit else b"", b"E: broken")
        self.clock.now += self.cost
        words = argv[5:]
        targets = tuple((host, int(port)) for host, port in zip(words[::2], words[1::2], strict=True))
        self.probed.append((vmid, targets))
        if self.status != "running":
            raise GuestError("try connections", got="it is not running")
        lines = [f"{'open' if self._reaches(vmid, one) else 'closed'} {one[0]} {one[1]}" for one in targets]
        return ExecResult(0, "\n".join(lines).encode(), b"")

    def _reaches(self, vmid: int, target: tuple[str, int]) -> bool:
        if target in self.wide:
            return True
        is_open = bool(self.rules[vmid])
        in_force = is_open if self.clock.now - self.at.get((vmid, is_open), -1e9) >= self.lag else not is_open
        return in_force and target not in self.deaf

    def changed(self, vmid: int) -> None:
        self.at[vmid, bool(self.rules[vmid])] = self.clock.now


class Writer:
    """What was written, in the order of the calls."""

    def __init__(self, pve: Pve) -> None:
        self._pve = pve
        self.rules = self

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(scope: Any, *args: object, **more: object) -> None:
            pve = self._pve
            if pve.breaks(name):
                raise ApiError(f"{name} a rule", got="500 no", todo="look at the node")
            shown = [arg for arg in args if not callable(arg)]
            pve.written.append((name, scope if isinstance(scope, str) else scope.title, *shown))
            vmid = getattr(scope, "vmid", 0)
            if name == "insert":
                pve.rules.setdefault(vmid, []).insert(0, cast(Rule, args[0]))
                pve.changed(vmid)
            if name == "delete":
                find = cast("Callable[[Rule], bool]", args[0])
                pve.rules[vmid] = [rule for rule in pve.rules[vmid] if not find(rule)]
                pve.changed(vmid)

        return call


@pytest.fixture
def pve() -> Pve:
    return Pve(Clock())


def performer(pve: Pve, sources: Sources = BY_PROXY, nodes: dict[int, str] | None = None) -> FirewallPerformer:
    return FirewallPerformer(
        cast(Proxmox, pve), nodes or {404: "pve", 408: "pve"}, sources, clock=pve.clock, sleep=pve.clock.sleep
    )


def opened(made: FirewallPerformer, pve: Pve, through: Sequence[LostFlow] = THROUGH) -> FirewallPerformer:
    made.carry_out(OPEN, pve.said.append)
    made.await_sources(404, through, pve.said.append)
    return made


def test_opening_waits_until_a_target_is_reached(pve: Pve) -> None:
    opened(performer(pve), pve)
    assert pve.rules[404] == [DNS, OUT]
    assert 5.0 <= pve.clock.now < 6.0
    assert {targets for _, targets in pve.probed} == {(PROXY,)}
    assert pve.said[-1] == "wait until package sources can be reached"


def test_a_slow_node_is_asked_less_often_and_waited_for_longer(pve: Pve) -> None:
    """It takes 8 s over a look, so that three of its own cycles pass in the time of five."""
    pve.lag, pve.cost = 50.0, 8.0
    opened(performer(pve), pve)
    assert all(pause >= 5.0 for pause in pve.clock.slept), "as long as the look took, and 5 s at most"
    assert len(pve.probed) < 6
    pve.deaf.add(PROXY)
    begun = pve.clock.now
    with pytest.raises(OpeningError):
        opened(performer(pve), pve)
    assert 3 * CYCLE < pve.clock.now - begun < 9 * CYCLE, "and it comes to an end all the same"


def test_opening_gives_up_with_what_to_do(pve: Pve) -> None:
    pve.deaf.add(PROXY)
    with pytest.raises(OpeningError) as caught:
        opened(performer(pve), pve)
    assert "container 404" in caught.value.tried
    assert "10.10.47.254:3128" in caught.value.got
    assert "`proxy`" in caught.value.todo
    assert 3 * CYCLE <= pve.clock.now < 3 * CYCLE + 1


def test_closing_waits_until_it_is_proven_and_then_cuts(pve: Pve) -> None:
    made = opened(performer(pve), pve)
    begun = pve.clock.now
    made.close_sources(404, CLOSE, THROUGH, pve.said.append)
    assert pve.rules[404] == []
    assert 5.0 <= pve.clock.now - begun < 6.0
    assert pve.cuts == [("10.10.40.4", "10.10.47.254", "tcp", 3128)]


def test_what_stays_open_is_an_error(pve: Pve) -> None:
    pve.wide.add(PROXY)
    with pytest.raises(OpeningError, match="can still be reached") as caught:
        performer(pve).close_sources(404, CLOSE, THROUGH, pve.said.append)
    assert "pve-firewall" in caught.value.todo
    assert pve.cuts == []


def test_every_rule_is_closed_also_when_one_before_it_failed(pve: Pve) -> None:
    made = opened(performer(pve), pve)
    failures = iter([True])
    pve.breaks = lambda name: name == "delete" and next(failures, False)
    with pytest.raises(OpeningError, match="500 no") as caught:
        made.close_sources(404, CLOSE, THROUGH, pve.said.append)
    assert pve.rules[404] == [OUT]
    assert "look at the node" in caught.value.todo and "run again" in caught.value.todo


def test_a_stopped_container_needs_no_probe(pve: Pve) -> None:
    pve.status = "stopped"
    performer(pve).close_sources(404, CLOSE, THROUGH, pve.said.append)
    assert pve.probed == []
    assert len(pve.cuts) == 1


def test_without_ssh_rules_are_closed_and_nothing_else_can_be_done(pve: Pve) -> None:
    pve.has_ssh = False
    pve.rules[404] = [OUT, DNS]
    performer(pve).close_sources(404, CLOSE, THROUGH, pve.said.append)
    assert (pve.rules[404], pve.probed, pve.cuts) == ([], [], [])


def test_without_a_proxy_the_guests_own_sources_are_tried(pve: Pve) -> None:
    web = (*WEB, LostFlow("10.10.40.4", "", "tcp", (8080, 8080), 404, "x"))
    opened(performer(pve, NO_PROXY), pve, web)
    assert {targets for _, targets in pve.probed} == {(("deb.example.org", 80), ("security.example.org", 8080))}


def test_what_a_flow_allows_anyway_is_neither_waited_for_nor_proven_closed(pve: Pve) -> None:
    """It stays open after the deploy, as the inventory says, and tells nothing while the opening comes."""
    pve.sites = b"https://deb.example.org/ http://mirror.example/"
    pve.wide.add(("deb.example.org", 443))
    made = opened(performer(pve, NO_PROXY), pve, WEB[:1])
    assert pve.clock.now >= 5.0
    made.close_sources(404, CLOSE, WEB[:1], pve.said.append)
    assert {targets for _, targets in pve.probed} == {(("mirror.example", 80),)}
    opened(made, pve, ())  # all of it is allowed anyway: nothing to wait for


def test_a_guest_that_cannot_name_its_sources_proves_nothing(pve: Pve) -> None:
    pve.apt_exit = 100
    with pytest.raises(GuestError, match=r"ended with 100: E: broken"):
        performer(pve, NO_PROXY).prove_closed(404, WEB, pve.said.append)


# A run that fails in between.


def desired(vmid: int = 404, name: str = "db") -> DesiredContainer:
    return DesiredContainer(
        vmid=vmid, name=name, hostname=f"zentoria-{name}", node="pve", site_id="home", ostemplate="t", pool="",
        unprivileged=True, options={}, nets={}, features=frozenset(), tags=frozenset(),
        rootfs=DesiredVolume("rootfs", "local", 1), volumes=(), protect=False, needs=frozenset(), order=1,
    )  # fmt: skip


class Inside:
    """Converges, or fails."""

    def __init__(self, pve: Pve, error: Exception | None = None) -> None:
        self.pve = pve
        self.error = error
        self.open_meanwhile = False
        self.open_after = True

    def apply(self, vmid: int, say: object, packaged: Callable[[], None] = lambda: None) -> GuestReport | None:
        self.open_meanwhile = bool(self.pve.rules[vmid])
        if self.error is not None:
            raise self.error
        packaged()
        self.open_after = bool(self.pve.rules[vmid])
        return None


OPENING = OpenSources(404, "db", "404:open-sources", (), OPEN)
CONVERGE = Converge(404, "db", "404:converge", (OPENING.id,), CLOSE, THROUGH)
CLOSING = CloseSources(404, "db", "404:close-sources", (CONVERGE.id,), CLOSE, THROUGH, (OPENING.id, CONVERGE.id))
STAGES = (OPENING, CONVERGE, CLOSING)


def deployed(
    pve: Pve, inside: Inside, stages: Sequence[AnyStage] = STAGES, listen: Listener = lambda event: None
) -> engine.Result:
    """A run of stages."""
    halfway = engine.Halfway()
    containers = {404: desired(), 408: desired(408, "proxy")}
    perform = Performer(cast(Proxmox, pve), containers, inside, performer(pve), halfway.passed)
    return engine.run(stages, perform, listen, halfway=halfway)


def converge(pve: Pve, error: Exception | None = None, stages: Sequence[AnyStage] = STAGES) -> Inside:
    """A run that goes well, or whose converging raises an error."""
    inside = Inside(pve, error)
    result = deployed(pve, inside, stages)
    assert [one.stage.id for one in result.failed] == [CONVERGE.id] * (error is not None), result.failed
    return inside


def test_sources_are_open_until_packages_are_installed(pve: Pve) -> None:
    inside = converge(pve)
    assert (inside.open_meanwhile, inside.open_after) == (True, False)
    assert [call[0] for call in pve.written] == ["insert", "insert", "delete", "delete"]
    assert pve.probed[-1] == (404, (PROXY,))
    assert pve.cuts


def test_converging_does_not_wait_until_they_are_seen_to_be_closed(pve: Pve) -> None:
    """Those that need it go on. What sees to it comes after."""
    inside = Inside(pve)
    perform = Performer(cast(Proxmox, pve), {404: desired()}, inside, performer(pve))
    perform(OPENING, pve.said.append)
    assert pve.clock.now == 0.0, "nor does opening wait"
    perform(CONVERGE, pve.said.append)
    assert pve.rules[404] == [], "written at once"
    begun = pve.clock.now
    assert 5.0 <= begun < 6.0, "that they are open was waited for, and nothing else"
    assert pve.cuts == []
    perform(CLOSING, pve.said.append)
    assert 5.0 <= pve.clock.now - begun < 7.0
    assert pve.cuts


def test_sources_of_those_that_wait_are_opened_when_what_they_wait_for_has_its_packages(pve: Pve) -> None:
    """While it goes on with the rest, they come into force."""
    opened = threading.Event()
    seen: list[bool] = []

    class Slow(Inside):
        def apply(self, vmid: int, say: object, packaged: Callable[[], None] = lambda: None) -> None:
            seen.append(bool(pve.rules.get(408)))
            packaged()
            seen.append(opened.wait(20))

    opens = OpenSources(408, "proxy", "408:open-sources", ("404:packages",), (InsertRule(Where(vmid=408), OUT),))

    def tell(event: Event) -> None:
        if isinstance(event, Ended) and event.stage is opens:
            opened.set()

    deployed(pve, Slow(pve), (OPENING, CONVERGE, opens), tell)
    assert seen == [False, True]


def test_what_could_not_be_closed_at_once_is_closed_at_the_end(pve: Pve) -> None:
    calls = iter([True])
    pve.breaks = lambda name: name == "delete" and next(calls, False)
    assert converge(pve).open_after
    assert pve.rules[404] == []
    assert pve.cuts


@pytest.mark.parametrize("error", [GuestError("converge db", got="apt failed"), OSError(28, "No space left on device")])
def test_they_are_closed_whatever_happens_in_between(pve: Pve, error: Exception) -> None:
    converge(pve, error)
    assert pve.rules[404] == []
    assert pve.probed[-1] == (404, (PROXY,))
    assert pve.cuts


def test_they_are_closed_when_they_could_not_be_reached(pve: Pve) -> None:
    pve.deaf.add(PROXY)
    (failed,) = deployed(pve, Inside(pve)).failed
    assert isinstance(failed.error, OpeningError) and "takes a connection" in failed.error.got
    assert pve.rules[404] == []


def test_they_are_closed_when_only_a_part_was_opened(pve: Pve) -> None:
    calls = iter([False, True])
    pve.breaks = lambda name: name == "insert" and next(calls, False)
    result = deployed(pve, Inside(pve))
    assert {one.stage.id: one.status for one in result.ended} == {
        OPENING.id: Status.FAILED, CONVERGE.id: Status.SKIPPED, CLOSING.id: Status.DONE,
    }  # fmt: skip
    assert pve.rules[404] == []


def test_they_are_closed_when_it_never_came_to_converging(pve: Pve) -> None:
    """It was opened in time, and what it waited for has failed."""
    failing = Converge(408, "proxy", "408:converge", ())
    converging = dataclasses.replace(CONVERGE, after=(*CONVERGE.after, failing.id))
    stages = (OPENING, failing, converging, CLOSING)
    result = deployed(pve, Inside(pve, GuestError("converge", got="no")), stages)
    ended = {one.stage.id: one.status for one in result.ended}
    assert (ended[converging.id], ended[CLOSING.id]) == (Status.SKIPPED, Status.DONE)
    assert pve.rules[404] == []
    assert pve.cuts


def test_what_was_not_opened_is_not_closed(pve: Pve) -> None:
    failing = Start(404, "db", "404:start", ())
    pve.foreign.add(404)
    result = deployed(pve, Inside(pve), (failing, dataclasses.replace(OPENING, after=(failing.id,)), *STAGES[1:]))
    assert [one.status for one in result.ended] == [Status.FAILED, *[Status.SKIPPED] * 3]


def test_both_failures_are_told(pve: Pve) -> None:
    pve.breaks = lambda name: name == "delete"
    result = deployed(pve, Inside(pve, GuestError("converge db", got="apt failed", todo="look")))
    text = "\n".join(str(one.error) for one in result.failed)
    assert text.index("apt failed") < text.index("close the package sources of container 404") < text.index("run again")


def test_what_a_killed_run_has_left_open_is_closed_after_converging(pve: Pve) -> None:
    pve.rules[404] = [OUT, DNS]
    pve.at[404, True] = -100.0
    converge(
        pve, stages=(dataclasses.replace(CONVERGE, after=()), dataclasses.replace(CLOSING, opened_by=(CONVERGE.id,)))
    )
    assert pve.rules[404] == []
    assert [call[0] for call in pve.written] == ["delete", "delete"]


def test_a_loss_that_closes_sources_proves_it(pve: Pve) -> None:
    pve.wide.add(PROXY)
    stage = LoseFlows(404, "db", "404:lose", (), CLOSE, THROUGH)
    with pytest.raises(OpeningError, match="can still be reached"):
        Performer(cast(Proxmox, pve), {404: desired()}, Inside(pve), performer(pve))(stage, pve.said.append)
    other = dataclasses.replace(stage, steps=(DropRule(DB, dataclasses.replace(OUT, comment="zt/row-7/a/db/tcp x")),))
    pve.probed.clear()
    Performer(cast(Proxmox, pve), {404: desired()}, Inside(pve), performer(pve))(other, pve.said.append)
    assert pve.probed == []


@pytest.mark.parametrize("stage", [OPENING, CONVERGE, CLOSING], ids=["open", "converge", "close"])
def test_the_other_end_of_an_opening_must_be_ours(pve: Pve, stage: OpenSources | Converge | CloseSources) -> None:
    pve.foreign.add(408)
    there = Where(vmid=408)
    stage = (
        dataclasses.replace(stage, steps=(*OPEN, InsertRule(there, OUT)))
        if isinstance(stage, OpenSources)
        else dataclasses.replace(stage, closing=(*CLOSE, DropRule(there, OUT)))
    )
    perform = Performer(cast(Proxmox, pve), {404: desired(), 408: desired(408, "proxy")}, Inside(pve), performer(pve))
    with pytest.raises(ZentoriaError, match="touch container 408"):
        perform(stage, pve.said.append)
    assert [call for call in pve.written if "408" in str(call[1])] == []


# Connections of lost flows.

LOST = LostFlow("10.10.40.1", "10.10.40.4", "tcp", (5432, 5432), 404, "backend → db tcp/5432")


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(LOST, id="tcp"),
        pytest.param(dataclasses.replace(LOST, protocol="udp"), id="udp"),
        pytest.param(dataclasses.replace(LOST, source="", source_vmid=0), id="from the internet"),
        pytest.param(dataclasses.replace(LOST, destination=""), id="to many"),
    ],
)
def test_connections_are_cut_once_the_lost_rule_is_out_of_force(pve: Pve, flow: LostFlow) -> None:
    pve.at[404, False] = 0.0  # the rule was taken away now, and is in force for five seconds
    performer(pve).cut([flow], pve.said.append)
    assert 5.0 <= pve.clock.now < 7.0
    assert len(pve.cuts) == 1
    assert pve.probed == [], "no guest is asked: it may be the one that would rather keep its connections"


@pytest.mark.parametrize("load", [0.0, 20.0])
def test_where_the_node_does_not_tell_a_whole_cycle_passes(pve: Pve, load: float) -> None:
    """A busy node takes longer to compile what it takes up in a cycle."""
    pve.told, pve.load = False, load
    performer(pve).cut([LOST], pve.said.append)
    assert sum(pve.clock.slept) == pytest.approx({0.0: 12.0, 20.0: 21.0}[load])
    assert len(pve.cuts) == 1
    assert any("which does not tell what is in force" in said for said in pve.said)


def test_what_one_node_tells_says_nothing_of_another(pve: Pve) -> None:
    performer(pve, nodes={404: "pve", 401: "other"}).cut([LOST], pve.said.append)
    assert sum(pve.clock.slept) == pytest.approx(12.0)


def test_what_is_never_in_force_is_an_error_and_nothing_is_cut(pve: Pve) -> None:
    pve.at[404, False], pve.lag = 0.0, 1e9
    with pytest.raises(NotInForceError, match="veth404i0-IN"):
        performer(pve).cut([LOST], pve.said.append)
    assert PATIENCE <= pve.clock.now < PATIENCE + 5
    assert pve.cuts == []


def test_what_a_guest_says_of_being_closed_is_believed_only_after_the_node(pve: Pve) -> None:
    """One that lies keeps its way to the internet: what it opens while the rule is in force is accepted ever after."""
    pve.rules[404] = [DNS, OUT]
    pve.deaf.add(PROXY)  # it says "closed" at once
    performer(pve).close_sources(404, CLOSE, THROUGH, pve.said.append)
    assert 5.0 <= pve.clock.now < 7.0
    assert pve.cuts


# Before a container starts.


@pytest.mark.parametrize(("written", "waits"), [(None, 0.0), (0.0, 5.0)])
def test_a_container_starts_once_it_is_filtered(pve: Pve, written: float | None, waits: float) -> None:
    if written is not None:
        pve.at[404, True] = written
    performer(pve).await_filter(404, pve.said.append)
    assert waits <= pve.clock.now < waits + 2.0


def test_one_that_is_not_known_to_the_filter_does_not_start(pve: Pve) -> None:
    with pytest.raises(NotInForceError, match=r"veth405i\*-IN"):
        performer(pve, nodes={405: "pve"}).await_filter(405, pve.said.append)


def test_where_no_guest_has_an_inside_nobody_waits(pve: Pve) -> None:
    pve.has_ssh = False
    performer(pve, nodes={405: "pve"}).await_filter(405, pve.said.append)
    assert pve.clock.slept == []


def test_an_answer_that_took_long_holds_nobody_up_for_long(pve: Pve) -> None:
    def slowly() -> Filtered:
        pve.clock.now += 60.0
        return pve._filtered()

    pve.filtered.read = slowly
    pve.at[404, True], pve.lag = 0.0, 100.0
    performer(pve).await_filter(404, pve.said.append)
    assert max(pve.clock.slept) <= 10.0
    assert pve.clock.now < 150.0


def test_without_ssh_time_counts_from_the_last_write(pve: Pve) -> None:
    pve.ssh, pve.has_ssh, pve.told = None, False, False
    found = performer(pve)
    found.carry_out(OPEN, pve.said.append)
    pve.clock.now += 4.0
    found.await_filter(404, pve.said.append)
    assert pve.clock.now == pytest.approx(12.0)


def test_nothing_lost_is_nothing_to_wait_for(pve: Pve) -> None:
    performer(pve).cut([], pve.said.append)
    assert pve.said == [] and pve.clock.slept == []


@pytest.mark.parametrize(
    ("protocol", "ports", "expected"),
    [
        ("tcp", (8000, 8002), [8000, 8001, 8002]),
        ("udp", (53, 53), [53]),
        ("tcp", (1, 32), list(range(1, 33))),
        ("tcp", (1, 33), [0]),
        ("", (0, 65535), [0]),
        ("icmp", (0, 65535), [0]),
    ],
)
def test_ranges_of_ports_are_cut_port_by_port_or_whole(pve: Pve, protocol, ports, expected) -> None:
    performer(pve).cut([dataclasses.replace(LOST, protocol=protocol, ports=ports)], pve.said.append)
    assert [cut[3] for cut in pve.cuts] == expected


GROUP = Where(group="zt-deny")
CALLS = {
    "options": (SetOptions(DB, {"enable": "1"}), "set_options"),
    "alias": (PutAlias(DATACENTER, Alias("a", "192.0.2.1")), "create_alias"),
    "alias changed": (PutAlias(DATACENTER, Alias("a", "192.0.2.1"), exists=True), "update_alias"),
    "alias gone": (DropAlias(DATACENTER, "a"), "delete_alias"),
    "set": (MakeIpSet(DB, "ipfilter-net0"), "create_ipset"),
    "set gone": (DropIpSet(DB, "ipfilter-net0"), "delete_ipset"),
    "member": (PutEntry(DB, "s", Entry("192.0.2.1")), "add_entry"),
    "member changed": (PutEntry(DB, "s", Entry("192.0.2.1"), exists=True), "update_entry"),
    "member gone": (DropEntry(DB, "s", "192.0.2.1"), "delete_entry"),
    "rule": (InsertRule(GROUP, OUT), "insert"),
    "rule changed": (UpdateRule(DB, OUT, OUT), "update"),
    "rule moved": (MoveToEnd(DB, OUT), "move"),
    "rule gone": (DropRule(DB, OUT), "delete"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_each_step_is_one_call_on_the_right_list(pve: Pve, name: str) -> None:
    step, call = CALLS[name]
    performer(pve).carry_out([step], pve.said.append)
    ((done, scope, *_),) = pve.written
    assert done == call
    where = {404: "404", 0: "datacenter"}[step.where.vmid] if not step.where.group else "zt-deny"
    assert where in str(scope).lower()
    assert pve.said[0].startswith("1/1 ")


def test_groups_are_made_and_removed_by_name(pve: Pve) -> None:
    performer(pve).carry_out([MakeGroup("zt-deny", "zt/group/deny"), DropGroup("zt-deny")], pve.said.append)
    assert [call[:2] for call in pve.written] == [("create_group", "zt-deny"), ("delete_group", "zt-deny")]


def test_steps_end_with_the_first_that_fails(pve: Pve) -> None:
    pve.breaks = lambda name: name == "insert"
    with pytest.raises(ApiError):
        performer(pve).carry_out([SetOptions(DB, {"enable": "1"}), *OPEN, SetOptions(DB, {})], pve.said.append)
    assert [call[0] for call in pve.written] == ["set_options"]
