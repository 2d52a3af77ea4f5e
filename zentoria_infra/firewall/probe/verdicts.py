"""What came of the probes, held against what is declared; pure."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping

from zentoria_infra.firewall.probe.probes import Place, Probe, ProbeKind, ProbePlan

CONNECTED = "connected"
"""Taken, or answered: what the prober in the guest says. So are the other three."""
REFUSED = "refused"
UNREACHABLE = "unreachable"
SILENT = "silent"

NO_ROUTER = "its first router ({router}) answers to nobody, so that silence says nothing"
"""Why a probe towards the internet is not judged."""


class Verdict(enum.StrEnum):
    """How a probe came out."""

    AS_DECLARED = "as declared"
    BLOCKED = "declared but blocked"
    OPEN = "undeclared but open"
    UNJUDGED = "not judged"


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """A probe and its verdict; ``why`` says what was seen."""

    probe: Probe
    verdict: Verdict
    why: str

    @property
    def is_mismatch(self) -> bool:
        """Whether reality is not what is declared."""
        return self.verdict in (Verdict.BLOCKED, Verdict.OPEN)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What the guests said.

    Args:
        results: by number of a probe: what came of it at its source.
        unsent: by number of a raw packet that could not be sent: why.
        arrived: by name of a guest that took part to its end: numbers of the packets that came in.
        lacking: places where nobody can tell whether something came in, and why.
        blind: by name of a guest that cannot see packets come in: why.
        absent: by name of a guest that did not take part: why.
    """

    results: Mapping[int, str]
    unsent: Mapping[int, str]
    arrived: Mapping[str, Collection[int]]
    lacking: Mapping[Place, str]
    blind: Mapping[str, str]
    absent: Mapping[str, str]


def judge(plan: ProbePlan, seen: Seen) -> tuple[Judged, ...]:
    """The verdict on every probe but the controls."""
    probes = {probe.number: probe for probe in plan.probes}
    # Each router for itself: that the node answers says nothing of a router at home, or of the provider's.
    answering = {
        probe.router for probe in probes.values() if probe.hops and seen.results.get(probe.number) == UNREACHABLE
    }
    return tuple(
        _forged(probe, probes, seen)
        if probe.kind is ProbeKind.FORGED
        else _tried(probe, seen, probe.router in answering)
        for probe in probes.values()
        if probe.kind is not ProbeKind.CONTROL
    )


def _tried(probe: Probe, seen: Seen, routed: bool) -> Judged:
    """``routed``: whether the probe's first router has answered to anybody, so that silence would be noticed."""
    if reason := _absence(probe, seen):
        return Judged(probe, Verdict.UNJUDGED, reason)
    result = seen.results.get(probe.number, "")
    if not result:
        return Judged(probe, Verdict.UNJUDGED, f"{probe.source} says nothing of it")
    came_in = probe.number in seen.arrived.get(probe.target, ())
    if probe.allowed:
        return _declared(probe, result, came_in, seen, routed)
    if came_in or result == CONNECTED:
        return Judged(probe, Verdict.OPEN, "it came in" if came_in else "connected")
    if result == REFUSED:
        return Judged(probe, Verdict.OPEN, "refused: it was not dropped on its way")
    if not probe.heard:
        if result == UNREACHABLE:
            return Judged(probe, Verdict.OPEN, "it left: a router answered")
        if result == SILENT and probe.hops and not routed:
            return Judged(probe, Verdict.UNJUDGED, NO_ROUTER.format(router=probe.router))
        return Judged(probe, Verdict.AS_DECLARED, result)
    if (lack := seen.lacking.get(_place(probe))) is not None:
        return Judged(probe, Verdict.UNJUDGED, f"{probe.target} cannot tell: {lack}")
    return Judged(probe, Verdict.AS_DECLARED, result)


def _declared(probe: Probe, result: str, came_in: bool, seen: Seen, routed: bool) -> Judged:
    if came_in or result == CONNECTED:
        return Judged(probe, Verdict.AS_DECLARED, result if result == CONNECTED else "it came in")
    if not probe.heard:
        if result == REFUSED:
            return Judged(probe, Verdict.AS_DECLARED, "it was reached, and nobody listens")
        if result == UNREACHABLE:
            return Judged(probe, Verdict.AS_DECLARED, "it left: a router answered")
        if probe.hops and routed:
            return Judged(probe, Verdict.BLOCKED, result)
        silent = NO_ROUTER.format(router=probe.router)
        why = silent if probe.hops else f"no answer ({result}), and no listener of ours is there"
        return Judged(probe, Verdict.UNJUDGED, why)
    if (lack := seen.lacking.get(_place(probe))) is not None:
        return Judged(probe, Verdict.UNJUDGED, f"{probe.target} cannot tell: {lack}")
    return Judged(probe, Verdict.BLOCKED, result)


def _forged(probe: Probe, probes: Mapping[int, Probe], seen: Seen) -> Judged:
    if probe.number in seen.arrived.get(probe.target, ()):
        return Judged(probe, Verdict.OPEN, f"a packet of {probe.source} with the address of {probe.claimed} came in")
    reason = _absence(probe, seen) or seen.blind.get(probe.target, "") or seen.unsent.get(probe.number, "")
    for number in probe.controls if not reason else ():
        control = probes[number]
        if number not in seen.arrived.get(control.target, ()):
            reason = f"a packet of {control.source} under its own address did not come in at {control.target} either"
            break
    return (
        Judged(probe, Verdict.UNJUDGED, reason) if reason else Judged(probe, Verdict.AS_DECLARED, "it did not come in")
    )


def _absence(probe: Probe, seen: Seen) -> str:
    for name in (probe.source, probe.target):
        if name in seen.absent:
            return f"{name} takes no part: {seen.absent[name]}"
    return ""


def _place(probe: Probe) -> Place:
    return Place(probe.protocol, probe.address, probe.port)
