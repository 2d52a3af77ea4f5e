"""The whole client: one object a node, with ``observe``, ``write`` and ``pct``."""

from __future__ import annotations

from types import TracebackType

from zentoria_infra.errors import UnreachableError
from zentoria_infra.proxmox.connection import Connection, Credentials, Endpoint, RetryPolicy
from zentoria_infra.proxmox.gates import CREATES_PER_STORAGE, Gates
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.pct import Pct
from zentoria_infra.proxmox.ssh import SshTarget
from zentoria_infra.proxmox.stats import CallStats
from zentoria_infra.proxmox.tasks import Pace
from zentoria_infra.proxmox.write import Writer


class Proxmox:
    """A Proxmox server. Nothing is sent before the first call. Safe from several threads.

    Args:
        endpoint: the API.
        credentials: who we are there.
        ssh: the node's SSH; without it there is no ``pct``.
        creates_per_storage: how many creates may run on one storage at a time.
        retry: how often calls are sent again.
        pace: how tasks are polled.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        ssh: SshTarget | None = None,
        *,
        creates_per_storage: int = CREATES_PER_STORAGE,
        retry: RetryPolicy | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._connection = Connection(endpoint, credentials, retry=retry)
        self._gates = Gates(creates_per_storage)
        self.observe = Observer(self._connection.reader(), endpoint.node)
        self.write = Writer(self._connection, self.observe, self._gates, pace=pace)
        self._pct = Pct(ssh, self._gates) if ssh is not None else None
        self._inside = ssh is not None and ssh.inside

    def __repr__(self) -> str:
        return f"Proxmox({self.endpoint.where}, node {self.endpoint.node})"

    @property
    def has_ssh(self) -> bool:
        """Whether commands can be run inside containers."""
        return self._pct is not None and self._inside

    @property
    def pct(self) -> Pct:
        """Commands inside containers, over SSH.

        Raises:
            UnreachableError: no SSH target was given.
        """
        if self._pct is None:
            raise UnreachableError(
                "run a command in a container",
                on=self.endpoint.where,
                got="no SSH access to the node is configured",
                todo="set the node's SSH address, key and host key in the site file",
            )
        return self._pct

    @property
    def api_calls(self) -> CallStats:
        """API calls so far."""
        return self._connection.stats

    @property
    def ssh_round_trips(self) -> int:
        """Commands sent over SSH so far."""
        return self._pct.round_trips if self._pct is not None else 0

    def close(self) -> None:
        """Close the API's and the SSH connection."""
        self._connection.close()
        if self._pct is not None:
            self._pct.close()

    def __enter__(self) -> Proxmox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
