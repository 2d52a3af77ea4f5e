"""What of the firewall's rules is in force on a node, as the node itself says it, over SSH."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget
from zentoria_infra.proxmox.shell.stream import PctSession

_NOT_RUN = (126, 127, 255)
"""Exit codes of what cannot be run, or of a gate or forced command that lets it not be run."""


class NotToldError(ZentoriaError):
    """The node does not tell what is in force: the program is not there, or our key may not run it."""


class FilteredError(ZentoriaError):
    """The node could not tell at this moment."""


@dataclasses.dataclass(frozen=True)
class Filtered:
    """What is in force at one moment.

    Args:
        enabled: whether the datacenter's firewall is on.
        there: chains and IP sets that are in the kernel as the files say.
        pending: those that are not, yet.
    """

    enabled: bool
    there: frozenset[str]
    pending: frozenset[str]

    def outdated(self, vmids: Collection[int]) -> tuple[str, ...]:
        """What is not in force of some containers' rules, and of what all share.

        A container's devices have two chains each, ``veth404i0-IN`` and ``-OUT``, its IP sets are ``PVEFW-404-...``;
        security groups are ``GROUP-...``, the datacenter's IP sets ``PVEFW-0-...`` (PVE::Firewall). The chains that
        lead to all devices change with each container and are no part of it: one restore puts them into the kernel
        together with the chains that they lead to.
        """
        numbers = "|".join(str(vmid) for vmid in sorted(vmids)) or "none"
        own = re.compile(rf"veth(?:{numbers})i\d+-|PVEFW-(?:0|{numbers})-|GROUP-")
        return tuple(sorted(name for name in self.pending if own.match(name)))

    def lacking(self, vmid: int) -> tuple[str, ...]:
        """What is not in force of one container that shall be filtered; empty when all is."""
        found = [f"veth{vmid}i*-{way}" for way in ("IN", "OUT") if not self._has(vmid, way)]
        return (*found, *self.outdated([vmid]))

    def _has(self, vmid: int, way: str) -> bool:
        chain = re.compile(rf"veth{vmid}i\d+-{way}")
        return any(chain.fullmatch(name) for name in self.there)


class FilterReader:
    """Asks a node. Safe from several threads.

    It has a connection of its own: on that of ``pct`` it would wait behind installs that take minutes.

    Args:
        target: the node's SSH.
        timeout: seconds for an answer; the node's program gives up before.
    """

    def __init__(self, target: SshTarget, *, timeout: float = 75.0) -> None:
        self._ssh = SshConnection(target, channels=1)
        self._timeout = timeout

    @property
    def round_trips(self) -> int:
        """How often it was asked."""
        return self._ssh.round_trips

    def close(self) -> None:
        """Close the connection."""
        self._ssh.close()

    def read(self) -> Filtered:
        """What is in force now. It takes the node about a second of a processor.

        Raises:
            NotToldError: there is nobody who could tell.
            FilteredError: it could not be told at this moment, as while pve-firewall is at work.
            UnreachableError: SSH could not be reached or broke; AuthError when the key is not accepted.
        """
        tried = "ask which firewall rules are in force"
        with self._ssh.channel(tried) as channel:
            self._ssh.begin(channel, "zentoria-firewall pending", tried)
            session = PctSession(channel, self._ssh.target, tried, self._timeout)
            session.close_stdin()
            text = session.read_all()
            code, said = session.close(), session.stderr.decode("utf-8", "replace").strip()
        where = self._ssh.target.where
        if code in _NOT_RUN:
            raise NotToldError(tried, on=where, got=f"exit code {code}: {said[-300:]}", todo="run `zentoria bootstrap`")
        try:
            answer = json.loads(text)
            if "error" in answer:
                raise ValueError(str(answer["error"])[-500:])
            found = Filtered(bool(answer["enabled"]), frozenset(answer["there"]), frozenset(answer["pending"]))
        except (ValueError, KeyError, TypeError) as error:
            raise FilteredError(
                tried, on=where, got=str(error), todo="run `pve-firewall compile` on the node, and see what it says"
            ) from None
        if found.enabled and not found.there and not found.pending:
            # A release whose words are others: time must do.
            raise NotToldError(tried, on=where, got="`pve-firewall compile` names no chain", todo="nothing")
        return found
