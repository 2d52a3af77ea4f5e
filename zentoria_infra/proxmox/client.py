"""The whole client: one object a node, with ``observe``, ``write`` and ``pct``, and likewise for the firewall."""

from __future__ import annotations

from types import TracebackType

from zentoria_infra.errors import UnreachableError, ZentoriaError
from zentoria_infra.firewall.identity import is_ours, site_of
from zentoria_infra.proxmox.connection import Connection, Credentials, Endpoint, RetryPolicy
from zentoria_infra.proxmox.firewall.read import FirewallObserver
from zentoria_infra.proxmox.firewall.write import FirewallWriter
from zentoria_infra.proxmox.gates import CREATES_PER_STORAGE, Gates
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.shell import starting
from zentoria_infra.proxmox.shell.conntrack import Conntrack
from zentoria_infra.proxmox.shell.filtered import FilterReader, NotToldError
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget
from zentoria_infra.proxmox.snapshots import SnapshotWriter
from zentoria_infra.proxmox.stats import CallStats
from zentoria_infra.proxmox.tasks import Pace
from zentoria_infra.proxmox.volumes import VolumeWriter
from zentoria_infra.proxmox.write_base import of_site


class Proxmox:
    """A Proxmox server. Nothing is sent before the first call. Safe from several threads.

    Args:
        endpoint: the API.
        credentials: who we are there.
        ssh: the node's SSH; without it there is no ``pct``.
        creates_per_storage: how many creates may run on one storage at a time.
        retry: how often calls are sent again.
        pace: how tasks are polled.
        site: id of the site whose containers are ours; empty takes the mark of any site. What is not ours is never
            changed by a call that is sent again after a lost answer.
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
        site: str = "",
    ) -> None:
        self.endpoint = endpoint
        self._credentials = credentials
        self._connection = Connection(endpoint, credentials, retry=retry)
        self._gates = Gates(creates_per_storage)
        self.observe = Observer(self._connection.reader(), endpoint.node)
        whose = of_site(site)
        self.write = VolumeWriter(self._connection, self.observe, self._gates, pace=pace, whose=whose)
        self.snapshots = SnapshotWriter(self._connection, self.observe, self._gates, pace=pace, whose=whose)
        self.firewall = FirewallObserver(self._connection.reader(), endpoint.node)
        self.write_firewall = FirewallWriter(
            self._connection,
            self.firewall,
            self._gates,
            whose=lambda vmid, at: whose(self.observe.config(vmid, at)),
            owns=lambda comment: is_ours(comment) and (not site or site_of(comment) in ("", site)),
        )
        self._pct = Pct(ssh, self._gates, starts=self._starts) if ssh is not None else None
        self._conntrack = Conntrack(self._pct.connection) if self._pct is not None else None
        self._filtered = FilterReader(ssh) if ssh is not None else None
        self._inside = ssh is not None and ssh.inside

    def __repr__(self) -> str:
        return f"Proxmox({self.endpoint.where}, node {self.endpoint.node})"

    def _starts(self) -> int:
        """How many commands may be about to begin on the node at once: its processors and its load say so."""
        try:
            status = self.observe.node_status()
        except ZentoriaError:
            return starting.UNKNOWN  # the right to ask is missing, say; whatever it is, it is not what was wanted
        return starting.width(status.cpus, status.load)

    @property
    def who(self) -> str:
        """Who we are there: a token's full id, or a user."""
        return self._credentials.who

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
            raise self._no_ssh("run a command in a container")
        return self._pct

    @property
    def ssh(self) -> SshConnection | None:
        """The node's SSH connection, for programs of the node besides ``pct``; None where no SSH target was given."""
        return self._pct.connection if self._pct is not None else None

    @property
    def conntrack(self) -> Conntrack:
        """The node's table of open connections, over SSH.

        Raises:
            UnreachableError: no SSH target was given.
        """
        if self._conntrack is None:
            raise self._no_ssh("cut open connections on the node")
        return self._conntrack

    @property
    def filtered(self) -> FilterReader:
        """What of the firewall is in force, over SSH.

        Raises:
            NotToldError: no SSH target was given.
        """
        if self._filtered is None:
            todo = "set the node's SSH address, key and host key in the site file"
            raise NotToldError("ask which firewall rules are in force", got="there is no SSH to the node", todo=todo)
        return self._filtered

    def connect(self, endpoint: Endpoint | None = None, *, retry: RetryPolicy | None = None) -> Connection:
        """A connection of its own, as the same user; the caller closes it.

        Args:
            endpoint: the same API with other time limits; default: as given.
            retry: how often calls are sent again.
        """
        return Connection(endpoint or self.endpoint, self._credentials, retry=retry)

    def _no_ssh(self, tried: str) -> UnreachableError:
        return UnreachableError(
            tried,
            on=self.endpoint.where,
            got="no SSH access to the node is configured",
            todo="set the node's SSH address, key and host key in the site file",
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What tasks that ended well have warned of so far, each once."""
        return tuple(dict.fromkeys([*self.write.warnings, *self.snapshots.warnings]))

    @property
    def api_calls(self) -> CallStats:
        """API calls so far."""
        return self._connection.stats

    @property
    def ssh_round_trips(self) -> int:
        """Commands sent over SSH so far."""
        return sum(one.round_trips for one in (self._pct, self._filtered) if one is not None)

    def close(self) -> None:
        """Close the API's and the SSH connections."""
        self._connection.close()
        for one in (self._pct, self._filtered):
            if one is not None:
                one.close()

    def __enter__(self) -> Proxmox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
