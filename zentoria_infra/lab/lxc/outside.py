"""What is behind the node's public bridge: a router and a machine on the internet, in a namespace of their own.

As on a real node, only NAT leads there. The far side has no way to the networks of the guests, so it answers a packet
that still has a guest's address with nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.network import netns
from zentoria_infra.lab.runtime import RuntimeFailure

FAR = "203.0.113.1"
"""A machine on the internet: an address kept for documentation (RFC 5737)."""
ROUTER = "10.99.0.254/24"
"""The next hop of the node, in the network of its public bridge."""
BRIDGE = "vmbr0"
_LINK = "uplink"
_PREFERENCE = 900
"""Before the rule that lets guests' packets go nowhere, see :mod:`zentoria_infra.lab.lxc.network`."""


class Outside:
    """The outside of one lab.

    Args:
        namespace: the lab's network namespace.
    """

    def __init__(self, namespace: str) -> None:
        self._lab = namespace
        self.namespace = name_of(namespace)
        """Where :data:`FAR` is."""

    def up(self) -> None:
        """Make it, with the node's default route to it. Guests get no further than before without NAT.

        Raises:
            RuntimeFailure: the lab's network is not up, or the outside is there already.
        """
        run(["ip", "netns", "add", self.namespace])
        try:
            _ip(self._lab, self._near())
            _ip(self.namespace, _FAR_SIDE)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Remove it, and the way to it; a missing one is no error."""
        if not netns.path(self.namespace).exists():
            return
        if netns.exists(self._lab):
            lines = [f"link delete dev {_LINK}", *(f"rule delete {rule}" for rule in _RULES), f"route delete {_WAY}"]
            with contextlib.suppress(RuntimeFailure):  # of one that was never whole
                run([*netns.enter_argv(self._lab), "ip", "-force", "-batch", "-"], feed="\n".join(lines) + "\n")
        run(["ip", "netns", "delete", self.namespace])

    def _near(self) -> tuple[str, ...]:
        return (
            f"link add name {_LINK} type veth peer name eth0 netns {netns.path(self.namespace)}",
            f"link set dev {_LINK} addrgenmode none",
            f"link set dev {_LINK} master {BRIDGE} up",
            *(f"rule add {rule}" for rule in _RULES),
            f"route add {_WAY}",
        )


def _ip(namespace: str, lines: Sequence[str]) -> None:
    run([*netns.enter_argv(namespace), "ip", "-batch", "-"], feed="\n".join(lines) + "\n")


def name_of(namespace: str) -> str:
    """Name of the namespace that is the outside of a lab; no lab's name has a dot."""
    return f"{namespace}.out"


_WAY = f"default via {ROUTER.partition('/')[0]} dev {BRIDGE}"
_RULES = (
    f"pref {_PREFERENCE} to {FAR} lookup main",
    f"pref {_PREFERENCE} from {FAR} lookup main",
)
_FAR_SIDE = (
    "link set dev lo up",
    f"addr add {FAR}/32 dev lo",
    "link set dev eth0 addrgenmode none up",
    f"addr add {ROUTER} dev eth0",
)
