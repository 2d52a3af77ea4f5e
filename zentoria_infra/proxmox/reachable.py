"""Turning the datacenter's firewall on without locking ourselves out: it is taken back unless we reach the node again.

With the switch the node itself is closed, but for its management ports and the addresses of the IP set ``management``
(PVE Firewall, "Host specific configuration"). Connections that are open go on, so that the one which turned it on can
turn it off again; only a connection made afterwards tells whether we can come in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from zentoria_infra.errors import ApiError, AuthError, RefusedError, UnreachableError, ZentoriaError
from zentoria_infra.firewall.config import Alias, Entry
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.connection import Connection, Endpoint, RetryPolicy
from zentoria_infra.proxmox.errors import NotSentError
from zentoria_infra.proxmox.firewall.read import FirewallObserver
from zentoria_infra.proxmox.firewall.records import DATACENTER, plain
from zentoria_infra.proxmox.firewall.write import FirewallWriter
from zentoria_infra.proxmox.gates import Gates

MANAGEMENT = "management"
"""The IP set whose members may reach a node's API, SSH and consoles, whatever its rules say."""

SITE_COMMENT = "zt/management"
"""Of members that the site's file names."""

OWN_COMMENT = "address from which the firewall was turned on"
"""Of our own address, when nothing else held it. No identity: it stays when the site's file changes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds.

    Args:
        cycle: until what was written is in force; pve-firewall looks every 10 s.
        after: how long no new connection may come about before the switch is taken back.
        connect: for a new connection, and for its answer.
        pause: between two tries.
    """

    cycle: float = 12.0
    after: float = 10.0
    connect: float = 4.0
    pause: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class TurnedOn:
    """What was done.

    Args:
        changed: False when the switch was on before.
        address: our own address, as the socket to the API has it; empty when nothing was to do.
        added: members that joined ``management``.
    """

    changed: bool
    address: str = ""
    added: tuple[str, ...] = ()


class LockedOutError(UnreachableError):
    """With the firewall on, the node could not be reached any more.

    Args:
        taken_back: whether it could be turned off again.
    """

    def __init__(self, tried: str, *, on: str, got: str, todo: str, taken_back: bool) -> None:
        super().__init__(tried, on=on, got=got, todo=todo)
        self.taken_back = taken_back


