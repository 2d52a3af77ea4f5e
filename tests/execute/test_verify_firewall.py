"""The run of a verification: who takes part, what is asked of whom, and that what was begun is ended."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.firewall.fw_inventories import container, flow, inventory, port
from tests.support.probe_world import ProbeWorld, probe_world
from zentoria_infra.errors import GuestError, UnreachableError
from zentoria_infra.execute.look.verify_firewall import Reality, verify_firewall
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.probe.planning import probe_plan
from zentoria_infra.firewall.probe.probes import ProbeKind, ProbePlan
from zentoria_infra.firewall.probe.verdicts import Verdict
from zentoria_infra.guest import bundle
from zentoria_infra.inventory.model import Inventory, Network
from zentoria_infra.plan.model import ownership
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.shell.pct import ExecResult

VMIDS = {"web": 401, "db": 402, "job": 403}
Answer = Callable[[int, dict[str, Any]], Any]


def three() -> Inventory:
    """A web server, its database, and a job that may reach the web server; addresses as in a world of namespaces."""
    web = container(1, "web", port(80), address="10.77.1.2")
    db = container(2, "db", port(5432, "data"), port(9187, "metrics"), port(514, protocol="udp"), address="10.77.2.2")
    job = container(3, "job", address="10.77.3.2")
    flows = [flow("web", "db", 5432), flow("job", "web", 80), flow("job", "db", 514, protocol="udp")]
    flows.append(flow("db", "job", 99))
    made = inventory([web, db, job], flows)
    net = Network(
        name="internal", cidr=ipaddress.IPv4Network("10.77.0.0/16"), gateway=ipaddress.IPv4Address("10.77.1.1")
    )
    return made.model_copy(update={"networks": (net,)})


def plan_of(one: Inventory) -> ProbePlan:
    return probe_plan(one, compile_firewall(one), parties_of(one), sample=40)


class FakeNode:
    """A node whose guests answer as a function says. ``status`` and ``marks`` are by VMID."""

    def __init__(self, one: Inventory, answer: Answer) -> None:
        self.status = dict.fromkeys(VMIDS.values(), "running")
        self.marks = {vmid: ownership.description("host", "", one.site.id, vmid) for vmid in VMIDS.values()}
        self.asked: list[tuple[int, str]] = []
        self._answer = answer
        self._guard = threading.Lock()
        self.observe = SimpleNamespace(containers=self._containers, config=self._config)
        self.pct = SimpleNamespace(exec=self._exec)

    def _containers(self, node: str) -> list[SimpleNamespace]:
        assert node == "pve"
        return [SimpleNamespace(vmid=vmid, status=status) for vmid, status in self.status.items()]

    def _config(self, vmid: int, node: str) -> SimpleNamespace:
        return SimpleNamespace(values={"description": self.marks[vmid]})

    def _exec(self, vmid: int, argv: Sequence[str], stdin: bytes, timeout: float, *, tried: str = "") -> ExecResult:
        assert list(argv) == bundle.agent_argv()
        size, _, rest = stdin.partition(b"\n")
        assert b"zentoria_probe" in zlib.decompress(rest[: int(size)])
        request = json.loads(rest[int(size) :].partition(b"\n")[2])
        with self._guard:
            self.asked.append((vmid, request["mode"]))
        answer = self._answer(vmid, request)
        return answer if isinstance(answer, ExecResult) else ExecResult(0, json.dumps(answer).encode() + b"\n", b"")


def as_declared(plan: ProbePlan) -> Answer:
    """Guests in which everything is as declared."""
    arrives = {p.number: p for p in plan.probes if p.allowed and p.heard and (p.is_raw or p.protocol == "udp")}
    allowed = {probe.number for probe in plan.probes if probe.allowed}

    def answer(vmid: int, request: dict[str, Any]) -> Any:
        if request["mode"] == "listen":
            return {"held": [], "failed": [], "sniffing": ""}
        if request["mode"] == "probe":
            results = {one[0]: "connected" if one[0] in allowed else "silent" for one in request["targets"]}
            return {"results": results, "sent": {one[0]: "" for one in request["syns"]}}
        return {"seen": [number for number, p in arrives.items() if VMIDS[p.target] == vmid]}

    return answer


def run(node: FakeNode, one: Inventory, plan: ProbePlan, **more: Any) -> Reality:
    return verify_firewall(cast(Proxmox, node), one, plan, **more)


def instead(plan: ProbePlan, vmid: int, mode: str, outcome: Any) -> Answer:
    """As declared, but for one guest's answer in one phase; an exception is raised."""
    usual = as_declared(plan)

    def answer(asked: int, request: dict[str, Any]) -> Any:
        if (asked, request["mode"]) != (vmid, mode):
            return usual(asked, request)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return answer


