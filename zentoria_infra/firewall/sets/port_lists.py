"""Ports as rules hold them: lists that are no longer than Proxmox takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

Ports = tuple[tuple[int, int], ...]
"""Closed intervals, sorted, not touching."""

PORTS_MOST = 15
"""Entries of a port list in Proxmox, as in iptables' multiport: a range counts as two."""


def port_lists(ports: Ports) -> Iterator[Ports]:
    """Intervals in lists as long as Proxmox takes them."""
    part: list[tuple[int, int]] = []
    weight = 0
    for first, last in ports:
        weighs = 1 if first == last else 2
        if weight + weighs > PORTS_MOST:
            yield tuple(part)
            part, weight = [], 0
        part.append((first, last))
        weight += weighs
    if part:
        yield tuple(part)


def port_text(ports: Ports) -> str:
    """A list as a rule has it: ``80,443,9300:9301``."""
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ports)
