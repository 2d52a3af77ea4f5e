"""A run on a site: over one connection, under the site's lock, and told to its history."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import connect
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Listener
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.stages.types import AnyStage, Converge
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.site import history
from zentoria_infra.site.run_lock import RunLock, held
from zentoria_infra.site.site_state import site_state

WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait so long for another run to end (default: 0).")
]


@dataclasses.dataclass(frozen=True)
class SiteRun:
    """What a run has in hand.

    Attributes:
        proxmox: the client.
        lock: the site's lock, held.
        begun: when it began, on the monotonic clock, in seconds.
    """

    proxmox: Proxmox
    lock: RunLock
    begun: float

    def carry_out(self, deployment: Deployment, stages: Sequence[AnyStage], listen: Listener) -> engine.Result:
        """Run stages. Ctrl-C, or the loss of the lock, stops them in order: what is at work ends first.

        Raises:
            LockLostError: the lock went away meanwhile.
        """
        self.lock.require()
        if isinstance(deployment.inside, GuestsInside):
            # Wheels and archives are built while containers are created.
            deployment.inside.begin({stage.vmid for stage in stages if isinstance(stage, Converge)})
        with _interruptible() as stop:
            self.lock.watch(stop)
            result = deployment.run(stages, stop, listen)
        self.lock.ended(history.ended(result))
        if result.interrupted:
            self.lock.require()
        return result


@contextmanager
def site_run(inventory: Inventory, *, wait: float = 0.0, documents: Sequence[str] = ()) -> Iterator[SiteRun]:
    """Connect to the site's node and hold its lock.

    Args:
        inventory: of the site.
        wait: seconds to wait for another run to end.
        documents: what to read of the site's memory along with the lock.

    Raises:
        LockedError: somebody else is at work.
        ZentoriaError: the node could not be reached, or the lock not be taken.
    """
    begun = time.monotonic()
    with connect(inventory.site) as proxmox:
        state = site_state(inventory.site, proxmox, output.note)
        record = history.begun(inventory.root)
        command = history.command_line()
        with held(state, command, record=record, documents=documents, wait=wait, say=output.note) as lock:
            yield SiteRun(proxmox, lock, begun)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, the second ends the program at once; the next run goes on either way."""
    stop = threading.Event()

    def interrupted(number: int, frame: Any) -> None:
        if stop.is_set():
            output.leave(ExitCode.INTERRUPTED)
        stop.set()
        output.note("stopping: what is at work ends first (Ctrl-C again leaves at once; both are safe)")

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