def turn_on(
    proxmox: Proxmox,
    management: Iterable[str] = (),
    *,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> TurnedOn:
    """Turn the datacenter's switch on; off again unless a new connection comes about. Needs Sys.Modify on /.

    First the IP set ``management`` is seen to hold our own address and those given. Nothing is done when the switch
    is on already. Interrupted (Ctrl-C) before the end, it is taken back as well.

    Args:
        proxmox: the node.
        management: networks of the admins, as CIDR.
        patience: how long to wait.
        clock: monotonic seconds.
        sleep: waits seconds.

    Raises:
        LockedOutError: no new connection came about; ``taken_back`` says whether the switch is off again.
        RefusedError: our own address could not be brought into ``management``.
        ModifiedError: somebody else changed the datacenter's options meanwhile.
    """
    times = patience or Patience()
    # The read timeout must outlast the 10 s that Proxmox waits for a lock.
    endpoint = dataclasses.replace(proxmox.endpoint, connect_timeout=times.connect, read_timeout=15.0)
    with contextlib.closing(proxmox.connect(endpoint, retry=RetryPolicy(attempts=2, first_wait=0.1))) as held:
        switch = _Switch(proxmox, held, times, clock, sleep)
        options, digest = switch.observer.options(DATACENTER)
        if options.get("enable", "0") != "0":
            return TurnedOn(changed=False)
        address = own_address(proxmox.endpoint)
        added = _admit(switch.observer, switch.writer, address, tuple(management))
        switch.turn_on(digest, address)
        return TurnedOn(True, address, added)


def own_address(endpoint: Endpoint) -> str:
    """Our address on the way to the API, as a socket of ours has it; behind NAT the node sees another.

    Raises:
        UnreachableError: no connection.
    """
    try:
        with socket.create_connection((endpoint.host.strip("[]"), endpoint.port), endpoint.connect_timeout) as way:
            return str(way.getsockname()[0]).partition("%")[0]
    except OSError as error:
        raise UnreachableError(
            "find the own address on the way to the API",
            on=endpoint.where,
            got=error.strerror or str(error),
            todo="check host and port in the site file, and that pveproxy runs on the node",
        ) from None


def holds(entries: Iterable[Entry], aliases: Iterable[Alias], address: str) -> bool:
    """Whether an IP set has an address: of the members that fit, the longest prefix decides (kernel's hash:net)."""
    cidrs = {name: alias.cidr for alias in aliases for name in (alias.name.lower(), f"dc/{alias.name.lower()}")}
    wanted = ipaddress.ip_address(address)
    best, found = -1, False
    for entry in entries:
        try:
            network = ipaddress.ip_network(cidrs.get(entry.cidr.lower(), entry.cidr), strict=False)
        except ValueError:
            continue  # an alias that is gone: Proxmox leaves the member out
        if wanted.version == network.version and wanted in network and network.prefixlen > best:
            best, found = network.prefixlen, not entry.nomatch
    return found


def _admit(
    observer: FirewallObserver, writer: FirewallWriter, address: str, management: Sequence[str]
) -> tuple[str, ...]:
    """Bring the admins' networks and our own address into ``management``; what was added."""
    added: list[str] = []
    found = observer.ipset(DATACENTER, MANAGEMENT)
    if found is None:
        writer.create_ipset(DATACENTER, MANAGEMENT)
    entries = list(found.entries) if found else []

    def add(cidr: str, comment: str) -> None:
        entry = Entry(cidr, comment=comment)
        writer.add_entry(DATACENTER, MANAGEMENT, entry)
        entries.append(entry)
        added.append(cidr)

    for cidr in management:
        if not _is_member(entries, cidr):
            add(plain(cidr), SITE_COMMENT)
    aliases = observer.aliases(DATACENTER) if any(not entry.cidr[:1].isdigit() for entry in entries) else ()
    if not holds(entries, aliases, address) and not _is_member(entries, address):
        add(address, OWN_COMMENT)
    there = observer.ipset(DATACENTER, MANAGEMENT)
    if there is None or not holds(there.entries, aliases, address):
        raise _refused(
            f"the IP set '{MANAGEMENT}' does not hold {address}, from where we reach the node",
            "a `nomatch` in it, or somebody else who changes it",
        )
    return tuple(added)


def _is_member(entries: Sequence[Entry], cidr: str) -> bool:
    """Whether an address or network is among the members by its own name.

    Raises:
        RefusedError: it is, in order to be taken out of the set: that was somebody's will.
    """
    found = next((entry for entry in entries if entry.cidr == plain(cidr)), None)
    if found is not None and found.nomatch:
        raise _refused(
            f"the IP set '{MANAGEMENT}' has {found.cidr} as `nomatch`, and it shall hold it",
            "take the `nomatch` away if it is a mistake, or leave that address out of `firewall.management` in the "
            "site's file",
        )
    return found is not None


def _refused(got: str, todo: str) -> RefusedError:
    where = f"look at the IP set '{MANAGEMENT}' (Datacenter > Firewall > IPSet)"
    return RefusedError("turn the datacenter's firewall on", got=got, todo=f"{where}: {todo}")


class _Switch:
    """The datacenter's switch, with a connection that is kept open to turn it off again."""

    def __init__(
        self,
        proxmox: Proxmox,
        held: Connection,
        times: Patience,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._proxmox = proxmox
        self._held = held
        self._times = times
        self._clock = clock
        self._sleep = sleep
        self._tried = "turn the datacenter's firewall on"
        self.observer = FirewallObserver(held.reader(), proxmox.endpoint.node)
        self.writer = FirewallWriter(held, self.observer, Gates(), sleep=sleep)

    def turn_on(self, digest: str, address: str) -> None:
        try:
            self.writer.set_options(DATACENTER, {"enable": "1"}, digest=digest or None)
        except (ApiError, AuthError):
            raise  # it was refused
        except BaseException as error:
            if digest and isinstance(error, NotSentError):
                raise  # with a digest it is not sent again after a lost answer: so it certainly was not carried out
            self._back(f"it is not known whether it was turned on ({error or type(error).__name__})", address)
            raise
        try:
            why = self._wait()
        except BaseException as error:
            self._back(f"it was interrupted ({error or type(error).__name__})", address)
            raise
        if why:
            seconds = f"{self._times.after:.0f} s"
            self._back(f"with it on, no new connection to the API came about for {seconds} ({why})", address)
            raise LockedOutError(
                self._tried,
                on=self._proxmox.endpoint.where,
                got=f"with it on, no new connection to the API came about for {seconds} ({why}); "
                "it has been turned off again, and the node can be reached as before",
                todo=f"we come from {address}, but the node may see another address (NAT, VPN): add that one to "
                "`firewall.management` in the site's file, then run again",
                taken_back=True,
            )

    def _wait(self) -> str:
        """Until the switch is in force and a new connection comes about: empty. Else why none did."""
        began = self._clock()
        failing: float | None = None
        while True:
            why = self._try()
            with contextlib.suppress(ZentoriaError):
                self._held.reader()("/version")  # keeps it open: pveproxy closes those on which nothing comes
            now = self._clock()
            if not why and now - began >= self._times.cycle:
                return ""
            failing = None if not why else now if failing is None else failing
            if failing is not None and now - failing >= self._times.after:
                return why
            self._sleep(self._times.pause)

    def _try(self) -> str:
        """Ask on a new connection; empty when an answer came."""
        limit = self._times.connect
        endpoint = dataclasses.replace(self._proxmox.endpoint, connect_timeout=limit, read_timeout=limit)
        with contextlib.closing(self._proxmox.connect(endpoint, retry=RetryPolicy(attempts=1))) as fresh:
            try:
                fresh.reader()("/version")
            except (ApiError, AuthError):
                return ""  # whatever it said: it answered
            except UnreachableError as error:
                return error.got
        return ""

    def _back(self, why: str, address: str) -> None:
        """Turn it off again: on the connection held open, else on those of the client, for some time."""
        until = self._clock() + self._times.after
        while True:
            failed = ""
            for writer in (self.writer, self._proxmox.write_firewall):
                try:
                    writer.set_options(DATACENTER, {"enable": "0"})
                    return
                except ZentoriaError as error:
                    failed = error.got
            if self._clock() >= until:
                break
            self._sleep(self._times.pause)
        raise LockedOutError(
            self._tried,
            on=self._proxmox.endpoint.where,
            got=f"{why}; and it could not be turned off again: {failed}",
            todo="on the node's console: `pve-firewall stop`, set `enable: 0` in /etc/pve/firewall/cluster.fw, add the "
            f"address that we come from ({address}, or what NAT makes of it) to the IP set '{MANAGEMENT}', "
            "`pve-firewall start`",
            taken_back=False,
        )
