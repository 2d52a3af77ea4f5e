"""The endpoints, by what they are about."""

from __future__ import annotations

from zentoria_infra.lab.api.endpoints import (
    access,
    acl,
    cluster,
    firewall,
    firewallrules,
    firewallsets,
    lxcconfig,
    lxccreate,
    lxcsnapshots,
    lxcstatus,
    lxcvolumes,
    network,
    pools,
    services,
    storage,
    tasks,
    version,
)
from zentoria_infra.lab.api.routing import Route

_MODULES = (version, access, acl, pools, cluster, tasks, services, network, storage, firewall, firewallrules,
            firewallsets, lxccreate, lxcconfig, lxcsnapshots, lxcstatus, lxcvolumes)  # fmt: skip
ALL: list[Route] = [route for module in _MODULES for route in module.routes.routes]
"""Every endpoint that is served."""