def test_three_commands_a_guest_and_each_phase_after_the_other() -> None:
    one = three()
    plan = plan_of(one)
    node = FakeNode(one, as_declared(plan))
    told: list[tuple[str, int, int]] = []
    found = run(node, one, plan, heard=lambda *words: told.append(words))
    assert found.good
    assert not found.mismatches
    # Nobody has leave to the internet here, so that no router has answered.
    assert {j.probe.target for j in found.judged if j.verdict is not Verdict.AS_DECLARED} == {"internet"}
    phases = [mode for _, mode in node.asked]
    assert phases == ["listen"] * 3 + ["probe"] * 3 + ["collect"] * 3
    assert sorted(node.asked[:3]) == [(vmid, "listen") for vmid in VMIDS.values()]
    assert [word for word in told if word[1] == word[2]] == [(w, 3, 3) for w in ("look", "listen", "probe", "collect")]


def test_a_mismatch_is_found() -> None:
    one = three()
    plan = plan_of(one)
    bad = next(p for p in plan.probes if p.kind is ProbeKind.UNDECLARED and (p.source, p.port) == ("job", 5432))
    usual = as_declared(plan)

    def answer(vmid: int, request: dict[str, Any]) -> Any:
        found = usual(vmid, request)
        if bad.number in found.get("results", {}):
            found["results"][bad.number] = "connected"
        return found

    found = run(FakeNode(one, answer), one, plan)
    assert [(j.probe, j.verdict) for j in found.mismatches] == [(bad, Verdict.OPEN)]
    assert not found.good


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda node: node.status.pop(402), "it does not exist"),
        (lambda node: node.status.update({402: "stopped"}), "it is stopped"),
        (lambda node: node.marks.update({402: "somebody else's"}), "it is not Zentoria's"),
    ],
)
def test_what_is_not_ours_or_not_running_is_never_entered(spoil: Callable[[FakeNode], object], reason: str) -> None:
    one = three()
    plan = plan_of(one)
    node = FakeNode(one, as_declared(plan))
    spoil(node)
    found = run(node, one, plan)
    assert 402 not in {vmid for vmid, _ in node.asked}
    assert list(found.absent) == ["db"]
    assert reason in found.absent["db"]
    assert not found.good
    unjudged = [j for j in found.judged if "db" in (j.probe.source, j.probe.target)]
    assert unjudged
    assert {j.verdict for j in unjudged} == {Verdict.UNJUDGED}
    assert not found.mismatches
    # Nobody waits for a guest that is not there.
    others = [p.number for p in plan.probes if p.source != "db" and p.target == "db"]
    assert others


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (ExecResult(97, bundle.NO_PYTHON.encode() + b"\n", b""), "there is no Python in it: `zentoria up` installs it"),
        (ExecResult(255, b"", b"container '402' not running!\n"), "exit code 255: container '402' not running!"),
        (ExecResult(0, b"Welcome!\n", b""), "exit code 0: Welcome!"),
        (ExecResult(0, b"[]\n", b""), "exit code 0: []"),
        ({"error": "the prober broke", "output": "Traceback\nOSError: no"}, "the prober broke: OSError: no"),
        ({"error": "another verification is at work in this guest"}, "another verification is at work in this guest"),
        (GuestError("run sh", got="it did not end within 60 s"), "it did not end within 60 s"),
    ],
)
@pytest.mark.parametrize("mode", ["listen", "probe", "collect"])
def test_a_guest_that_cannot_answer_is_named_and_the_others_go_on(outcome: Any, reason: str, mode: str) -> None:
    one = three()
    plan = plan_of(one)
    node = FakeNode(one, instead(plan, 402, mode, outcome))
    found = run(node, one, plan)
    assert found.absent == {"db": reason}
    assert not found.mismatches
    # It is told to end all the same.
    assert (402, "collect") in node.asked
    assert {vmid for vmid, asked in node.asked if asked == "probe"} >= {401, 403}


@pytest.mark.parametrize("error", [UnreachableError("connect over SSH"), KeyboardInterrupt()])
@pytest.mark.parametrize("mode", ["listen", "probe"])
def test_what_was_begun_is_ended_whatever_happens(error: BaseException, mode: str) -> None:
    one = three()
    plan = plan_of(one)
    node = FakeNode(one, instead(plan, 402, mode, error))
    with pytest.raises(type(error)):
        run(node, one, plan)
    begun = {vmid for vmid, asked in node.asked if asked == "listen"}
    assert begun >= {402}
    assert {vmid for vmid, asked in node.asked if asked == "collect"} == begun


