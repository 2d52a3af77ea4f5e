"""The plan as data: the models of ``plan --json``. Additions raise the minor version, anything else the major one.

The JSON Schema of it is ``plan.schema.json`` beside this file. Nothing in a document is secret: content of secret
files shows as a keyed fingerprint.
"""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT = "zentoria-plan"
VERSION = "1.0"
"""Readers take any minor version of the major one that they know: what they do not know, they pass over."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore", use_attribute_docstrings=True)


class Kind(enum.StrEnum):
    """What is done to the thing that a change is about."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RELOAD = "reload"
    RUN = "run"
    """Something without a state of its own is done: a step, a deploy."""
    LOOK = "look"
    """What is to be done shows only when it is done; ``unknown`` says why."""
    REFUSE = "refuse"
    WAIT = "wait"


class Disturbs(enum.StrEnum):
    """What notices a change; the order of the members goes from nothing to worst."""

    NONE = "none"
    RELOAD = "reload"
    """A service reads its configuration again."""
    SERVICE = "service"
    """A service restarts."""
    CONTAINER = "container"
    """The container restarts."""
    REPLACEMENT = "replacement"
    """The container is destroyed and made again."""


class Origin(enum.StrEnum):
    """Where a change comes from."""

    INTENT = "intent"
    """The inventory asks for something else than what was last applied."""
    DRIFT = "drift"
    """The inventory asks for what was last applied; somebody changed the world."""
    UNKNOWN = "unknown"
    """There is no record of what was last applied."""


class Privilege(_Model):
    """A privilege of Proxmox on a path of its tree of rights."""

    path: str
    privilege: str


class Change(_Model):
    """One thing that a run will do."""

    id: str
    """Unique in a plan and the same in every plan for the same thing, as ``404/config/memory``,
    ``404/inside/file:/etc/motd``, ``datacenter/firewall/alias:zt-db``."""
    vmid: int = Field(ge=0)
    """0 for what containers share."""
    container: str
    """Its name; ``datacenter`` for what containers share."""
    action: Kind
    what: str
    """The thing in words, as ``memory`` or ``file /etc/motd``."""
    reason: str
    where: str = ""
    """file:line:column of the inventory that asks for it."""
    disturbs: Disturbs = Disturbs.NONE
    units: tuple[str, ...] = ()
    """systemd units that restart or reload for it."""
    privileges: tuple[Privilege, ...] = ()
    before: str = ""
    """What is there; empty for nothing. Of a secret, a keyed fingerprint."""
    after: str = ""
    diff: str = ""
    """A unified diff, where there is one."""
    origin: Origin = Origin.UNKNOWN
    blames: tuple[str, ...] = ()
    """The attributes that force a replacement."""
    unknown: str = ""
    """Why it cannot be known what this will change; empty where it is known."""
    hides: str = ""
    """The data that goes out of sight by it, in words: not done unless allowed with ``--allow data``."""


class Unknown(_Model):
    """Something that could not be looked at."""

    vmid: int = Field(ge=0)
    container: str
    what: str
    why: str


class Totals(_Model):
    """How many changes, by where they come from and by what they disturb."""

    changes: int = 0
    intent: int = 0
    drift: int = 0
    unknown: int = 0
    none: int = 0
    reload: int = 0
    service: int = 0
    container: int = 0
    replacement: int = 0
    containers: int = 0
    """How many containers have a change."""


class AttributeDocument(_Model):
    """One value of a container's configuration that differs."""

    key: str
    before: str
    after: str
    effect: str
    """``none``, ``restart`` or ``replace``."""
    via: str
    """The road it takes: ``config``, ``resize`` or ``pct``."""
    where: str


class FirewallDocument(_Model):
    """What one firewall gains and loses: calls in words, and why."""

    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


class InsideDocument(_Model):
    """A resource inside a guest that differs."""

    id: str
    detail: str = ""
    diff: str = ""


class ContainerDocument(_Model):
    """What will be done to one container."""

    vmid: int
    name: str
    node: str
    action: str
    reason: str
    attributes: tuple[AttributeDocument, ...] = ()
    firewall: FirewallDocument = FirewallDocument()
    inside: tuple[InsideDocument, ...] | None = None
    """None where nobody could look."""
    inside_unknown: str = ""
    """Why nobody could look."""
    steps: tuple[str, ...] = ()


class SharedFirewallDocument(_Model):
    """What all containers share of the firewall, and the flows of the whole."""

    turn_on: bool = False
    """The datacenter's firewall is off and will be turned on."""
    datacenter: FirewallDocument = FirewallDocument()
    gained_flows: tuple[str, ...] = ()
    """Flows that were not allowed and will be. A new container's are not listed."""
    lost_flows: tuple[str, ...] = ()
    """Flows that were allowed and will not be; their open connections are cut."""
    foreign: tuple[str, ...] = ()
    """Rules of others, which are left alone."""


class OrphanDocument(_Model):
    """A container with the site's mark that the inventory does not have; left alone unless somebody asks for it."""

    vmid: int
    name: str
    node: str
    running: bool
    addresses: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """In words, with sizes."""
    protected: bool = False
    destroyed: bool = False
    """Whether this run destroys it (``up --prune``)."""
    parked_for: int = 0
    """The container whose data was parked on it, which is not in the inventory either; 0 for none."""


class PlanDocument(_Model):
    """A whole plan."""

    format: Literal["zentoria-plan"] = "zentoria-plan"
    version: str = Field(default=VERSION, pattern=r"^1\.\d+$")
    changes: bool
    """Whether anything is to be done, waited for, or refused."""
    totals: Totals = Totals()
    summary: dict[str, int]
    """Containers by action, in words."""
    listing: tuple[Change, ...] = ()
    """Every change, in the order of VMIDs."""
    unknown: tuple[Unknown, ...] = ()
    """What could not be looked at."""
    problems: tuple[str, ...] = ()
    """What stands in the way of carrying it out."""
    inside_not_run: str = ""
    """Why nothing is done inside containers; empty where it is."""
    firewall: SharedFirewallDocument = SharedFirewallDocument()
    containers: tuple[ContainerDocument, ...] = ()
    orphans: tuple[OrphanDocument, ...] = ()
