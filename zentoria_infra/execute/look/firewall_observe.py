"""Reads the firewall of a node: the datacenter's objects, and that of each container."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from zentoria_infra.execute.look.reading import readers
from zentoria_infra.firewall.config import Configuration, Datacenter, Nic
from zentoria_infra.firewall.identity import is_ours, site_of
from zentoria_infra.plan.model.values import parse_properties
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.firewall.read import FirewallObserver

READS = 8
"""Reads at once. The API has three workers, and each read is short."""


def observe_firewall(
    observer: FirewallObserver, wanted: Configuration, configs: Mapping[int, Mapping[str, str]]
) -> Configuration:
    """The firewall as it is; see :func:`read_firewall`."""
    return read_firewall(observer, wanted, configs)[0]


def read_firewall(
    observer: FirewallObserver,
    wanted: Configuration,
    configs: Mapping[int, Mapping[str, str]],
    whole: Collection[int] = (),
) -> tuple[Configuration, Mapping[str, str]]:
    """The firewall as it is, and Proxmox's digests of the lists that it was read from.

    Calls: with objects of the datacenter six, and one a group of ours; else one. Three a container.

    Args:
        observer: reads the node.
        wanted: the compiled configuration: it says which IP sets are of interest, and what a container is called.
        configs: the configuration of each container that exists, by VMID.
        whole: VMIDs of which all is read, also what is not ours: aliases and IP sets, two calls more.

    Returns:
        The configuration; and digests by the name of their list, as ``404/rules`` or ``datacenter/ipset/management``.
        An empty list has none.

    Raises:
        ZentoriaError: it cannot be read; a PermissionDeniedError names the right that is lacking.
    """
    shared = wanted.datacenter
    names = {one.vmid: one for one in wanted.guests}

    def guest(vmid: int) -> fw.ObservedGuest:
        one = names[vmid]
        ipsets = [ipset.name for ipset in one.ipsets]
        return observer.guest(
            vmid,
            one.name,
            nics(configs[vmid]),
            node=one.node,
            ipsets=ipsets,
            aliases=vmid in whole,
            all_ipsets=vmid in whole,
        )

    with readers(READS, "firewall") as pool:
        asked = pool.submit(_datacenter, observer, shared)
        found = tuple(pool.map(guest, sorted(set(configs) & set(names))))
        datacenter = asked.result()
    digests = dict(_digests("datacenter", datacenter.digests))
    for one in found:
        digests |= _digests(str(one.guest.vmid), one.digests)
    return Configuration(datacenter.datacenter, wanted.nodes, tuple(one.guest for one in found)), digests


def _digests(whose: str, digests: fw.Digests) -> Iterator[tuple[str, str]]:
    lists = {"options": digests.options, "rules": digests.rules, "aliases": digests.aliases}
    lists |= {f"ipset/{name}": digest for name, digest in digests.ipsets.items()}
    lists |= {f"group/{name}": digest for name, digest in digests.groups.items()}
    return ((f"{whose}/{name}", digest) for name, digest in sorted(lists.items()) if digest)


def _datacenter(observer: FirewallObserver, wanted: Datacenter) -> fw.ObservedDatacenter:
    """The datacenter's options, and where objects of ours belong there, those too."""
    if not wanted.options:
        return observer.datacenter(aliases=False)
    comments = observer.ipset_comments(fw.DATACENTER)
    names = {one.name for one in wanted.ipsets}

    def concerns(comment: str) -> bool:
        """Whether an object is this site's, or from before there were sites in comments."""
        return is_ours(comment) and site_of(comment) in ("", wanted.site)

    ipsets = [name for name, comment in comments.items() if name in names or concerns(comment)]
    groups = [one.name for one in wanted.groups]
    found = observer.datacenter(ipsets=ipsets, groups=groups, is_ours=concerns, rules=True)
    sets = found.datacenter.ipsets
    named = tuple(dataclasses.replace(one, comment=comments.get(one.name, "")) for one in sets)
    return dataclasses.replace(found, datacenter=dataclasses.replace(found.datacenter, ipsets=named))


def whole_datacenter(observer: FirewallObserver) -> Datacenter:
    """All of the datacenter's firewall, ours or not. Calls: five, and one an IP set and a group."""
    comments = observer.ipset_comments(fw.DATACENTER)
    found = observer.datacenter(ipsets=list(comments), is_ours=lambda comment: True, rules=True).datacenter
    named = tuple(dataclasses.replace(one, comment=comments.get(one.name, "")) for one in found.ipsets)
    return dataclasses.replace(found, ipsets=named)


def nics(config: Mapping[str, str]) -> tuple[Nic, ...]:
    """The NICs of a container's configuration."""
    return tuple(
        Nic(key, net.get("bridge", ""), net.get("firewall", "0") == "1", net.get("hwaddr", ""), net.get("ip", ""))
        for key in _net_keys(config)
        for net in [parse_properties(config[key])]
    )


def _net_keys(config: Iterable[str]) -> Sequence[str]:
    return sorted(key for key in config if key.startswith("net") and key[3:].isdigit())
