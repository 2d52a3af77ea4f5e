"""How compiling and proving the firewall grow with containers and flows. Nothing is contacted.

A made-up inventory of N containers and ten flows for each, in a network that is large enough; one process, one run.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import time
import tracemalloc
from pathlib import Path
from typing import Any

from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Container, Flow, Inventory, Network

ROOT = Path(__file__).resolve().parents[2]
SIZES = (17, 100, 1000)
FLOWS = 10
"""A container."""


def made_up(containers: int) -> Inventory:
    """An inventory in which every container may reach ten others on ports of their own."""
    shipped = load(ROOT, site="lab")
    network = Network(
        name="internal", cidr=ipaddress.IPv4Network("10.10.0.0/16"), gateway=ipaddress.IPv4Address("10.10.255.254")
    )
    first = int(ipaddress.IPv4Address("10.10.16.1"))
    ports = {f"p{number}": {"port": 5000 + number, "kind": "api"} for number in range(FLOWS)}
    services = {"main": {"component": "main", "exposes": ports}}
    made = tuple(
        Container.model_validate(
            {
                "vmid": 1000 + number, "name": f"c{number}", "zone": "core", "resources": {},
                "address": str(ipaddress.IPv4Address(first + number)), "startup": {"order": 1}, "services": services,
            }
        )
        for number in range(containers)
    )  # fmt: skip
    flows = tuple(
        Flow.model_validate(
            {
                "derived": f"flow {step}", "purpose": "growth", "source": f"c{number}", "ports": (5000 + step - 1,),
                "destination": f"c{(number + 7 * step) % containers}",
            }
        )
        for number in range(containers)
        for step in range(1, FLOWS + 1)
        if (7 * step) % containers
    )  # fmt: skip
    return shipped.model_copy(update={"networks": (network,), "containers": made, "flows": flows, "reserved": ()})


@dataclasses.dataclass(frozen=True)
class Growth:
    """Seconds and MiB for one size."""

    containers: int
    flows: int
    rules: int
    pairs: int
    compile_s: float
    prove_s: float
    peak_memory_mib: float


def measure(containers: int) -> Growth:
    """Compile and prove once, then again under the memory profiler.

    Raises:
        RuntimeError: the proof does not hold.
    """
    inventory = made_up(containers)
    begun = time.perf_counter()
    compiled, parties = compile_firewall(inventory), parties_of(inventory)
    between = time.perf_counter()
    proof = prove(compiled, parties)
    ended = time.perf_counter()
    if not proof.holds:
        raise RuntimeError(f"the proof of {containers} made-up containers fails: {proof.differences[0]}")
    tracemalloc.start()
    prove(compile_firewall(inventory), parties_of(inventory))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rules = sum(len(guest.rules) for guest in compiled.configuration.guests)
    return Growth(
        containers, len(inventory.flows), rules, proof.pairs, round(between - begun, 3), round(ended - between, 3),
        round(peak / 2**20, 1),
    )  # fmt: skip


def growth() -> dict[str, Any]:
    """Figures by size, and how they grow from the first to the last: per container and flow, as a ratio."""
    found = [measure(size) for size in SIZES]
    small, large = found[0], found[-1]
    grew = (large.containers + large.flows) / (small.containers + small.flows)
    took = (large.compile_s + large.prove_s) / max(small.compile_s + small.prove_s, 1e-3)
    return {
        **{f"firewall proof of {one.containers}": dataclasses.asdict(one) for one in found},
        "firewall growth": {"input_ratio": round(grew, 1), "time_ratio": round(took, 1)},
    }