def test_places_where_nobody_can_listen_or_see_are_not_judged() -> None:
    one = three()
    plan = plan_of(one)
    listen = {
        "held": [["udp", "10.77.2.2", 514], ["tcp", "10.77.2.2", 5432]],
        "failed": [["tcp", "10.77.2.2", 9187, "Cannot assign requested address"]],
        "sniffing": "Operation not permitted",
    }
    usual = instead(plan, 402, "listen", listen)

    def answer(vmid: int, request: dict[str, Any]) -> Any:
        found = usual(vmid, request)
        if request["mode"] == "collect" and vmid == 402:
            return {"seen": []}
        if request["mode"] == "probe":
            held = {p.number for p in plan.probes if p.protocol == "udp" and p.target == "db"}
            found["results"] |= {n: "silent" for n in found["results"] if n in held}
        return found

    found = run(FakeNode(one, answer), one, plan)
    why = {
        (j.probe.source, j.probe.protocol, j.probe.port): j.why
        for j in found.judged
        if j.verdict is Verdict.UNJUDGED and j.probe.target == "db" and not j.probe.is_raw
    }
    assert why == {
        ("job", "udp", 514): "db cannot tell: db cannot see packets come in: Operation not permitted",
        ("web", "udp", 514): "db cannot tell: db cannot see packets come in: Operation not permitted",
        ("job", "tcp", 9187): "db cannot tell: Cannot assign requested address",
        ("web", "tcp", 9187): "db cannot tell: Cannot assign requested address",
    }
    forged = [j for j in found.judged if j.probe.kind is ProbeKind.FORGED and j.probe.target == "db"]
    assert forged
    assert {j.why for j in forged} == {"db cannot see packets come in: Operation not permitted"}


# The real prober, in namespaces with a real filter between them.

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def world() -> Iterator[ProbeWorld]:
    with probe_world(*VMIDS) as found:
        yield found


def in_namespaces(world: ProbeWorld) -> FakeNode:
    node = FakeNode(three(), lambda vmid, request: None)
    names = {vmid: name for name, vmid in VMIDS.items()}

    def enter(vmid: int, argv: Sequence[str], stdin: bytes, timeout: float, *, tried: str = "") -> ExecResult:
        command = world.guests[names[vmid]].command(*argv)
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
        return ExecResult(done.returncode, done.stdout, done.stderr)

    node.pct = SimpleNamespace(exec=enter)
    return node


RULES = {
    "sources": 'iifname . ip saddr != { "vweb" . 10.77.1.2, "vdb" . 10.77.2.2, "vjob" . 10.77.3.2 } drop',
    "web-db": "ip saddr 10.77.1.2 ip daddr 10.77.2.2 tcp dport 5432 accept",
    "job-web": "ip saddr 10.77.3.2 ip daddr 10.77.1.2 tcp dport 80 accept",
    "job-db": "ip saddr 10.77.3.2 ip daddr 10.77.2.2 udp dport 514 accept",
    "db-job": "ip saddr 10.77.2.2 ip daddr 10.77.3.2 tcp dport 99 accept",
}
OPEN, BLOCKED = Verdict.OPEN.value, Verdict.BLOCKED.value


@needs_root
@pytest.mark.root
@pytest.mark.parametrize(
    ("change", "mismatches"),
    [
        ({}, set()),
        (
            {"web-db": "", "job-db": ""},
            {("declared", "web", "db", "tcp", 5432, BLOCKED), ("declared", "job", "db", "udp", 514, BLOCKED)},
        ),
        (
            {
                "job-web": "ip daddr 10.77.1.2 tcp dport 80 accept",
                "job-db": "ip daddr 10.77.2.2 udp dport 514 accept",
            },
            {("undeclared", "db", "web", "tcp", 80, OPEN), ("undeclared", "web", "db", "udp", 514, OPEN)},
        ),
        (
            {"sources": ""},
            {
                ("forged", "db", "web", "tcp", 80, OPEN),
                ("forged", "job", "db", "tcp", 5432, OPEN),
                ("forged", "web", "job", "tcp", 99, OPEN),
            },
        ),
    ],
)
def test_real_packets(world: ProbeWorld, change: dict[str, str], mismatches: set[tuple[object, ...]]) -> None:
    world.filter(*filter(None, (RULES | change).values()))
    one = three()
    found = run(in_namespaces(world), one, plan_of(one))
    assert found.absent == {}
    seen = {
        (j.probe.kind.value, j.probe.source, j.probe.target, j.probe.protocol, j.probe.port, j.verdict.value)
        for j in found.mismatches
        if j.probe.heard
    }
    assert seen == mismatches
    for guest in world.guests.values():
        assert guest.pids() == []
        assert not any("zentoria" in line or line.startswith(("u_str", "p_")) for line in guest.sockets())
