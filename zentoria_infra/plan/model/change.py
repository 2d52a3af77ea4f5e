"""What a plan is made of: attribute changes, one plan a container, and the whole."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

from zentoria_infra.firewall.change.changes import Changes
from zentoria_infra.firewall.change.steps import Step
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.model.parking import Parking

NO_CHANGES = Changes()


class Effect(enum.IntEnum):
    """What a change disturbs; greater is worse."""

    NONE = 0
    """Applied while the container runs, nobody notices."""
    RESTART = 1
    """Waits for a restart of the container, which follows."""
    REPLACE = 2
    """Proxmox cannot change it: the container is destroyed and made again."""


class Action(enum.StrEnum):
    """What happens to a container. The order of the members is the order in lists."""

    REFUSE = "refuse"
    WAIT = "wait"
    """A create that an earlier run began is still at work on the node; look again when it has ended."""
    CREATE = "create"
    REPLACE = "replace"
    RESTART = "restart"
    START = "start"
    CHANGE = "change in place"
    CONVERGE = "converge"
    LOOK = "look again"
    """What is inside could not be seen, so it is not known whether there is anything to do; a run looks again."""
    NONE = "no change"


class Via(enum.StrEnum):
    """The road that a change takes."""

    CONFIG = "config"
    """PUT /nodes/{node}/lxc/{vmid}/config."""
    REVERT = "revert"
    """The same call, with ``revert``: a change that waits for a restart is taken back."""
    RESIZE = "resize"
    """PUT /nodes/{node}/lxc/{vmid}/resize."""
    MOVE = "move"
    """POST /nodes/{node}/lxc/{vmid}/move_volume: to another storage, while the container is stopped."""
    PCT = "pct"
    """``pct set`` over SSH: only root@pam may change features other than nesting (PVE behaviour 21)."""


@dataclasses.dataclass(frozen=True)
class AttributeChange:
    """One value of a container's configuration that is not what it shall be.

    Args:
        key: Proxmox's name, as ``memory`` or ``net0``.
        before: what is there; empty for nothing.
        after: what shall be there; empty to remove it.
        value: what is sent to Proxmox for it; ``after`` where the two are the same.
        where: file:line:column of the inventory that says so.
        hides: the data that it takes out of sight, in words; empty for none. Somebody must allow that.
    """

    key: str
    before: str
    after: str
    effect: Effect = Effect.NONE
    via: Via = Via.CONFIG
    value: str = ""
    where: str = ""
    hides: str = ""

    @property
    def sent(self) -> str:
        """The value as it goes to Proxmox."""
        return self.value or self.after


@dataclasses.dataclass(frozen=True)
class LostFlow:
    """Packets that were allowed and will not be: whose open connections are to be cut.

    Args:
        source: address of who opened a connection; empty for anybody.
        destination: address that it was opened to; empty for anybody, but not both.
        protocol: as ``tcp``; empty for any.
        ports: destination ports, first and last; (0, 65535) for any.
        source_vmid: the container that has the source address; 0 for none.
        says: source, destination and ports in words.
    """

    source: str
    destination: str
    protocol: str
    ports: tuple[int, int]
    source_vmid: int
    says: str


@dataclasses.dataclass(frozen=True)
class ContainerPlan:
    """What will be done to one container, and why."""

    vmid: int
    name: str
    hostname: str
    node: str
    action: Action
    reason: str
    attributes: tuple[AttributeChange, ...] = ()
    start: bool = False
    """It must be started (it is new, was stopped, or is replaced)."""
    restart: bool = False
    guest: GuestReport | None = None
    """What a look inside told; None where it could not look."""
    guest_unknown: str = ""
    """Why it could not look inside."""
    converge: bool = False
    """The inside must be brought to its state."""
    parking: Parking | None = None
    """Where its data is meanwhile, when it is replaced or a replacement did not end; None for nowhere."""
    snapshots: tuple[str, ...] = ()
    """Snapshots of ours that go before its volumes can be moved or destroyed."""
    kept_tags: frozenset[str] = frozenset()
    """Tags of others on a container that is replaced; the new one gets them too."""
    protected: bool = False
    """It must not be destroyed, and so not be replaced."""
    digest: str = ""
    """Proxmox's digest of the configuration that this was planned from; empty for one that is made."""
    firewall: Changes = NO_CHANGES
    """What its firewall gains and loses."""
    closed: tuple[Step, ...] = ()
    """Close it before anything else; its firewall's gains end with opening it."""
    opening: tuple[Step, ...] = ()
    """Open its package sources while it converges."""
    closing: tuple[Step, ...] = ()
    """Close them again."""
    through: tuple[LostFlow, ...] = ()
    """What goes through while they are open."""
    desired: DesiredContainer | None = None
    """As it shall be, with its volumes at the mount points that they have; None where nothing is made or changed."""

    @property
    def hides(self) -> tuple[str, ...]:
        """The data that goes out of sight, in words."""
        return tuple(one.hides for one in self.attributes if one.hides)

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.action not in (Action.NONE, Action.REFUSE, Action.WAIT)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that a run will do, container by container, in the order of VMIDs."""

    containers: tuple[ContainerPlan, ...]
    problems: tuple[str, ...] = ()
    """What stands in the way of the run as a whole (missing template, storage, bridge, pool)."""
    no_inside: str = ""
    """Why the inside of containers is left out; empty where it is not."""
    datacenter: Changes = NO_CHANGES
    """What the datacenter's firewall objects gain and lose."""
    filtered: bool = False
    """The firewall is ours to keep, so that no container starts before it is in force."""
    switch_on: bool = False
    """The datacenter's firewall is off and will be turned on."""
    cut: tuple[LostFlow, ...] = ()
    """Flows that are lost, whose open connections are cut at the end."""
    gained: tuple[LostFlow, ...] = ()
    """Flows that there will be and were not; those of containers that are made are left out."""

    orphans: tuple[Orphan, ...] = ()
    """Containers of ours that the inventory does not have; they are left alone unless somebody asks for it."""

    def __iter__(self) -> Iterator[ContainerPlan]:
        return iter(self.containers)

    @property
    def refused(self) -> tuple[ContainerPlan, ...]:
        """Containers that are not ours."""
        return tuple(c for c in self.containers if c.action is Action.REFUSE)

    @property
    def changed(self) -> tuple[ContainerPlan, ...]:
        """Containers with something to do."""
        return tuple(c for c in self.containers if c.changes)

    @property
    def empty(self) -> bool:
        """No change, nothing in the way, and nothing to wait for."""
        shared = not self.datacenter.empty or self.switch_on
        return not self.changed and not shared and not self.refused and not self.unfinished

    @property
    def foreign_rules(self) -> tuple[str, ...]:
        """Firewall rules that somebody else has made, in words; they are left alone."""
        return (*self.datacenter.foreign, *(text for c in self.containers for text in c.firewall.foreign))

    @property
    def unfinished(self) -> tuple[ContainerPlan, ...]:
        """Containers that an earlier call still creates."""
        return tuple(c for c in self.containers if c.action is Action.WAIT)

    @property
    def only_unknown(self) -> bool:
        """Nothing is known to be done, but the inside of a container could not be seen."""
        actions = {one.action for one in self.containers}
        shared = not self.datacenter.empty or self.switch_on
        return Action.LOOK in actions and actions <= {Action.LOOK, Action.NONE} and not shared

    def counts(self) -> dict[Action, int]:
        """How many containers per action, in the order of :class:`Action`; actions without any are left out."""
        found = {action: sum(1 for c in self.containers if c.action is action) for action in Action}
        return {action: number for action, number in found.items() if number}
