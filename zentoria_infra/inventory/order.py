"""The order in which containers start, and the circles that make it impossible."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zentoria_infra.inventory.container_model import Container


def start_order(
    containers: Iterable[Container], needs: Callable[[Container], Collection[str]]
) -> tuple[Container, ...]:
    """Containers, each after those it needs; among equals by startup order, then VMID.

    Needs that name no given container are ignored. Containers in a circle come last, by startup order and VMID
    (a checked inventory has none).
    """
    by_name = {container.name: container for container in containers}
    waiting = {name: {n for n in needs(c) if n in by_name} for name, c in by_name.items()}
    wanted_by: dict[str, list[str]] = {name: [] for name in by_name}
    for name, wanted in waiting.items():
        for target in wanted:
            wanted_by[target].append(name)

    def rank(name: str) -> tuple[int, int, str]:
        return by_name[name].startup.order, by_name[name].vmid, name

    ready = [rank(name) for name, wanted in waiting.items() if not wanted]
    heapq.heapify(ready)
    done: list[str] = []
    while ready:
        name = heapq.heappop(ready)[2]
        done.append(name)
        for dependent in wanted_by[name]:
            waiting[dependent].discard(name)
            if not waiting[dependent]:
                heapq.heappush(ready, rank(dependent))
    placed = set(done)
    done.extend(sorted((name for name in by_name if name not in placed), key=rank))
    return tuple(by_name[name] for name in done)


def circles(edges: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], ...]:
    """Circles in a graph, one for each knot of nodes that reach each other, as ``(a, b, a)``; sorted."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for start in sorted(edges):
        path = _way_back(edges, start)
        if path and not any(knot & frozenset(path) for knot in found):
            found[frozenset(path)] = path
    return tuple(sorted(found.values()))


def _way_back(edges: Mapping[str, Collection[str]], start: str) -> tuple[str, ...]:
    """The shortest way from a node back to itself; empty when there is none."""
    before: dict[str, str] = {}
    queue = [start]
    for node in queue:
        for target in sorted(edges.get(node, ())):
            if target == start:
                way = [start]
                while node != start:
                    way.append(node)
                    node = before[node]
                return (start, *reversed(way))
            if target not in before:
                before[target] = node
                queue.append(target)
    return ()
