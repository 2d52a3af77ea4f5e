"""The ways in which a call is spoiled, and the words that Proxmox has for them."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class How(enum.Enum):
    """What the proxy does with the call."""

    REFUSE = enum.auto()
    """Answer in the node's place; nothing is carried out."""
    HOLD = enum.auto()
    """No answer until the client has given up."""
    BREAK = enum.auto()
    """Reset the connection: in the middle of the answer if the call was carried out, else instead of it."""
    TASK = enum.auto()
    """Answer with a task that ends as ``text`` says, and has done nothing."""
    ENDLESS = enum.auto()
    """Carry it out, and say of its task that it still runs."""


@dataclass(frozen=True)
class Fault:
    """One column of the table.

    Args:
        title: its head.
        how: what is done.
        status: of the refusal.
        text: of the refusal, or how the task ends. ``{right}`` is a privilege of the endpoint.
        carried_out: whether the node has done what was asked.
        stays: whether every call of the endpoint is spoiled, or the first alone.
        ticket: whether the caller has a ticket, rather than a token.
    """

    title: str
    how: How = How.REFUSE
    status: int = 0
    text: str = ""
    carried_out: bool = False
    stays: bool = False
    ticket: bool = False


UNAUTHORIZED = Fault("401", status=401, text="Authentication failed!", stays=True)
EXPIRED = Fault("ticket", status=401, text="permission denied - invalid PVE ticket", ticket=True)
DENIED = Fault("403", status=403, text="Permission check failed ({right})", stays=True)
LOCK = Fault("lock", status=500, text="can't lock file '/var/lock/pve-manager/pve-config-1.lock' - got timeout")
LOCK_STAYS = Fault("lock..", status=500, text=LOCK.text, stays=True)
DIGEST = Fault("digest", status=500, text="detected modified configuration - file changed by other user? Try again.")
NO_NODE = Fault("595", status=595, text="No route to host")
NO_NODE_STAYS = Fault("595..", status=595, text=NO_NODE.text, stays=True)
SILENCE = Fault("time", How.HOLD)
SILENCE_AFTER = Fault("time*", How.HOLD, carried_out=True)
DROP = Fault("reset", How.BREAK)
RESET = Fault("reset*", How.BREAK, carried_out=True)
TASK_ERROR = Fault("task", How.TASK, text="startup for container '1' failed")
TASK_LOCK = Fault("t.lock", How.TASK, text="can't lock file '/run/lock/lxc/pve-config-1.lock' - got timeout")
ENDLESS = Fault("t.long", How.ENDLESS, carried_out=True, stays=True)
NO_QUORUM = Fault("quorum", status=500, text="cluster not ready - no quorum?", stays=True)
"""For a container; what else is kept in the cluster's file system says :data:`NO_QUORUM_SHARED`."""
NO_QUORUM_SHARED = "cfs-lock 'domain-zentoria' error: no quorum!"

FAULTS = (
    UNAUTHORIZED, EXPIRED, DENIED, LOCK, LOCK_STAYS, DIGEST, NO_NODE, NO_NODE_STAYS, SILENCE, SILENCE_AFTER, DROP,
    RESET, TASK_ERROR, TASK_LOCK, ENDLESS, NO_QUORUM,
)  # fmt: skip

LEGEND = (
    "401 token refused; ticket expired; 403 right lacking; lock busy once / lock.. busy for good; digest changed; 595",
    "node not reached once / 595.. for good; time no answer; reset connection (*: carried out all the same, and the",
    "reset comes in the body of the answer); task fails; t.lock task finds a lock; t.long task does not end; quorum",
    "lost.",
)
