"""What must not leave the workstation is taken out of what was observed. Pure.

What Zentoria writes itself holds no secret: secrets reach guests only as content of files that are marked so, of which
reports show keyed fingerprints. What others write may: a password in a container's notes, in an environment variable
of its raw configuration, in a file that was edited by hand. So of a configuration only those values are kept that
are known to be harmless, and of a report's texts what does not look like a secret.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TypeVar

from zentoria_infra.firewall.config import Alias, Configuration, Entry, Group, Guest, IpSet, Rule
from zentoria_infra.firewall.identity import is_ours
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World

MASK = "(not shown)"
"""Stands for what is there and is not shown."""

_Commented = TypeVar("_Commented", Alias, Entry, IpSet, Group, Rule)

_HARMLESS = re.compile(
    r"arch|cmode|console|cores|cpulimit|cpuunits|features|hookscript|hostname|lock|memory|nameserver|onboot|ostype"
    r"|parent|protection|rootfs|searchdomain|startup|swap|tags|template|timezone|tty|unprivileged|(dev|mp|net|unused)\d+"
)
"""Options of a container (``/nodes/{node}/lxc/{vmid}/config``) that have no free text. Not among them: ``description``,
``lxc`` (raw lines, as ``lxc.environment``), ``env`` and ``entrypoint`` (PVE 9.1), and what later versions bring."""

_WORDS = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|authorization|bearer|cookie"
    r"|(?:api|access|private|signing|encryption)[_-]?key)[\w.-]*[\"']?"
)
_ASSIGNED = re.compile(rf"({_WORDS}\s*[:=]\s*)\S.*", re.IGNORECASE)
_SAID = re.compile(rf"({_WORDS}(?:\s*[:=]\s*|[ \t]+))\S.*", re.IGNORECASE)
"""In files also with a blank between, as ``requirepass ...``."""
_IN_URL = re.compile(r"(://)[^/\s@]+(@)")
_LONG = re.compile(r"[A-Za-z0-9+_=-]{32,}|^[A-Za-z0-9+/=]{40,}$", re.MULTILINE)


def is_harmless(key: str) -> bool:
    """Whether an option of a container has no free text, and so no secret."""
    return _HARMLESS.fullmatch(key) is not None


def without_secrets(world: World, descriptions: Mapping[int, str]) -> World:
    """The world with everything masked that may hold a secret. Doing it twice changes nothing more.

    Args:
        world: as observed.
        descriptions: the notes that the inventory wants, by VMID; such a text is kept.
    """
    return dataclasses.replace(
        world,
        containers={
            vmid: _container(one, descriptions.get(vmid, "").strip()) for vmid, one in sorted(world.containers.items())
        },
        guests={vmid: _guest(one) for vmid, one in sorted(world.guests.items())},
        firewall=None if world.firewall is None else _firewall(world.firewall),
        parked={vmid: _container(one, "") for vmid, one in sorted(world.parked.items())},
        others={vmid: _container(one, "") for vmid, one in sorted(world.others.items())},
        parked_firewall={vmid: _guest_firewall(one) for vmid, one in sorted(world.parked_firewall.items())},
    )


def _container(observed: ObservedContainer, description: str) -> ObservedContainer:
    config = {key: _option(key, value, description) for key, value in sorted(observed.config.items())}
    in_force = {key: _option(key, value, description) for key, value in sorted(observed.in_force.items())}
    return dataclasses.replace(observed, config=config, in_force=in_force)


def _option(key: str, value: str, description: str) -> str:
    if _HARMLESS.fullmatch(key) or not value or (key == "description" and value.strip() == description):
        return value
    return "\n\n".join([MASK, *ownership.marks(value)]) if key == "description" else MASK


def _guest(check: GuestCheck) -> GuestCheck:
    return GuestCheck(None if check.report is None else report_without_secrets(check.report), told(check.unknown))


def report_without_secrets(report: GuestReport) -> GuestReport:
    """A report without what failed commands said, without what looks like a secret, and without times."""
    return report.model_copy(update={"resources": tuple(_resource(one) for one in report.resources), "seconds": 0.0})


def _resource(report: ResourceReport) -> ResourceReport:
    return report.model_copy(
        update={
            "detail": told(report.detail),
            "before": _of_a_file(report.before),
            "command": MASK if report.command else "",
            "output": MASK if report.output else "",
            "diff": "".join(
                f"-{_of_a_file(line[1:])}" if line.startswith("-") else line
                for line in report.diff.splitlines(keepends=True)
            ),
        }
    )


def told(text: str) -> str:
    """A text in which what looks like a secret is masked: what is given to a "password", or is long and odd."""
    return _masked(_ASSIGNED, text)


def _of_a_file(text: str) -> str:
    return _masked(_SAID, text)


def _masked(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.sub(rf"\1{MASK}", text)
    return _LONG.sub(MASK, _IN_URL.sub(rf"\1{MASK}\2", found))


def _firewall(configuration: Configuration) -> Configuration:
    """The comments of others are free text."""
    datacenter = configuration.datacenter
    return dataclasses.replace(
        configuration,
        datacenter=dataclasses.replace(
            datacenter,
            aliases=tuple(_commented(one) for one in datacenter.aliases),
            ipsets=tuple(_ipset(one) for one in datacenter.ipsets),
            groups=tuple(_group(one) for one in datacenter.groups),
            rules=tuple(_commented(one) for one in datacenter.rules),
        ),
        nodes=tuple(
            dataclasses.replace(one, rules=tuple(_commented(rule) for rule in one.rules)) for one in configuration.nodes
        ),
        guests=tuple(_guest_firewall(one) for one in configuration.guests),
    )


def _guest_firewall(guest: Guest) -> Guest:
    return dataclasses.replace(
        guest,
        aliases=tuple(_commented(alias) for alias in guest.aliases),
        ipsets=tuple(_ipset(ipset) for ipset in guest.ipsets),
        rules=tuple(_commented(rule) for rule in guest.rules),
    )


def _ipset(ipset: IpSet) -> IpSet:
    return dataclasses.replace(_commented(ipset), entries=tuple(_commented(one) for one in ipset.entries))


def _group(group: Group) -> Group:
    return dataclasses.replace(_commented(group), rules=tuple(_commented(one) for one in group.rules))


def _commented(one: _Commented) -> _Commented:
    return one if not one.comment or is_ours(one.comment) else dataclasses.replace(one, comment=MASK)
