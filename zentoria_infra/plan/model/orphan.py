"""One orphan: a container of ours that the inventory does not have. See :mod:`zentoria_infra.plan.orphans`."""

from __future__ import annotations

import dataclasses

from zentoria_infra.plan.model.observed import ObservedContainer
from zentoria_infra.plan.model.values import parse_properties


@dataclasses.dataclass(frozen=True)
class Orphan:
    """A container with our site's mark that the inventory does not have.

    Args:
        vmid: its VMID.
        name: its host name.
        node: where it is.
        site_id: of the site whose mark it carries.
        running: whether it runs.
        addresses: of its NICs.
        volumes: what goes when it is destroyed, in words with sizes.
        protected: Proxmox keeps it from being destroyed.
        digest: of its configuration.
        parked_for: the container whose data was parked on it, which is not in the inventory either; 0 for none.
    """

    vmid: int
    name: str
    node: str
    site_id: str
    running: bool
    addresses: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    protected: bool = False
    digest: str = ""
    parked_for: int = 0

    @property
    def title(self) -> str:
        """As ``orphan 418 (zentoria-docs)``."""
        return f"orphan {self.vmid} ({self.name})" if self.name else f"orphan {self.vmid}"

    @property
    def says(self) -> str:
        """As ``orphan 418 zentoria-docs, runs, has 10.10.41.8``."""
        state = "runs" if self.running else "does not run"
        has = f", has {', '.join(self.addresses)}" if self.addresses else ""
        if self.parked_for:
            has += f", holds the data of {self.parked_for} ({', '.join(self.volumes)})"
        return f"orphan {self.vmid} {self.name}".rstrip() + f", {state}{has}"

    def said_at(self, key: str) -> str:
        """No file says anything of it."""
        return ""


def addresses(one: ObservedContainer) -> tuple[str, ...]:
    """The fixed IPv4 addresses of a container's NICs; those that wait for a restart, and those in force until then."""
    found = [
        parse_properties(value).get("ip", "").partition("/")[0]
        for config in (one.config, one.in_force)
        for key, value in sorted(config.items())
        if key.startswith("net") and key[3:].isdigit()
    ]
    return tuple(dict.fromkeys(address for address in found if address[:1].isdigit()))
