"""The node's own rules: who may reach it, and what it may reach."""

from __future__ import annotations

import dataclasses

from zentoria_infra.lab.firewall.reading import Read, flag
from zentoria_infra.lab.firewall.rulechains import Place, Rules
from zentoria_infra.lab.firewall.table import Table, add_connections, add_policy, add_smurfs, icmp

_MANAGED = ("8006", "5900:5999", "3128", "22", "60000:60050")
"""What the set ``management`` may reach: API, consoles, SPICE, SSH, migrations."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the files do not say.

    Args:
        local_network: the network that the node manages itself from.
        outside: an address of the node that stands for users on the internet; empty for none.
        proxy: address and port of the node behind which the rest of the internet is, and which is always reached; None
            where the node's own rules decide that as well, as on Proxmox.
    """

    local_network: str
    outside: str = ""
    proxy: tuple[str, int] | None = None


def add_host(table: Table, rules: Rules, read: Read, facts: Facts) -> None:
    """The chains of the node. What stands for the internet there is not the node: it is always reached."""
    # sent to the bridge that is a guest's own: it would come in past the guest's rules
    table.add("INPUT", "-i fwbr+ -j DROP")
    if table.version == 4:
        if facts.proxy is not None:
            address, port = facts.proxy
            table.add("INPUT", f"-d {address}/32 -p tcp -m tcp --dport {port} -j ACCEPT")
        if facts.outside:
            table.add("INPUT", f"-d {facts.outside}/32 -j ACCEPT")
            table.add("OUTPUT", f"-s {facts.outside}/32 -j ACCEPT")
    options = read.host.options
    if not flag(options, "enable", default=True):
        return
    invalid = flag(options, "nf_conntrack_allow_invalid", default=False)
    ndp = table.version == 6 and flag(options, "ndp", default=True)
    addresses = rules.addresses()
    for builtin, chain, direction in (("INPUT", "PVEFW-HOST-IN", "IN"), ("OUTPUT", "PVEFW-HOST-OUT", "OUT")):
        incoming = direction == "IN"
        table.chain(chain)
        table.add(builtin, f"-j {chain}")
        table.add(chain, f"-{'i' if incoming else 'o'} lo -j ACCEPT")
        add_connections(table, chain, allow_invalid=invalid)
        if incoming and flag(options, "nosmurfs", default=True):
            add_smurfs(table, chain)
        if ndp:
            for kind in ("133", "134", "135", "136") if incoming else ("133", "135", "136"):
                table.add(chain, icmp(6, kind), "-j RETURN")
        table.add(chain, "-p igmp -j RETURN" if table.version == 4 else "-p 2 -j RETURN")
        # the node's own come first, so that they win over the datacenter's
        for title, listed in (("host.fw", read.host.rules), ("cluster.fw", read.cluster.rules)):
            place = Place(title, chain, "IN" if incoming else "OUT", "-j RETURN", "-j RETURN")
            rules.add(place, listed, addresses)
        if incoming:
            managers = addresses.management(table.version)
            for ports in _MANAGED:
                table.add(chain, f"-m set --match-set {managers} src -p tcp -m tcp --dport {ports} -j RETURN")
        else:
            for match in addresses.matches("local_network", "dst", table.version):
                for ports in _MANAGED[:4]:
                    table.add(chain, f"{match} -p tcp -m tcp --dport {ports} -j RETURN")
        policy = read.cluster.options.get("policy_in" if incoming else "policy_out", "DROP" if incoming else "ACCEPT")
        add_policy(table, chain, policy, "-j RETURN")
