"""One table of iptables as text: chains with their lines, and the chains that are the same on every node."""

from __future__ import annotations

MARK = "0x80000000/0x80000000"
"""Set on a packet that a chain has accepted, for who called the chain."""
ACCEPT_MARKED = "-g PVEFW-SET-ACCEPT-MARK"
CLEAR_MARK = "-j MARK --set-xmark 0x0/0x80000000"
BUILTIN = ("INPUT", "FORWARD", "OUTPUT")
_NEITHER_SYN_NOR_OPEN = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"


class Table:
    """The table ``filter`` of one IP version.

    Args:
        version: of IP.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self._chains: dict[str, list[str]] = {name: [] for name in BUILTIN}

    def has(self, chain: str) -> bool:
        """Whether a chain is there."""
        return chain in self._chains

    def chain(self, name: str) -> None:
        """Make an empty chain."""
        self._chains[name] = []

    def add(self, chain: str, *parts: str) -> None:
        """Add a line to a chain; empty parts are left out."""
        self._chains[chain].append(" ".join(part for part in parts if part))

    def lines(self, chain: str) -> list[str]:
        """The lines of a chain."""
        return list(self._chains[chain])

    def render(self) -> str:
        """The input of ``iptables-restore``: the whole table, which takes the place of the old one in one step."""
        heads = [f":{name} {'ACCEPT' if name in BUILTIN else '-'} [0:0]" for name in self._chains]
        lines = [f"-A {name} {line}" for name, found in self._chains.items() for line in found]
        return "\n".join(["*filter", *heads, *lines, "COMMIT", ""])


def icmp(version: int, kind: str) -> str:
    """The match for an ICMP type."""
    if version == 6:
        return f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind}"
    return f"-p icmp -m icmp --icmp-type {kind}"


def add_common(table: Table, *, allow_invalid: bool) -> None:
    """The chains of every node: how to accept, to reject, to drop by policy; what every packet goes through."""
    _add_verdicts(table)
    for name, verdict in (("PVEFW-Drop", "-j DROP"), ("PVEFW-Reject", "-j PVEFW-reject")):
        _add_policy(table, name, verdict)
    table.chain("PVEFW-smurfs")
    if table.version == 4:
        table.add("PVEFW-smurfs", "-s 0.0.0.0/32 -j RETURN")  # DHCP
        table.add("PVEFW-smurfs", "-m addrtype --src-type BROADCAST -j DROP")
        table.add("PVEFW-smurfs", "-s 224.0.0.0/4 -j DROP")
    for name in ("PVEFW-FORWARD", "PVEFW-FWBR-IN", "PVEFW-FWBR-OUT"):
        table.chain(name)
    table.add("FORWARD", "-j PVEFW-FORWARD")
    add_connections(table, "PVEFW-FORWARD", allow_invalid=allow_invalid)
    # fwln is the end in the guest's own bridge: what comes in there goes to the guest
    table.add("PVEFW-FORWARD", "-m physdev --physdev-in fwln+ --physdev-is-bridged -j PVEFW-FWBR-IN")
    table.add("PVEFW-FORWARD", "-m physdev --physdev-out fwln+ --physdev-is-bridged -j PVEFW-FWBR-OUT")


def add_connections(table: Table, chain: str, *, allow_invalid: bool) -> None:
    """Open connections go on, whatever the rules say now; what belongs to none and opens none does not."""
    if not allow_invalid:
        table.add(chain, "-m conntrack --ctstate INVALID -j DROP")
    table.add(chain, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")


def add_smurfs(table: Table, chain: str) -> None:
    """Sources that are no one's address, for packets that open a connection."""
    table.add(chain, "-m conntrack --ctstate INVALID,NEW -j PVEFW-smurfs")


def add_policy(table: Table, chain: str, policy: str, accept: str) -> None:
    """What becomes of a packet for which no rule was found."""
    if policy == "ACCEPT":
        table.add(chain, accept)
    elif policy == "REJECT":
        table.add(chain, "-j PVEFW-Reject")
        table.add(chain, "-g PVEFW-reject")
    else:
        table.add(chain, "-j PVEFW-Drop")
        table.add(chain, "-j DROP")


def _add_verdicts(table: Table) -> None:
    table.chain("PVEFW-SET-ACCEPT-MARK")
    table.add("PVEFW-SET-ACCEPT-MARK", f"-j MARK --set-xmark {MARK}")
    reject = "PVEFW-reject"
    table.chain(reject)
    if table.version == 4:
        table.add(reject, "-m addrtype --dst-type BROADCAST -j DROP")
        table.add(reject, "-s 224.0.0.0/4 -j DROP")
        answers = ("icmp-port-unreachable", "icmp-host-unreachable", "icmp-host-prohibited")
    else:
        answers = ("icmp6-port-unreachable", "icmp6-addr-unreachable", "icmp6-adm-prohibited")
    table.add(reject, "-p tcp -j REJECT --reject-with tcp-reset")
    table.add(reject, f"-p udp -j REJECT --reject-with {answers[0]}")
    table.add(reject, f"-p {'icmp' if table.version == 4 else 'ipv6-icmp'} -j REJECT --reject-with {answers[1]}")
    table.add(reject, f"-j REJECT --reject-with {answers[2]}")


def _add_policy(table: Table, name: str, verdict: str) -> None:
    """What a policy does before it drops or rejects: noise goes at once, two kinds of ICMP errors go through."""
    table.chain(name)
    table.add(name, "-p tcp -m tcp --dport 43 -j PVEFW-reject")
    if table.version == 4:
        for kind in ("BROADCAST", "MULTICAST", "ANYCAST"):
            table.add(name, f"-m addrtype --dst-type {kind} -j DROP")
        table.add(name, "-d 224.0.0.0/4 -j DROP")
        through: tuple[str, ...] = ("3/4", "11")
    else:
        table.add(name, "-d ff00::/8 -j DROP")
        through = ("1", "2", "3", "4")
    for kind in through:
        table.add(name, icmp(table.version, kind), "-j ACCEPT")
    table.add(name, "-m conntrack --ctstate INVALID -j DROP")
    table.add(name, "-p udp -m multiport --dports 135,445", verdict)
    table.add(name, "-p udp -m udp --dport 137:139", verdict)
    table.add(name, "-p udp -m udp --sport 137 --dport 1024:65535", verdict)
    table.add(name, "-p tcp -m multiport --dports 135,139,445", verdict)
    table.add(name, "-p udp -m udp --dport 1900 -j DROP")
    table.add(name, _NEITHER_SYN_NOR_OPEN, "-j DROP")
    table.add(name, "-p udp -m udp --sport 53 -j DROP")
