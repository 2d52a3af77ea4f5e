"""What must hold before pairs are worth judging: every guest filtered, no source forged, nothing vanished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from zentoria_infra.firewall.config import Alias, Group, Guest, IpSet, Nic
from zentoria_infra.firewall.identity import identity, is_ours
from zentoria_infra.firewall.proof.differences import Difference, Kind, Positions, name_of
from zentoria_infra.firewall.proof.network import End, Network
from zentoria_infra.firewall.proof.semantics import DEFAULTS, DENY, Blame, Filter, option
from zentoria_infra.firewall.sets.addresses import GROUP_NAME, GROUP_NAMES, NAME, NAMES, alias_mistake
from zentoria_infra.inventory.problems import Position
from zentoria_infra.inventory.spans import Spans, difference

MUST: dict[str, tuple[str, ...]] = {
    "policy_in": DENY,
    "policy_out": DENY,
    "dhcp": ("0",),
    "ipfilter": ("1",),
    "macfilter": ("1",),
    "ndp": ("0",),
    "radv": ("0",),
}
"""Values that a guest's options must have, whatever the rules make of them."""

_SWITCHES = {
    "datacenter": "the datacenter's firewall is off (enable is not 1)",
    "guest": "the guest's firewall is off (enable is not 1)",
    "nic": "firewall=1 is missing on {nic}",
}


def unfiltered(network: Network, positions: Positions) -> Iterator[Difference]:
    """Guests that are not filtered, and guests of others on our bridges that may pretend to be someone."""
    if any(made.off == "datacenter" for made in _filters(network)):
        yield Difference(
            Kind.UNFILTERED, "datacenter", "", "", 0, None, None, positions.of_datacenter(),
            f"{_SWITCHES['datacenter']}: Proxmox filters no guest at all",
        )  # fmt: skip
    for end in network.ends.values():
        if end.filter.off in ("guest", "nic"):
            yield _open(end.guest, end.nic, end.filter, end.name, positions.of_guest(end.vmid))
    for guest, nic, made in network.foreign:
        name = guest.name or str(guest.vmid)
        if made.off in ("guest", "nic"):
            yield _open(guest, nic, made, name, positions.of_guest(guest.vmid))
        elif not made.off and (more := difference(made.sources, network.of_nobody(nic))):
            yield Difference(
                Kind.UNFILTERED, name, "", "any", guest.vmid, None, None, positions.of_guest(guest.vmid),
                f"guest {guest.vmid} ({name}), which is not in the inventory, is on the bridge {nic.bridge} and may "
                f"send as {_names(network, more)}: set ipfilter and an IP set ipfilter-{nic.key} with its own address",
            )  # fmt: skip


def _filters(network: Network) -> Iterator[Filter]:
    yield from (end.filter for end in network.ends.values())
    yield from (made for _, _, made in network.foreign)


def _open(guest: Guest, nic: Nic, made: Filter, name: str, position: Position) -> Difference:
    return Difference(
        Kind.UNFILTERED, name, "", "any", guest.vmid, None, None, position,
        f"{nic.key} of {guest.vmid} ({name}) is not filtered: {_SWITCHES[made.off].format(nic=nic.key)}. Everything "
        f"passes, with any source address: no address on the bridge {nic.bridge} can be believed",
    )  # fmt: skip


def forged(network: Network, positions: Positions) -> Iterator[Difference]:
    """Containers that may send with a source address, or a hardware address, that is not their own."""
    for end in network.ends.values():
        if end.filter.off:
            continue
        if more := difference(end.filter.sources, end.own):
            blame = end.filter.source_blame
            why = (
                name_of(blame, end.guest) + f", and there is no IP set ipfilter-{end.nic.key}"
                if blame is not None
                else f"IP set ipfilter-{end.nic.key} of {end.vmid}"
            )
            yield _forged(end, positions, f"{why}: it may send as {_names(network, more)}")
        if end.filter.any_mac:
            why = name_of(Blame(option="macfilter"), end.guest)
            yield _forged(end, positions, f"{why}: it may send with any hardware address")


