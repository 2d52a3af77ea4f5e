"""``make bench``: how commands and the proof grow; cold `up`, no-change `up`, a redeploy under load, in a lab.

Five containers are also made by Ansible, counted by the same counters. Prints a table and writes JSON to the file
named by ``--json``. Nothing here is a test: times depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.ansible_peer import MORE, compare
from tests.bench.commands_growth import commands_growth
from tests.bench.gateway import gateway_figures
from tests.bench.growth import growth
from tests.bench.senses import senses
from tests.bench.uploads import uploads
from tests.support.stack import RequestLoop, Run, Stack, no_lxc


def measure(stack: Stack, *arguments: str) -> tuple[Run, dict[str, Any]]:
    """Run one command; its figures."""
    run = stack.zentoria(*arguments, "--json", check=True)
    figures = {
        "seconds": round(run.seconds, 2),
        "api_calls": run.result["api_calls"],
        "ssh_round_trips": run.result["ssh_round_trips"],
        "peak_memory_mib": run.memory >> 20,
    }
    return run, figures


def main() -> int:
    """Measure, print, and leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--repeat", type=int, default=3, help="how often the warm ones are measured")
    parser.add_argument("--peer-only", action="store_true", help="nothing but the comparison with Ansible")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {"load average at the beginning": _load()}
    missing = no_lxc()
    if missing:
        print(missing, file=sys.stderr)
    else:
        if not options.peer_only:
            found |= _stack(options.repeat)
        found |= compare("t-bench")
    if not options.peer_only:
        found |= gateway_figures()
        found |= uploads()
        found |= senses()
        found |= commands_growth()
        # After it: a child's peak memory begins with that of the process that makes it.
        found |= growth()
    found["load average at the end"] = _load()
    _print(found)
    if not missing:
        print(MORE)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if missing else 0


def _load() -> dict[str, Any]:
    """How busy the machine is, with others' work too: times mean little where this is high before anything began."""
    return dict(zip(("1_min", "5_min", "15_min"), (round(one, 1) for one in os.getloadavg()), strict=True))


def _print(found: dict[str, dict[str, Any]]) -> None:
    for name, figures in found.items():
        print(f"{name:36}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)


def _stack(repeat: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    stack = Stack("t-bench")
    stack.reset()
    try:
        stack.start()
        print("filling the package cache ...", flush=True)
        stack.zentoria("up", "--yes", check=True)
        stack.reset()
        stack.start("--pristine")
        _, found["cold up of 17, Debian's template"] = measure(stack, "up", "--yes")
        stack.reset()
        stack.start()
        _, found["cold up of 17, prepared template"] = measure(stack, "up", "--yes")
        warm = [measure(stack, "up", "--yes")[1] for _ in range(repeat)]
        found["no-change up"] = {**warm[-1], "seconds": statistics.median(one["seconds"] for one in warm)}
        redeploys = []
        with RequestLoop(stack, "/api/v1/health") as load:
            time.sleep(1)
            redeploys = [measure(stack, "redeploy", "401")[1] for _ in range(repeat)]
            time.sleep(1)
        found["redeploy 401 under load"] = {
            **redeploys[-1],
            "seconds": statistics.median(one["seconds"] for one in redeploys),
            "requests": load.good,
            "failed_requests": len(load.bad),
            "slowest_request_s": round(load.slowest, 2),
        }
    finally:
        stack.reset()
    return found


if __name__ == "__main__":
    sys.exit(main())
