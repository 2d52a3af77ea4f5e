"""What ``pve-firewall compile`` prints in the lab: each chain of the files as they are now, beside what is in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from zentoria_infra.lab.firewall.compiler import chains, compile_rules
from zentoria_infra.lab.firewall.host import Facts
from zentoria_infra.lab.firewall.reading import Reader


def compiled(reader: Reader, facts: Facts, applied_file: Path | None) -> str:
    """The text, as PVE::Service::pve_firewall prints it, without the rules.

    Args:
        reader: of the node's files.
        facts: about the node.
        applied_file: what the lab's daemon has brought into force; None where nothing is filtered, as in a lab without
            guests: all is in force then.
    """
    found = compile_rules(reader.read(), facts)
    wanted = chains(found)
    there = wanted if applied_file is None else _applied(applied_file)
    lines = ["ipset cmdlist:"]
    for program, digests in sorted(wanted.items()):
        lines += ["", f"{program} cmdlist:"]
        held = there.get(program, {})
        for name, digest in digests.items():
            state = "create" if name not in held else "exists" if held[name] == digest else "update"
            lines.append(f"{state} {name} ({digest})")
        lines += [f"delete {name} ({digest})" for name, digest in held.items() if name not in digests]
    lines += ["", "no changes" if there == wanted else "detected changes"]
    if not found.enabled:
        lines.append("firewall disabled")
    return "".join(f"{line}\n" for line in lines)


def _applied(file: Path) -> Mapping[str, Mapping[str, str]]:
    try:
        found: Mapping[str, Mapping[str, str]] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found
