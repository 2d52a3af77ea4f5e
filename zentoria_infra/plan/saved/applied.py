"""What was last applied, as digests: tells what somebody changed outside Zentoria from what the inventory asks anew.

A thing that differs from the inventory has drifted if the inventory asks for what it asked for at the last run that
ended well; else the inventory has changed, and the difference is intent. Pure.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

from zentoria_infra.firewall.config import Configuration, Datacenter, Guest, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.guest.state import GuestState, Release, Resource
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.document import Origin
from zentoria_infra.plan.model.values import format_properties, format_tags
from zentoria_infra.plan.volumes.changes import volume_text

NAME = "applied"
"""The document's name in the site's state."""
FORMAT = "zentoria-applied"
VERSION = 1

Values = Mapping[str, str]
"""Desired values by the end of a change's id, as ``config/memory`` or ``inside/file:/etc/motd``; some are secret."""
Digests = Mapping[str, str]
"""The same, as keyed digests."""

_DIGITS = 16
_CONTAINER = "container"


def container_values(desired: DesiredContainer, guest: Guest | None = None, inside: GuestState | None = None) -> Values:
    """What one container shall be.

    Args:
        desired: its configuration.
        guest: its firewall; None where that is left alone.
        inside: its inside; None where nobody goes in.
    """
    features = ",".join(sorted(desired.features))
    found = {f"config/{key}": value for key, value in desired.options.items()}
    found |= {f"config/{key}": format_properties(dict(sorted(net.items()))) for key, net in desired.nets.items()}
    found |= {f"config/{one.key}": volume_text(one) for one in (desired.rootfs, *desired.volumes)}
    found |= {"config/features": features, "config/tags": format_tags(desired.tags)}
    found |= {"config/unprivileged": str(desired.unprivileged), "status": "running", _CONTAINER: desired.site_id}
    if guest is not None:
        found |= _guest(guest)
    if inside is not None:
        found |= _inside(inside.resources)
    return found


def shared_values(configuration: Configuration) -> Values:
    """What the datacenter's firewall objects shall be."""
    datacenter: Datacenter = configuration.datacenter
    found = {"firewall/switch": datacenter.options.get("enable", "")}
    found |= {f"firewall/alias:{one.name}": one.cidr for one in datacenter.aliases}
    found |= {f"firewall/ipset:{one.name}": _plain(one) for one in datacenter.ipsets}
    for group in datacenter.groups:
        found[f"firewall/group:{group.name}"] = group.name
        found |= {rule_key(rule, group.name): _plain(rule) for rule in group.rules}
    return found


def rule_key(rule: Rule, group: str = "") -> str:
    """The end of the id of a rule's change: its direction and identity; the whole rule where it has none."""
    inside = f"{group}/" if group else ""
    return f"firewall/{inside}{rule.type}:{identity(rule.comment) or _plain(rule)}"


def _guest(guest: Guest) -> dict[str, str]:
    found = {f"firewall/option:{key}": value for key, value in guest.options.items()}
    found |= {f"firewall/alias:{one.name}": one.cidr for one in guest.aliases}
    found |= {f"firewall/ipset:{one.name}": _plain(one) for one in guest.ipsets}
    found |= {rule_key(rule): _plain(rule) for rule in guest.rules}
    return found


def _inside(resources: Iterable[Resource]) -> dict[str, str]:
    """With a unit goes what it reads: it restarts when that changes."""
    texts: dict[str, str] = {}
    for one in resources:
        bare = one.model_copy(update={"nonce": ""}) if isinstance(one, Release) else one
        texts[one.id] = bare.model_dump_json()
    for one in resources:
        if one.kind == "unit":
            texts[one.id] += "".join(texts[read] for read in one.reads if read in texts)
    return {f"inside/{key}": text for key, text in texts.items()}


def _plain(value: Any) -> str:
    return json.dumps(dataclasses.asdict(value), sort_keys=True)


def asked_anew(inside: GuestState) -> Values:
    """What somebody asks for though the inventory has not changed: releases that are deployed once more."""
    found = (one for one in inside.resources if isinstance(one, Release) and one.nonce)
    return {f"inside/{one.id}": one.nonce for one in found}


def digests(values: Values, vmid: int, key: bytes) -> Digests:
    """Keyed digests: whoever reads the record without the key learns nothing of a secret, and cannot try any out."""
    return {
        name: hmac.new(key, f"applied\0{vmid}\0{name}\0{value}".encode(), "sha256").hexdigest()[:_DIGITS]
        for name, value in values.items()
    }


@dataclasses.dataclass(frozen=True)
class Applied:
    """What was last applied, by VMID; 0 for what containers share."""

    containers: Mapping[int, Digests] = dataclasses.field(default_factory=dict)

    def with_these(self, now: Mapping[int, Digests], gone: Iterable[int] = ()) -> Applied:
        """The record after a run: ``now`` for the containers that ended well, without those that are gone."""
        left = set(gone)
        merged = {**self.containers, **now}
        return Applied({vmid: merged[vmid] for vmid in sorted(merged) if vmid not in left})

    def dump(self) -> bytes:
        """As the document that is kept."""
        body = {str(vmid): dict(sorted(one.items())) for vmid, one in sorted(self.containers.items())}
        return json.dumps({"format": FORMAT, "version": VERSION, "containers": body}, separators=(",", ":")).encode()


def parse(content: bytes | None) -> Applied | None:
    """Read the document; None when there is none, or none that this version knows: then origins are unknown."""
    try:
        found = json.loads(content or b"")
        if found["format"] != FORMAT or found["version"] != VERSION:
            return None
        read = {
            int(vmid): {str(key): str(value) for key, value in one.items()} for vmid, one in found["containers"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Applied(read)


@dataclasses.dataclass(frozen=True)
class Origins:
    """Tells where a change comes from.

    Args:
        applied: what was last applied; None where there is no record.
        now: what the inventory asks for, of the containers that are planned.
    """

    applied: Applied | None = None
    now: Mapping[int, Digests] = dataclasses.field(default_factory=dict)

    def of(self, vmid: int, name: str) -> Origin:
        """Where a difference comes from.

        Args:
            vmid: 0 for what containers share.
            name: the end of the change's id. Something that neither run asked for, as a NIC too many, is drift.
        """
        if self.applied is None or vmid not in self.now:
            return Origin.UNKNOWN
        then = self.applied.containers.get(vmid)
        if then is None:  # a container that was never brought up has not drifted
            return Origin.INTENT if name == _CONTAINER else Origin.UNKNOWN
        return Origin.DRIFT if then.get(name) == self.now[vmid].get(name) else Origin.INTENT
