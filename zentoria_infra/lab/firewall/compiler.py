"""From Proxmox's firewall files to the kernel's rules: one table for each IP version, and the IP sets that they use.

How Proxmox does it: pve-firewall's documentation, "Zones", "Configuration Files" and "Tips and Tricks". A packet of a
guest is looked at when it leaves the guest's own bridge, and again when it enters the other guest's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress

from zentoria_infra.lab.firewall.addresses import KernelSet, Network, Sets
from zentoria_infra.lab.firewall.host import Facts, add_host
from zentoria_infra.lab.firewall.reading import Guest, Nic, Read, flag
from zentoria_infra.lab.firewall.rulechains import Direction, Place, Rules
from zentoria_infra.lab.firewall.table import ACCEPT_MARKED, CLEAR_MARK, Table, add_common, add_policy, add_smurfs, icmp
from zentoria_infra.lab.lxc.config import veth


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the kernel gets.

    Args:
        enabled: whether the datacenter's switch is on; without it there are no rules.
        sets: IP sets, by name.
        tables: input of ``iptables-restore`` and ``ip6tables-restore``, by IP version.
        filtered: how many network devices of containers have rules.
        skipped: rules that are passed over, and why.
    """

    enabled: bool
    sets: tuple[KernelSet, ...]
    tables: dict[int, str]
    filtered: int = 0
    skipped: tuple[str, ...] = ()


def compile_rules(read: Read, facts: Facts) -> Compiled:
    """All rules of a node; the same for the same files."""
    enabled = flag(read.cluster.options, "enable", default=False)
    sets = Sets()
    skipped: dict[str, None] = {}
    tables = {}
    filtered = [
        (guest, nic)
        for guest in read.guests
        for nic in guest.nics
        if enabled and flag(guest.firewall.options, "enable", default=False)
    ]
    for version in (4, 6):
        table = Table(version)
        if enabled:
            add_common(table, allow_invalid=flag(read.host.options, "nf_conntrack_allow_invalid", default=False))
            rules = Rules(table, sets, read.cluster, facts.local_network, skipped)
            add_host(table, rules, read, facts)
            if flag(read.host.options, "nosmurfs", default=True):
                add_smurfs(table, "PVEFW-FWBR-IN")
            for guest, nic in filtered:
                _add_guest(table, rules, sets, guest, nic)
        tables[version] = table.render()
    listed = tuple(sets.used[name] for name in sorted(sets.used))
    return Compiled(enabled, listed, tables, len(filtered), tuple(skipped))


def chains(compiled: Compiled) -> dict[str, dict[str, str]]:
    """A digest of each chain, by the program of its table: what ``pve-firewall compile`` compares.

    Names of IP sets hold a digest of what is in them, so that a chain differs when a set of it does.
    """
    found: dict[str, dict[str, str]] = {}
    for version, text in compiled.tables.items():
        lines: dict[str, list[str]] = {}
        for line in text.splitlines():
            words = line.split(" ", 2)
            if line.startswith(":"):
                lines[words[0][1:]] = []
            elif words[0] == "-A":
                lines[words[1]].append(line)
        digests = {name: hashlib.sha1("\n".join(each).encode()).hexdigest() for name, each in lines.items()}  # noqa: S324 - as Proxmox's signatures; no secret
        found["iptables" if version == 4 else "ip6tables"] = digests
    return found


def _add_guest(table: Table, rules: Rules, sets: Sets, guest: Guest, nic: Nic) -> None:
    device = veth(guest.vmid, nic.index)
    for direction, ways, far in (("IN", "PVEFW-FWBR-IN", "out"), ("OUT", "PVEFW-FWBR-OUT", "in")):
        chain = f"{device}-{direction}"
        table.chain(chain)
        table.add(ways, f"-m physdev --physdev-{far} {device} --physdev-is-bridged -j {chain}")
    _add_guest_chain(table, rules, sets, guest, nic, "IN")
    _add_guest_chain(table, rules, sets, guest, nic, "OUT")


def _add_guest_chain(table: Table, rules: Rules, sets: Sets, guest: Guest, nic: Nic, direction: Direction) -> None:
    options = guest.firewall.options
    outgoing = direction == "OUT"
    chain = f"{veth(guest.vmid, nic.index)}-{direction}"
    # an accepted packet on its way out returns: it is not over for it
    accept = ACCEPT_MARKED if outgoing else "-j ACCEPT"
    if flag(options, "dhcp", default=True):
        client, server = (68, 67) if table.version == 4 else (546, 547)
        ports = (client, server) if outgoing else (server, client)
        table.add(chain, f"-p udp -m udp --sport {ports[0]} --dport {ports[1]}", accept)
    if outgoing:
        if nic.hwaddr and flag(options, "macfilter", default=True):
            table.add(chain, f"-m mac ! --mac-source {nic.hwaddr} -j DROP")
        if table.version == 6 and not flag(options, "radv", default=False):
            table.add(chain, icmp(6, "134"), "-j DROP")
        if (allowed := _sources(rules, guest, nic)) is not None:
            name = sets.use(str(guest.vmid), f"ipfilter-net{nic.index}", table.version, allowed)
            table.add(chain, f"-m set ! --match-set {name} src -j DROP")
        table.add(chain, CLEAR_MARK)
    if table.version == 6 and flag(options, "ndp", default=True):
        for kind in ("133", "135", "136", *(() if outgoing else ("134",))):
            table.add(chain, icmp(6, kind), accept)
    place = Place(
        f"{guest.vmid}.fw", chain, direction, accept, "-j RETURN" if outgoing else "-j ACCEPT", f"net{nic.index}"
    )
    rules.add(place, guest.firewall.rules, rules.addresses(guest.firewall, str(guest.vmid)))
    policy = options.get("policy_out" if outgoing else "policy_in", "ACCEPT" if outgoing else "DROP")
    add_policy(table, chain, policy, accept)


def _sources(rules: Rules, guest: Guest, nic: Nic) -> dict[Network, bool] | None:
    """The addresses that a device may send from; None when any."""
    ipset = guest.firewall.ipsets.get(f"ipfilter-net{nic.index}")
    on = flag(guest.firewall.options, "ipfilter", default=False)
    if not on and ipset is None:
        return None
    found = rules.addresses(guest.firewall, str(guest.vmid)).members(ipset.entries) if ipset else {}
    if on:
        own = [*nic.addresses, *([link_local(nic.hwaddr)] if nic.hwaddr else [])]
        found.update({ipaddress.ip_network(address): True for address in own})
    return found


def link_local(hwaddr: str) -> ipaddress.IPv6Address:
    """The link-local IPv6 address that belongs to a hardware address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(hwaddr.replace(":", ""))
    identifier = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier)
