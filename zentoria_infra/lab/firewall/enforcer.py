"""Keeps the lab's filter as its files say, as late as Proxmox's pve-firewall: it looks at them in a cycle.

A container that starts has the rules that the last cycle has found; who wants more waits before the start.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from zentoria_infra.errors import LabError
from zentoria_infra.lab.api import files
from zentoria_infra.lab.firewall.compiler import Compiled, chains, compile_rules
from zentoria_infra.lab.firewall.host import Facts
from zentoria_infra.lab.firewall.kernel import Kernel, NotPossible, Tools, probe
from zentoria_infra.lab.firewall.reading import Read, Reader, Signatures
from zentoria_infra.lab.runtime import RuntimeFailure

CYCLE = 10.0
"""Seconds between two looks at the files, as Proxmox has it (``$updatetime`` of PVE::Service::pve_firewall)."""
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class State:
    """How it is; the daemon writes it down, ``lab status`` reads it.

    Args:
        why_not: why this machine cannot filter; empty when it can.
        enabled: whether the datacenter's switch is on.
        failure: why the kernel does not have what the files say; empty when it has.
        filtered: network devices of containers that have rules.
        skipped: rules that are passed over, and why.
    """

    why_not: str = ""
    enabled: bool = False
    failure: str = ""
    filtered: int = 0
    skipped: tuple[str, ...] = ()

    def sentence(self) -> str:
        """One line for a person."""
        if self.why_not:
            return f"not enforced: {self.why_not}"
        if self.failure:
            return f"out of date: {self.failure}"
        if not self.enabled:
            return "off (the datacenter's switch)"
        passed = f", {len(self.skipped)} rules passed over: {self.skipped[0]}" if self.skipped else ""
        return f"on, {self.filtered} network devices filtered{passed}"

    def write(self, file: Path) -> None:
        """Write it down."""
        files.write_atomic(file, json.dumps(dataclasses.asdict(self)), mode=0o600)


def read_state(file: Path) -> State | None:
    """What was written down; None when nothing was."""
    try:
        values = json.loads(file.read_text())
        return State(**{**values, "skipped": tuple(values.get("skipped", ()))})
    except (OSError, ValueError, TypeError):
        return None


class Enforcer:
    """Filters the packets of one lab.

    Args:
        namespace: the lab's network namespace.
        reader: of its files.
        facts: about its node.
        state_file: where to write down how it is.
        cycle: seconds between two looks at the files.
        applied_file: where to write down what is in force; None for nowhere.
        find_tools: raises NotPossible, or says what works here.
    """

    def __init__(
        self,
        namespace: str,
        reader: Reader,
        facts: Facts,
        state_file: Path,
        find_tools: Callable[[], Tools] = probe,
        *,
        cycle: float = CYCLE,
        applied_file: Path | None = None,
    ) -> None:
        self._namespace = namespace
        self._reader = reader
        self._facts = facts
        self._state_file = state_file
        self._find_tools = find_tools
        self._kernel: Kernel | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: Signatures | None = None
        self._applied: Compiled | None = None
        self._cycle = cycle
        self._applied_file = applied_file
        self._stopped = False
        self.state = State()

    def start(self) -> str:
        """Filter from now on; gives back why that cannot be here, empty when it can."""
        self._state_file.unlink(missing_ok=True)  # of a daemon that was killed
        try:
            tools = self._find_tools()
            kernel = Kernel(self._namespace, tools)
            kernel.prepare()
        except (NotPossible, LabError, OSError) as failure:
            self._tell(State(why_not=str(failure)))
            return self.state.why_not
        self._kernel = kernel
        self.sync()
        _LOG.info("firewall: %s (%s)", self.state.sentence(), ", ".join(tools.restore.values()))
        self._thread = threading.Thread(target=self._watch, name="firewall", daemon=True)
        self._thread.start()
        return ""

    def stop(self) -> None:
        """Look at the files no more; the rules stay, as containers do."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._state_file.unlink(missing_ok=True)

    def halt(self) -> None:
        """Take all rules out of force, and look at no file: what ``systemctl stop pve-firewall`` does."""
        with self._lock:
            self._stopped = True
            if self._kernel is not None:
                self._apply(self._kernel, compile_rules(Read(), self._facts))
                self._tell(State(failure="pve-firewall is stopped"))

    def go_on(self) -> None:
        """Filter again, at once: the daemon begins with a cycle."""
        with self._lock:
            self._stopped = False
        self.sync()

    def sync(self) -> None:
        """Bring the kernel up to date with the files. What goes wrong is logged and in the state, never raised."""
        with self._lock:
            if self._kernel is None or self._stopped:
                return
            try:
                self._sync(self._kernel)
            except Exception as failure:  # the lab goes on, whatever a file or the kernel has in store
                text = str(failure) or type(failure).__name__
                if text != self.state.failure:
                    expected = isinstance(failure, RuntimeFailure | LabError | OSError)
                    _LOG.error("the firewall is out of date: %s", text, exc_info=not expected)
                self._tell(dataclasses.replace(self.state, failure=text))

    def _sync(self, kernel: Kernel) -> None:
        seen = self._reader.signatures()
        compiled = compile_rules(self._reader.read(), self._facts)
        if compiled != self._applied:
            self._apply(kernel, compiled)
            for line in compiled.skipped:
                if line not in self.state.skipped:
                    _LOG.warning("passed over: %s", line)
        self._seen = seen
        self._tell(State(enabled=compiled.enabled, filtered=compiled.filtered, skipped=compiled.skipped))

    def _apply(self, kernel: Kernel, compiled: Compiled) -> None:
        self._applied = None
        kernel.apply(compiled)
        self._applied = compiled
        if self._applied_file is not None:
            files.write_atomic(self._applied_file, json.dumps(chains(compiled)), mode=0o600)

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._end.wait(max(0.0, began + self._cycle - time.monotonic())):
            began = time.monotonic()
            if self.state.failure or self._changed():
                self.sync()

    def _changed(self) -> bool:
        try:
            return self._reader.signatures() != self._seen
        except OSError:
            return False  # a folder that is being removed

    def _tell(self, state: State) -> None:
        if state != self.state or not self._state_file.exists():
            self.state = state
            try:
                state.write(self._state_file)
            except OSError as failure:
                _LOG.warning("the firewall's state is not written down: %s", failure)
