"""What shall be there, in Proxmox's terms: the inventory's containers as configuration values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class DesiredVolume:
    """A volume of a container: the root file system or a mount point.

    Args:
        key: ``rootfs`` or ``mpN``.
        storage: name of the storage it is allocated on.
        size: bytes, a multiple of one GiB.
        path: where it is mounted; empty for ``rootfs``.
        backup: whether vzdump takes it along.
        name: in the inventory; empty for ``rootfs``.
    """

    key: str
    storage: str
    size: int
    path: str = ""
    backup: bool = True
    name: str = ""


@dataclasses.dataclass(frozen=True)
class DesiredContainer:
    """One container as it shall be.

    Args:
        options: plain configuration values by Proxmox's key, without volumes, nets and features.
        nets: ``net0``... as parsed property strings.
        features: feature flags that are on.
        packaged: its template has all the Debian packages that it wants.
        where: file:line:column by key, and by ``volume:NAME``; for plans and errors.
    """

    vmid: int
    name: str
    hostname: str
    node: str
    site_id: str
    ostemplate: str
    pool: str
    unprivileged: bool
    options: Mapping[str, str]
    nets: Mapping[str, Mapping[str, str]]
    features: frozenset[str]
    tags: frozenset[str]
    rootfs: DesiredVolume
    volumes: tuple[DesiredVolume, ...]
    protect: bool
    needs: frozenset[int]
    """VMIDs of the containers whose services this one needs."""
    order: int
    """Position in the start order; smaller starts first."""
    prepared: bool = False
    """Its template is the one that was prepared for the site."""
    packaged: bool = False
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def api_features(self) -> frozenset[str]:
        """The features that the API lets a token set: ``nesting``, and of privileged containers none.

        PVE::LXC::check_ct_modify_config_perm; all others are for root@pam, by ``pct``.
        """
        return self.features & {"nesting"} if self.unprivileged else frozenset()

    def said_at(self, key: str) -> str:
        """Where the inventory says what ``key`` shall be; the container's file when it has no line of its own."""
        return self.where.get(key, self.where.get("", ""))
