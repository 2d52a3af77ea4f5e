"""The firewall in Proxmox's own terms, as frozen values: what is compiled, what is read from a node, what is proven.

One type for all of them, so that the same proof holds for what shall be and for what is. Source of the meaning:
the documentation of PVE Firewall and /nodes/{node}/lxc/{vmid}/firewall in the API's schema.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

RuleType = Literal["in", "out", "forward", "group"]

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class Alias:
    """A name for an address or a network (CIDR). Proxmox compares names without regard to case."""

    name: str
    cidr: str
    comment: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A member of an IP set: an address, a network or an alias. ``nomatch`` takes it out of the set."""

    cidr: str
    nomatch: bool = False
    comment: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class IpSet:
    """A named set of addresses. ``ipfilter-netN`` of a guest says which sources its NIC may use."""

    name: str
    entries: tuple[Entry, ...] = ()
    comment: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One rule; empty text means "not given". The fields are those of ``POST .../firewall/rules``.

    Args:
        type: direction as seen from the guest, or ``group``.
        action: ``ACCEPT``, ``DROP``, ``REJECT``, or the name of a security group.
        source: address, CIDR, range ``a-b``, list with ``,``, alias, or IP set as ``+name``; also with ``dc/``
            or ``guest/`` before the name.
        dport: port, range ``a:b``, or list with ``,``. For ``icmp`` a type.
        iface: ``net0`` and so on, on guests.
        comment: one line. The first word of ours is the rule's identity.
    """

    type: RuleType
    action: str
    enable: bool = True
    iface: str = ""
    source: str = ""
    dest: str = ""
    proto: str = ""
    dport: str = ""
    sport: str = ""
    icmp_type: str = ""
    macro: str = ""
    log: str = ""
    comment: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """A security group: rules of the datacenter that guests take in by name."""

    name: str
    rules: tuple[Rule, ...] = ()
    comment: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Datacenter:
    """``/cluster/firewall``. ``rules`` are those of the hosts; they say nothing about guests.

    ``site`` is whose objects these shall be, for what is compiled; what was read has objects of anybody.
    """

    options: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_OPTIONS)
    aliases: tuple[Alias, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    groups: tuple[Group, ...] = ()
    rules: tuple[Rule, ...] = ()
    site: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """``/nodes/{node}/firewall``."""

    name: str
    options: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_OPTIONS)
    rules: tuple[Rule, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Nic:
    """A guest's NIC, as far as the firewall goes. From ``netN`` of its configuration.

    Args:
        key: ``net0`` and so on.
        bridge: the bridge it is on.
        firewall: the third switch: ``firewall=1``.
        mac: hardware address.
        ip: ``ip=`` of the configuration: CIDR, ``dhcp``, ``manual`` or empty.
    """

    key: str
    bridge: str
    firewall: bool
    mac: str = ""
    ip: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Guest:
    """``/nodes/{node}/lxc/{vmid}/firewall`` and the NICs it works on. ``rules`` are in order, position 0 first."""

    vmid: int
    name: str
    node: str
    nics: tuple[Nic, ...]
    options: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_OPTIONS)
    aliases: tuple[Alias, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that decides about a guest's packets."""

    datacenter: Datacenter = dataclasses.field(default_factory=Datacenter)
    nodes: tuple[Node, ...] = ()
    guests: tuple[Guest, ...] = ()
    """By VMID."""
    _by_vmid: dict[int, Guest] = dataclasses.field(init=False, repr=False, compare=False, default_factory=dict)

    def guest(self, vmid: int) -> Guest:
        """The guest with that VMID. Raises KeyError."""
        if not self._by_vmid:  # made at the first question
            self._by_vmid.update((guest.vmid, guest) for guest in reversed(self.guests))
        return self._by_vmid[vmid]
