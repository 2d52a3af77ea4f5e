"""How ``validate``, ``firewall prove`` and ``plan --offline`` grow with containers and flows. Nothing is contacted.

Each is run as the command that a user runs, in a process of its own, on a folder that :mod:`tests.bench.stacks`
writes; besides, the parts of a plan are measured in one process (``python -m tests.bench.commands_growth FOLDER``).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.stacks import write_project

SIZES = (17, 170, 1700)
COMMANDS = {
    "validate": ("validate",),
    "firewall prove": ("firewall", "prove"),
    "plan --offline": ("plan", "--offline", "--json"),
}
_Made = TypeVar("_Made")


def _run(arguments: list[str]) -> dict[str, Any]:
    """One process: wall and CPU seconds, peak memory.

    Raises:
        RuntimeError: it failed.
    """
    begun = time.perf_counter()
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT) as child,
    ):
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            raise RuntimeError(f"{arguments} ended with {child.returncode}: {output.read()[-2000:]!r}")
    return {
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_mib": used.ru_maxrss >> 10,
    }


def commands_growth(sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Figures by command and size; and from the first size to the last, how much input and time grew."""
    zentoria = str(Path(sys.executable).with_name("zentoria"))
    found: dict[str, Any] = {}
    flows: dict[int, int] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            root = str(write_project(Path(name), size))
            for title, words in COMMANDS.items():
                found[f"{title} of {size}"] = _run([zentoria, *words, "--root", root, "--site", "lab"])
            told = subprocess.run(
                [sys.executable, "-m", __name__, root], capture_output=True, text=True, check=True
            ).stdout
            parts = json.loads(told)
            flows[size] = parts.pop("flows")
            found[f"parts of a plan of {size}"] = parts
    first, last = sizes[0], sizes[-1]
    ratio = (last + flows[last]) / (first + flows[first])
    for title in COMMANDS:
        # What a command takes with nothing to do is in both, so the smallest is no measure of a container.
        small, middle, large = (found[f"{title} of {size}"]["cpu_seconds"] for size in (first, sizes[-2], last))
        step = (last + flows[last] - sizes[-2] - flows[sizes[-2]]) / (
            sizes[-2] + flows[sizes[-2]] - first - flows[first]
        )
        grew = (large - middle) / max(middle - small, 1e-2)
        found[f"growth of {title}"] = {
            "input_ratio": round(ratio, 1),
            "time_ratio": round(large / max(small, 1e-2), 1),
            "input_step": round(step, 1),
            "time_step": round(grew, 1),
        }
    return found


def parts(root: Path) -> dict[str, Any]:
    """Seconds of each part of ``plan --offline``, in this process."""
    from zentoria_infra.execute.offline import plan_offline
    from zentoria_infra.firewall.compiled.compile import compile_firewall
    from zentoria_infra.firewall.compiled.parties import parties_of
    from zentoria_infra.firewall.proof.prove import prove
    from zentoria_infra.inventory.flows import expand_flows
    from zentoria_infra.inventory.load import load
    from zentoria_infra.plan.show.document import document

    found: dict[str, Any] = {}

    def timed(name: str, make: Callable[[], _Made]) -> _Made:
        begun, cpu = time.perf_counter(), time.process_time()
        made = make()
        found[name] = round(time.perf_counter() - begun, 2)
        found[f"{name}_cpu"] = round(time.process_time() - cpu, 2)
        return made

    inventory = timed("load", lambda: load(root, "lab"))
    proof = timed("prove", lambda: prove(compile_firewall(inventory), parties_of(inventory)))
    plan, stages, basis = timed("plan", lambda: plan_offline(inventory))
    timed("document", lambda: document(plan, stages, basis).model_dump(mode="json"))
    if not proof.holds:
        raise RuntimeError(f"the proof fails: {proof.differences[0]}")
    found |= {"containers": len(inventory.containers), "flows": len(expand_flows(inventory)), "stages": len(stages)}
    return found | {"peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}


if __name__ == "__main__":
    import gc

    from zentoria_infra.cli.entry import COLLECT

    gc.set_threshold(*COLLECT)
    print(json.dumps(parts(Path(sys.argv[1]))))
