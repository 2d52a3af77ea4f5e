"""Open connections on the node: a rule that is taken away leaves them open, since they are accepted before any rule."""

from __future__ import annotations

import ipaddress
import re
import shlex

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.proxmox.shell.ssh import SshConnection
from zentoria_infra.proxmox.shell.stream import PctSession

_COUNT = re.compile(r"(\d+) flow entries have been deleted")
_RACED = re.compile(r"such conntrack doesn't exist|No such file or directory")
_ATTEMPTS = 4
_NOT_RUN = (126, 127)
"""Exit codes of a shell that cannot run the command."""


class ConntrackError(ZentoriaError):
    """Connections could not be cut on the node: the tool is missing, or failed."""


class Conntrack:
    """The kernel's table of connections of one node, over SSH. Safe from several threads.

    Args:
        ssh: the node's SSH.
        timeout: seconds for a command.
    """

    def __init__(self, ssh: SshConnection, *, timeout: float = 60.0) -> None:
        self._ssh = ssh
        self._timeout = timeout

    def cut(self, source: str = "", destination: str = "", protocol: str = "", dport: int = 0) -> int:
        """Forget the connections from ``source`` to ``destination``; returns how many there were.

        An entry holds both directions. A connection that rules still allow goes on, as a new one.

        Args:
            source: address of who opened it; empty: any.
            destination: address that it was opened to; empty: any, but not both.
            protocol: ``tcp``, ``udp`` and so on; empty: any.
            dport: destination port; 0: any. Only with a protocol.

        Raises:
            ConntrackError: the node has no ``conntrack``, or it failed.
            UnreachableError: SSH could not be reached or broke; AuthError when the key is not accepted.
            ValueError: nothing that would narrow it down, or no address.
        """
        argv = ["conntrack", "-D", *_options(source, destination, protocol, dport)]
        tried = f"cut connections from {source or 'anywhere'} to {destination or 'anywhere'}"
        for _ in range(_ATTEMPTS):
            code, said = self._run(argv, tried)
            if found := _COUNT.search(said):
                return int(found[1])
            if code in _NOT_RUN or not _RACED.search(said):
                break  # else an entry ended by itself between being listed and being deleted
        missing = code in _NOT_RUN or "may be run here" in said
        raise ConntrackError(
            tried,
            on=self._ssh.target.where,
            got=f"exit code {code}: {said.strip()[-500:]}",
            todo="install `conntrack` on the node (Proxmox's firewall brings it along)"
            if missing
            else "run `conntrack -L` on the node as root, and see what it says",
        )

    def _run(self, argv: list[str], tried: str) -> tuple[int, str]:
        """Exit code, and what it said on stderr; stdout lists the entries."""
        with self._ssh.channel(tried) as channel:
            self._ssh.begin(channel, shlex.join(argv), tried)
            session = PctSession(channel, self._ssh.target, tried, self._timeout)
            session.close_stdin()
            session.read_all()
            code = session.close()
            return code, session.stderr.decode("utf-8", "replace")


def _options(source: str, destination: str, protocol: str, dport: int) -> list[str]:
    if not source and not destination:
        raise ValueError("an address is needed: without one, every connection of the node would be cut")
    if dport and not protocol:
        raise ValueError("a port is nothing without its protocol")
    if not re.fullmatch(r"[a-z0-9-]*", protocol):
        raise ValueError(f"not a protocol: {protocol!r}")
    options: list[str] = []
    for flag, address in (("-s", source), ("-d", destination)):
        if address:
            options += [flag, str(ipaddress.ip_address(address))]
    if protocol:
        options += ["-p", protocol]
    if dport:
        options += ["--dport", str(int(dport))]
    return options
