"""The node's pve-firewall, as the API sees it: whether it runs, and how it is stopped and started."""

from __future__ import annotations

from collections.abc import Callable


class Filtering:
    """Runs from the beginning, as on a node that has booted. Without guests there is nothing behind it."""

    def __init__(self) -> None:
        self.runs = True
        self._stop: Callable[[], None] = lambda: None
        self._start: Callable[[], None] = lambda: None

    def carried_out_by(self, stop: Callable[[], None], start: Callable[[], None]) -> None:
        """Say what stops and starts it."""
        self._stop, self._start = stop, start

    def stop(self) -> None:
        """Stop it: Proxmox's takes its rules away when it stops, and all is open (PVE::Service::pve_firewall)."""
        self.runs = False
        self._stop()

    def start(self) -> None:
        """Start it."""
        self.runs = True
        self._start()
