"""What the commands of the firewall say: proofs, traces and comparisons in words and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zentoria_infra.firewall.change.steps import rule_text
from zentoria_infra.firewall.compiled.intent import Intent
from zentoria_infra.firewall.proof.prove import Difference, Proof
from zentoria_infra.firewall.proof.trace import Trace, TraceEnd
from zentoria_infra.firewall.show.flow_diff import FlowDiff, Reach


def proof_data(proof: Proof) -> dict[str, Any]:
    """A proof as plain data, for JSON."""
    return {
        "holds": proof.holds,
        "pairs": proof.pairs,
        "not_judged": proof.not_judged,
        "intervals": proof.intervals,
        "differences": [
            {
                "kind": one.kind.value,
                "source": one.source,
                "destination": one.destination,
                "services": one.services,
                "vmid": one.vmid,
                "rule": rule_text(one.rule) if one.rule is not None else None,
                "rule_position": one.rule_position,
                "at": str(one.position),
                "explanation": one.explanation,
            }
            for one in proof.differences
        ],
    }


def proof_lines(proof: Proof, of: str) -> list[str]:
    """A proof in words: the differences, then the totals."""
    found = [line for one in proof.differences for line in _difference(one)]
    judged = f"{proof.pairs} pairs judged, {proof.intervals} intervals of ports allowed"
    if proof.holds:
        return [f"Proven: {of} allows what the flows say, and nothing else.", f"{judged}; 0 missing, 0 extra."]
    counts: dict[str, int] = {}
    for one in proof.differences:
        counts[one.kind.value] = counts.get(one.kind.value, 0) + 1
    totals = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return [*found, f"NOT proven: {of} differs from the flows: {totals}.", f"{judged}."]


def _difference(one: Difference) -> list[str]:
    pair = f"{one.source} -> {one.destination}" if one.destination else one.source
    lines = [" ".join(word for word in (f"{one.kind}:", pair, one.services) if word), f"    {one.explanation}"]
    if one.rule is not None:
        place = f" (position {one.rule_position})" if one.rule_position is not None else ""
        lines.append(f"    rule: {rule_text(one.rule)}{place}")
    return [*lines, f"    said in {one.position}"]


def trace_data(found: Trace) -> dict[str, Any]:
    """A trace as plain data, for JSON."""
    return {
        "source": found.source,
        "destination": found.destination,
        "service": found.service,
        "allowed": found.allowed,
        "partly": found.partly,
        "as_intended": found.as_intended,
        "ends": [
            {
                "container": end.name,
                "vmid": end.vmid,
                "nic": end.nic,
                "direction": end.direction,
                "allowed": end.allowed,
                "decides": end.decides,
                "rule": rule_text(end.rule) if end.rule is not None else None,
                "rule_position": end.rule_position,
                "at": str(end.position) if end.position is not None else None,
                "reason": end.reason,
            }
            for end in found.ends
        ],
        "intents": intents_data(found.intents),
    }


def intents_data(intents: Sequence[Intent]) -> list[dict[str, str]]:
    """Why something shall be allowed, as plain data."""
    return [{"key": one.key, "purpose": one.purpose, "origin": one.origin, "at": str(one.position)} for one in intents]


def trace_lines(found: Trace) -> Iterator[str]:
    """Yield a trace in words: the verdict, what each end says, and why the flow exists."""
    verdict = "ALLOWED" if found.allowed else "DENIED"
    where = "" if found.allowed or len(found.ends) < 2 else _denying(found.ends)
    yield f"{verdict}: {found.source} -> {found.destination} {found.service}{where}"
    if found.partly:
        yield f"  for some addresses of {found.destination if _is_ours(found) else found.source} it is allowed"
    for end in found.ends:
        yield from _end(end)
    yield from why(found.intents)
    if not found.as_intended:
        yield "  NOT as the flows say: see `zentoria firewall prove`"


def _is_ours(found: Trace) -> bool:
    return any(end.name == found.source for end in found.ends)


def _denying(ends: Sequence[TraceEnd]) -> str:
    denying = [end for end in ends if not end.allowed]
    if len(denying) == len(ends):
        return ", at both ends"
    return f", {'out of' if denying[0].direction == 'out' else 'into'} {denying[0].name} only"


def _end(end: TraceEnd) -> Iterator[str]:
    way = "out of" if end.direction == "out" else "into"
    nic = f" at {end.nic}" if end.nic else ""
    yield f"  {way} {end.name} ({end.vmid}){nic}: {'allowed' if end.allowed else 'denied'} by {end.decides}"
    if end.rule is not None:
        yield f"      {rule_text(end.rule)}"
    if end.position is not None:
        yield f"      said in {end.position}"
    if end.reason:
        yield f"      {end.reason}"


def why(intents: Sequence[Intent]) -> Iterator[str]:
    """Yield why something shall be allowed, or that nothing says so."""
    if not intents:
        yield "  no flow and no egress says that it shall be allowed; what is not said is denied"
    for one in intents:
        yield f"  why: {one.purpose} ({one.origin}), {one.position}"


def diff_lines(found: FlowDiff, before: str, after: str) -> list[str]:
    """A comparison in words: what was gained, what was lost, then the totals."""
    if found.empty:
        return [f"No flow gained or lost between {before} and {after}."]
    told = [("+", one) for one in found.gained] + [("-", one) for one in found.lost]
    width = max(len(str(one)) for _, one in told)
    totals = f"{len(found.gained)} gained, {len(found.lost)} lost between {before} and {after}."
    return [*(f"{sign} {one!s:{width}}  {_reason(one)}" for sign, one in told), totals]


def _reason(one: Reach) -> str:
    return f"{one.purpose} ({one.origin}), {one.position}"
