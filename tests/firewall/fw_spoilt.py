"""Ways to spoil the shipped inventory's firewall, and what a proof must say of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.firewall.fw_shipped import place, with_group, with_guest, with_options, with_rule
from zentoria_infra.firewall.config import Alias, Configuration, Entry, Guest, IpSet, Nic, Rule

DB, BACKEND, PROXY, LOGS = 404, 401, 408, 406
FLOW = "zt/row-7/backend/db/tcp"

Spoil = Callable[[Configuration], Configuration]


def drop_alias(name: str) -> Spoil:
    def spoil(old: Configuration) -> Configuration:
        aliases = tuple(one for one in old.datacenter.aliases if one.name != name)
        assert len(aliases) < len(old.datacenter.aliases)
        return dataclasses.replace(old, datacenter=dataclasses.replace(old.datacenter, aliases=aliases))

    return spoil


def swap_order(old: Configuration) -> Configuration:
    """The deny at the end of 404 comes before the rule of the flow."""

    def swapped(guest: Guest) -> Guest:
        rules = list(guest.rules)
        at = place(guest, FLOW)
        rules.insert(at, rules.pop())
        return dataclasses.replace(guest, rules=tuple(rules))

    return with_guest(old, DB, swapped)


def both_ends(old: Configuration) -> Configuration:
    for vmid in (BACKEND, DB):
        old = with_rule(old, vmid, FLOW, lambda rule: dataclasses.replace(rule, dport="5432:6432"))
    return old


def without_ipfilter(old: Configuration) -> Configuration:
    bare = with_options(old, DB, {"ipfilter": "0"})
    return with_guest(bare, DB, lambda guest: dataclasses.replace(guest, ipsets=()))


def foreign(nic: Nic, **more: object) -> Spoil:
    guest = Guest(900, "games", "pve", (nic,), **more)  # type: ignore[arg-type]  # fields of Guest
    return lambda old: dataclasses.replace(old, guests=(*old.guests, guest))


def long_group(old: Configuration) -> Configuration:
    """The group of denials gets a name that is too long, in every place."""
    name = "zt-deny-everything-else"
    old = with_group(old, "zt-home_deny", lambda group: dataclasses.replace(group, name=name))
    guests = tuple(
        dataclasses.replace(
            guest,
            rules=tuple(dataclasses.replace(r, action=name) if r.action == "zt-home_deny" else r for r in guest.rules),
        )
        for guest in old.guests
    )
    return dataclasses.replace(old, guests=guests)


CASES: dict[str, tuple[Spoil, str, str | None, str]] = {
    # what is spoiled: how; what is found; identity of the rule to blame (None: an option or nothing); its words
    "dropped alias": (
        drop_alias("zt-home_backend"),
        "missing backend>db tcp/5432, tcp/6432 @404",
        FLOW,
        r"rule 1 of 404 \(zt/row-7/backend/db/tcp\) names alias 'zt-home_backend', which does not exist in the "
        "datacenter: Proxmox leaves it out without an error",
    ),
    "dropped alias vanishes": (
        drop_alias("zt-home_backend"),
        "vanished db>  @404",
        FLOW,
        "names alias 'zt-home_backend', which does not exist",
    ),
    "dhcp left out": (
        lambda old: with_options(old, DB, {"dhcp": None}),
        "extra db>internet udp/67 @404",
        None,
        r"option dhcp of 404, which is not set \(the default is 1\)",
    ),
    "ipfilter off": (
        without_ipfilter,
        "forged db> any @404",
        None,
        r"option ipfilter=0 of 404, and there is no IP set ipfilter-net0: it may send as .*others",
    ),
    "ipfilter off and its set there": (
        lambda old: with_options(old, DB, {"ipfilter": "0"}),
        "weakened db>  @404",
        None,
        "option ipfilter of 404 is 0 and must be 1",
    ),
    "NIC without firewall": (
        lambda old: with_guest(
            old,
            PROXY,
            lambda guest: dataclasses.replace(
                guest, nics=tuple(dataclasses.replace(nic, firewall=False) for nic in guest.nics)
            ),
        ),
        "unfiltered proxy> any @408",
        None,
        "firewall=1 is missing on net0",
    ),
    "order swapped": (
        swap_order,
        "missing backend>db tcp/5432, tcp/6432 @404",
        "zt/deny/in",
        r"before rule 2 of 404 .* is reached; rule 0 of group zt-home_deny .*taken in by rule 1 of 404 denies it",
    ),
    "policy_out ACCEPT behind a deny": (
        lambda old: with_options(old, DB, {"policy_out": "ACCEPT"}),
        "weakened db>  @404",
        None,
        "option policy_out of 404 is ACCEPT and must be DROP",
    ),
    "policy_out ACCEPT without the deny": (
        lambda old: with_group(with_options(old, DB, {"policy_out": "ACCEPT"}), "zt-home_deny", lambda group: None),
        "extra db>internet any @404",
        None,
        "option policy_out=ACCEPT of 404 lets it through",
    ),
    "port range widened at both ends": (
        both_ends,
        "extra backend>db tcp/5433-6431 @401",
        FLOW,
        r"of 401 \(zt/row-7/backend/db/tcp\) lets it through, and nothing intends it",
    ),
    "port range widened at one end": (
        lambda old: with_rule(old, DB, FLOW, lambda rule: dataclasses.replace(rule, dport="5432:6432")),
        "weakened backend>db tcp/5433-6431 @404",
        FLOW,
        "lets it in, and nothing intends it; only the other end still denies it",
    ),
    "rule disabled": (
        lambda old: with_rule(old, BACKEND, FLOW, lambda rule: dataclasses.replace(rule, enable=False)),
        "missing backend>db tcp/5432, tcp/6432 @401",
        FLOW,
        r"of 401 \(zt/row-7/backend/db/tcp\) is disabled \(out of backend\)",
    ),
    "unfiltered guest": (
        lambda old: with_options(old, DB, {"enable": "0"}),
        "unfiltered db> any @404",
        None,
        r"the guest's firewall is off \(enable is not 1\)",
    ),
    "unfiltered stranger": (
        foreign(Nic("net0", "vmbr40", True, ip="10.10.41.7/20")),
        "unfiltered games> any @900",
        None,
        "no address on the bridge vmbr40 can be believed",
    ),
    "stranger that can forge": (
        foreign(Nic("net0", "vmbr40", True, ip="10.10.41.7/20"), options={"enable": "1"}),
        "unfiltered games> any @900",
        None,
        "which is not in the inventory, is on the bridge vmbr40 and may send as",
    ),
    "group name too long": (
        long_group,
        "vanished datacenter>  @0",
        None,
        "security group 'zt-deny-everything-else' has a name that Proxmox refuses: 2 to 18",
    ),
    "group name too long and what it held": (
        long_group,
        "extra stranger>db icmp/fragmentation-needed, icmp/time-exceeded @404",
        None,
        "option policy_in=DROP of 404 lets some ICMP through where no rule denies it",
    ),
    "group name too long and the rule that takes it in": (
        long_group,
        "vanished db>  @404",
        "zt/group/deny",
        "takes in the security group 'zt-deny-everything-else', whose name Proxmox refuses",
    ),
    "rule gone": (
        lambda old: with_guest(
            old, DB, lambda guest: dataclasses.replace(guest, rules=(guest.rules[0], *guest.rules[2:]))
        ),
        "missing backend>db tcp/5432, tcp/6432 @404",
        "zt/deny/in",
        "no rule lets it into db: zt/row-7/backend/db/tcp is not there",
    ),
    "rule for another NIC": (
        lambda old: with_rule(old, DB, FLOW, lambda rule: dataclasses.replace(rule, iface="net7")),
        "missing backend>db tcp/5432, tcp/6432 @404",
        FLOW,
        "is for net7, not for net0",
    ),
    "shared rule disabled": (
        lambda old: with_group(
            old,
            "zt-home_common",
            lambda group: dataclasses.replace(
                group, rules=tuple(dataclasses.replace(rule, enable=False) for rule in group.rules)
            ),
        ),
        "missing logs>db tcp/9100 @404",
        "zt/row-34/logs/all/tcp",
        "rule 0 of group zt-home_common .* is disabled",
    ),
    "alias of everything": (
        lambda old: dataclasses.replace(
            old,
            datacenter=dataclasses.replace(
                old.datacenter,
                aliases=tuple(
                    Alias(one.name, "0.0.0.0/0") if one.name == "zt-home_backend" else one
                    for one in old.datacenter.aliases
                ),
            ),
        ),
        "extra stranger>db tcp/5432, tcp/6432 @404",
        FLOW,
        "lets it through, and nothing intends it",
    ),
    "source set too wide": (
        lambda old: with_guest(
            old,
            DB,
            lambda guest: dataclasses.replace(guest, ipsets=(IpSet("ipfilter-net0", (Entry("10.10.40.0/28"),)),)),
        ),
        "forged db> any @404",
        None,
        "IP set ipfilter-net0 of 404: it may send as",
    ),
    "own source not let out": (
        lambda old: with_guest(
            old,
            DB,
            lambda guest: dataclasses.replace(
                guest,
                nics=tuple(dataclasses.replace(nic, ip="manual") for nic in guest.nics),
                ipsets=(IpSet("ipfilter-net0", ()),),
            ),
        ),
        "missing db>logs tcp/3100 @404",
        None,
        "does not let its own address out",
    ),
    "another MAC": (
        lambda old: with_options(old, DB, {"macfilter": "0"}),
        "forged db> any @404",
        None,
        "option macfilter=0 of 404: it may send with any hardware address",
    ),
    "neighbour discovery": (
        lambda old: with_options(old, DB, {"ndp": None}),
        "extra stranger>db icmpv6/133.0-136.255 over IPv6 @404",
        None,
        "over IPv6, which no flow uses",
    ),
    "rule without addresses": (
        lambda old: with_guest(
            old,
            DB,
            lambda guest: dataclasses.replace(
                guest, rules=(Rule("in", "ACCEPT", proto="tcp", dport="22"), *guest.rules)
            ),
        ),
        "extra stranger>db tcp/22 over IPv6 @404",
        "",
        r"rule 0 of 404 \(not made by Zentoria\) lets it through over IPv6",
    ),
    "rule by hand": (
        lambda old: with_guest(
            old,
            DB,
            lambda guest: dataclasses.replace(
                guest, rules=(Rule("in", "ACCEPT", proto="tcp", dport="22"), *guest.rules)
            ),
        ),
        "extra gateway>db tcp/22 @404",
        "",
        r"rule 0 of 404 \(not made by Zentoria\) lets it through",
    ),
    "datacenter off": (
        lambda old: dataclasses.replace(old, datacenter=dataclasses.replace(old.datacenter, options={})),
        "unfiltered datacenter>  @0",
        None,
        "Proxmox filters no guest at all",
    ),
    "NIC moved": (
        lambda old: with_guest(
            old,
            DB,
            lambda guest: dataclasses.replace(guest, nics=(dataclasses.replace(guest.nics[0], bridge="vmbr9"),)),
        ),
        "missing backend>db tcp/5432, tcp/6432 @404",
        None,
        "net0 of 404 is on the bridge vmbr9, and not on vmbr40",
    ),
    "container gone": (
        lambda old: dataclasses.replace(old, guests=tuple(one for one in old.guests if one.vmid != DB)),
        "missing backend>db tcp/5432, tcp/6432 @404",
        None,
        r"there is no container 404 \(db\)",
    ),
}
