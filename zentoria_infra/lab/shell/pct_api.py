"""What ``pct`` asks the lab's daemon, and how it shows the answers (PVE::CLI::pct, PVE::GuestHelpers).

Only the standard library, imported when a command needs it: ``exec``, ``push`` and ``pull`` start without.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zentoria_infra.lab.shell.control_socket import ApiFailure, call

_POLL = 0.05
"""Seconds between two looks at a running task."""


class Api:
    """The node's containers, as root@pam.

    Args:
        socket: the lab's control socket.
        node: the node's name.
        folder: where the containers' configuration files are.
    """

    def __init__(self, socket: str, node: str, folder: str) -> None:
        self._socket = socket
        self._node = f"/nodes/{node}"
        self._folder = Path(folder)

    def run(self, verb: str, args: Sequence[str], options: Mapping[str, str]) -> int:
        """Carry out a command; gives back pct's exit code. Raises ApiFailure."""
        actions: dict[str, Callable[[Sequence[str], Mapping[str, str]], int]] = {
            "config": self._config,
            "delsnapshot": self._delsnapshot,
            "list": self._list,
            "listsnapshot": self._listsnapshot,
            "rollback": self._rollback,
            "set": self._set,
            "snapshot": self._snapshot,
            "status": self._status,
            "unlock": self._unlock,
        }
        return actions[verb](args, options)

    def _ask(self, method: str, path: str, values: Mapping[str, str] | None = None) -> object:
        return call(self._socket, method, f"{self._node}{path}", values)

    def _row(self, path: str, values: Mapping[str, str] | None = None) -> dict[str, object]:
        found = self._ask("GET", path, values)
        return found if isinstance(found, dict) else {}

    def _rows(self, path: str, values: Mapping[str, str] | None = None) -> list[dict[str, object]]:
        found = self._ask("GET", path, values)
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    def _set(self, args: Sequence[str], options: Mapping[str, str]) -> int:
        self._ask("PUT", f"/lxc/{args[0]}/config", options)
        return 0

    def _config(self, args: Sequence[str], options: Mapping[str, str]) -> int:
        values = {name: value for name, value in options.items() if name in ("current", "snapshot")}
        found = self._row(f"/lxc/{args[0]}/config", values)
        for name in sorted(found):
            if name in ("digest", "lxc"):
                continue
            value = str(found[name])
            if name == "description":  # PVE::Tools::encode_text
                value = re.sub(r"[^ -9;-~]|%", lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), value)
            print(f"{name}: {value}")
        return 0

    def _status(self, args: Sequence[str], options: Mapping[str, str]) -> int:
        row = self._row(f"/lxc/{args[0]}/status/current")
        if options.get("verbose", "0") in ("1", "yes", "on", "true"):
            for name in sorted(row):
                if name != "ha":
                    print(f"{name}: {row[name]}")
        else:
            print(f"status: {row.get('status', 'unknown')}")
        return 0

    def _list(self, _args: Sequence[str], _options: Mapping[str, str]) -> int:
        rows = self._rows("/lxc")
        if rows:
            print(f"{'VMID':<10} {'Status':<10} {'Lock':<12} {'Name':<20}")
        for row in sorted(rows, key=lambda row: int(str(row["vmid"]))):
            print(f"{row['vmid']:<10} {row['status']:<10} {row.get('lock', ''):<12} {row.get('name', ''):<20}")
        return 0

    def _snapshot(self, args: Sequence[str], options: Mapping[str, str]) -> int:
        return self._task("POST", f"/lxc/{args[0]}/snapshot", {**options, "snapname": args[1]})

    def _delsnapshot(self, args: Sequence[str], options: Mapping[str, str]) -> int:
        return self._task("DELETE", f"/lxc/{args[0]}/snapshot/{args[1]}", options)

    def _rollback(self, args: Sequence[str], options: Mapping[str, str]) -> int:
        return self._task("POST", f"/lxc/{args[0]}/snapshot/{args[1]}/rollback", options)

    def _listsnapshot(self, args: Sequence[str], _options: Mapping[str, str]) -> int:
        for line in tree(self._rows(f"/lxc/{args[0]}/snapshot")):
            print(line)
        return 0

    def _unlock(self, args: Sequence[str], _options: Mapping[str, str]) -> int:
        """Take the lock out of the file, as pct does: the API has no call for it."""
        path = self._folder / f"{args[0]}.conf"
        current, bracket, sections = path.read_text(encoding="utf-8").partition("\n[")
        kept = [line for line in current.split("\n") if not line.startswith("lock:")]
        text = "\n".join(kept) + bracket + sections
        if "\n".join(kept) == current:
            raise ApiFailure(500, "no lock found trying to remove any lock", {})
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        return 0

    def _task(self, method: str, path: str, values: Mapping[str, str]) -> int:
        """Start a task, wait for its end, and say what it said."""
        name = f"/tasks/{self._ask(method, path, values)}"
        while (status := self._row(f"{name}/status")).get("status") == "running":
            time.sleep(_POLL)
        for row in self._rows(f"{name}/log", {"limit": "10000"}):
            line = str(row.get("t", ""))
            if line.startswith("TASK ERROR: "):
                print(line.removeprefix("TASK ERROR: "), file=sys.stderr)
            elif line != "TASK OK" and not line.startswith("TASK WARNINGS: "):
                print(line)
        told = str(status.get("exitstatus"))
        return 0 if told == "OK" or told.startswith("WARNINGS") else 255


def tree(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The list of snapshots as pct draws it: children below their parents, by age, what is now last."""
    known = {str(row["name"]): row for row in rows}

    def children(parent: str | None) -> list[str]:
        found = [name for name, row in known.items() if _parent(row, known) == parent]
        return sorted(found, key=lambda name: int(str(known[name].get("snaptime", 1 << 62))))

    def lines(name: str, prefix: str) -> list[str]:
        row = known[name]
        taken = row.get("snaptime")
        when = "" if taken is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(str(taken))))
        text = str(row.get("description") or "no-description").partition("\n")[0]
        drawn = [f"{prefix} {name:<{max(0, 30 - len(prefix))}} {when:<23} {text}"]
        return [*drawn, *(line for child in children(name) for line in lines(child, f" {prefix}"))]

    return [line for root in children(None) for line in lines(root, "`->")]


def _parent(row: Mapping[str, object], known: Mapping[str, object]) -> str | None:
    parent = row.get("parent")
    return str(parent) if parent in known else None