def _forged(end: End, positions: Positions, explanation: str) -> Difference:
    word = f"zt/ipfilter/{end.name}/{end.nic.key}"
    position = positions.of_word(word) if explanation.startswith("IP set") else None
    return Difference(
        Kind.FORGED, end.name, "", "any", end.vmid, None, None, position or positions.of_guest(end.vmid), explanation
    )


def _names(network: Network, spans: Spans) -> str:
    """Whose addresses these are."""
    found: dict[str, None] = {}
    for first, last in spans:
        found.update(dict.fromkeys(name for _, _, name in network.where.split(first, last)))
    names = list(found)
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} others"


def vanished(network: Network, positions: Positions) -> Iterator[Difference]:
    """Rules and objects of ours that Proxmox leaves out."""
    seen: set[tuple[int, str, int | None]] = set()
    for end in network.ends.values():
        for one in end.filter.vanished:
            blame, rule = one.blame, one.blame.rule
            key = (0 if blame.group else end.vmid, blame.group, blame.position)
            if rule is None or not is_ours(rule.comment) or key in seen:
                continue
            seen.add(key)
            yield Difference(
                Kind.VANISHED, end.name, "", "", key[0], rule, blame.position, positions.of(blame, end.vmid),
                f"{name_of(blame, end.guest)} {one.reason}: Proxmox leaves the rule out without an error",
            )  # fmt: skip
    datacenter = network.configuration.datacenter
    for thing, why in _misnamed(datacenter.aliases, datacenter.ipsets, datacenter.groups):
        position = positions.of_word(identity(thing.comment)) or positions.of_datacenter()
        yield _lost(thing, why, "datacenter", 0, position)
    for name, guest in network.guests.items():
        for thing, why in _misnamed(guest.aliases, guest.ipsets, ()):
            yield _lost(thing, why, name, guest.vmid, positions.of_guest(guest.vmid))


def _misnamed(
    aliases: Iterable[Alias], ipsets: Iterable[IpSet], groups: Iterable[Group]
) -> Iterator[tuple[Alias | IpSet | Group, str]]:
    for alias in aliases:
        if is_ours(alias.comment) and (mistake := alias_mistake(alias)):
            yield alias, f"alias '{alias.name}' {mistake}"
    for ipset in ipsets:
        if is_ours(ipset.comment) and not NAME.fullmatch(ipset.name):
            yield ipset, f"IP set '{ipset.name}' has a name that Proxmox refuses: {NAMES}"
    for group in groups:
        if is_ours(group.comment) and not GROUP_NAME.fullmatch(group.name):
            yield group, f"security group '{group.name}' has a name that Proxmox refuses: {GROUP_NAMES}"


def _lost(thing: Alias | IpSet | Group, why: str, name: str, vmid: int, position: Position) -> Difference:
    return Difference(
        Kind.VANISHED, name, "", "", vmid, None, None, position,
        f"{why}; every rule that names it is left out without an error",
    )  # fmt: skip


def weakened_options(network: Network, positions: Positions, blamed: Set[tuple[int, str]]) -> Iterator[Difference]:
    """Options that are not what they must be, though nothing passes because of them that is not told already."""
    for name, guest in network.guests.items():
        if any(end_off == "guest" for end_off in (network.ends[name, nic.key].filter.off for nic in guest.nics)):
            continue
        for key, good in MUST.items():
            value = option(guest, key)
            if value in good or (guest.vmid, key) in blamed:
                continue
            now = f"is {value}" if value == guest.options.get(key) else f"is not set (the default is {DEFAULTS[key]})"
            yield Difference(
                Kind.WEAKENED, name, "", "", guest.vmid, None, None, positions.of_guest(guest.vmid),
                f"option {key} of {guest.vmid} {now} and must be {good[0]}; only the rules still do its work",
            )  # fmt: skip
