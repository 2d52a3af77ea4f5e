"""Whole runs of a small stack through the proxy: from nothing, after others have changed things, and down again."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import ssl
import time
from pathlib import Path
from typing import Any

from tests.execute.conftest import Node
from tests.faults.faults_proxy import FaultyProxy, ImpatientAdapter
from tests.proxmox.proxmox_pki import FAST, Pki
from tests.support.small_stack import only
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run import engine
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.firewall import DesiredFirewall
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.proxmox import ApiToken, Endpoint, Proxmox, Secret
from zentoria_infra.proxmox.connection import Connection, RetryPolicy
from zentoria_infra.proxmox.tasks import Pace

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("db", "auth")


@functools.cache
def stack() -> tuple[tuple[DesiredContainer, ...], DesiredFirewall]:
    """Two containers of the shipped inventory, and the flows between them."""
    inventory = only(load(ROOT, site="lab"), NAMES)
    everybody = [one.vmid for one in inventory.containers]
    firewall = DesiredFirewall(
        compile_firewall(inventory), compile_firewall(inventory, everybody), parties_of(inventory)
    )
    return tuple(desired_containers(inventory)), firewall


class NoInside:
    """A node without SSH."""

    missing = "there is no SSH to the node"

    def check(self, vmid: int) -> Any:
        raise AssertionError("nobody looks inside without SSH")

    def apply(self, vmid: int, say: object, packaged: object = None) -> Any:
        raise AssertionError("nobody works inside without SSH")


class ThroughProxy(Proxmox):
    """A client whose every connection waits only as long as a test does."""

    def __init__(self, endpoint: Endpoint, token: ApiToken, proxy: FaultyProxy, deadline: float) -> None:
        super().__init__(endpoint, token, retry=FAST, pace=Pace(first=0.002, longest=0.01, deadline=deadline))
        self._proxy = proxy
        self._connection._session.mount("https://", ImpatientAdapter(proxy))
        self.write._sleep = self.write_firewall.rules._sleep = _soon  # type: ignore[assignment]

    def connect(self, endpoint: Endpoint | None = None, *, retry: RetryPolicy | None = None) -> Connection:
        made = super().connect(endpoint, retry=retry)
        made._session.mount("https://", ImpatientAdapter(self._proxy))
        return made


def _soon(seconds: float) -> None:
    time.sleep(min(seconds, 0.005))


class Site:
    """The stack, on a lab's API behind the proxy.

    ``grown`` asks for a larger disk than the inventory, since a disk cannot be made smaller again.
    """

    def __init__(self, folder: Path, pki: Pki) -> None:
        self.node = Node(folder)
        self.node.grant("/", "Sys.Audit,Sys.Modify")
        context = ssl.create_default_context(cafile=str(self.node.ca))
        port = self.node.server.port

        def upstream() -> http.client.HTTPConnection:
            return http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)

        self.proxy = FaultyProxy(upstream, pki.cert_file, pki.key_file)
        endpoint = Endpoint("127.0.0.1", "pve", self.proxy.port, ca_file=pki.ca_file, read_timeout=20)
        token = ApiToken("zentoria@pve", "up", Secret(self.node.token))
        self._usual = ThroughProxy(endpoint, token, self.proxy, 20)
        self._hasty = ThroughProxy(endpoint, token, self.proxy, 0.03)
        self.grown = 0

    @property
    def secret(self) -> str:
        return str(self.node.token)

    def deployment(self, *, hasty: bool = False) -> Deployment:
        desired, firewall = stack()
        if self.grown:
            first = desired[0]
            larger = dataclasses.replace(first.rootfs, size=first.rootfs.size + self.grown * 2**30)
            desired = (dataclasses.replace(first, rootfs=larger), *desired[1:])
        return Deployment(self._hasty if hasty else self._usual, desired, NoInside(), firewall=firewall)

    def up(self, *, hasty: bool = False) -> engine.Result:
        found = self.deployment(hasty=hasty)
        plan, stages = found.plan(wait=True)
        assert not plan.problems, plan.problems
        assert not plan.refused, [one.reason for one in plan.refused]
        return found.run(stages)

    def down(self, *, hasty: bool = False) -> engine.Result:
        found = self.deployment(hasty=hasty)
        stages, left = found.removal()
        assert left == ()
        return found.run(stages)

    def up_plan(self) -> str:
        """What a run would do, in a word."""
        plan, stages = self.deployment().plan(wait=True)
        if stages:
            return ", ".join(one.says() for one in stages)
        return "as it is" if plan.empty else "unknown"

    def down_plan(self) -> str:
        """Whether taking it down would take down all of it; what cannot be seen must not be left out silently."""
        stages, left = self.deployment().removal()
        if left:
            return f"left alone: {left}"
        wanted = {one.vmid for one in self.deployment().desired}
        return "as it is" if wanted <= {one.vmid for one in stages} else f"{len(stages)} stages"

    def is_up(self) -> None:
        """All is as the inventory says, and nothing twice."""
        plan, stages = self.deployment().plan(wait=True)
        assert plan.empty, [one.reason for one in plan.changed]
        assert stages == ()
        assert not plan.foreign_rules
        desired = self.deployment().desired
        there = {int(one["vmid"]): one["status"] for one in self._guests()}
        assert there == {one.vmid: "running" for one in desired}
        volumes = sorted(int(one.partition(":")[2].partition("/")[0]) for one in self.node.runtime.volumes())
        assert volumes == sorted(one.vmid for one in desired for _ in (one.rootfs, *one.volumes))

    def is_down(self) -> None:
        """Nothing of ours is left, but the switch and who may reach the node."""
        assert self._guests() == []
        assert self.node.runtime.volumes() == {}
        for path in ("aliases", "groups", "rules"):
            assert self.node.root("GET", f"/cluster/firewall/{path}") == []
        left = self.node.root("GET", "/cluster/firewall/ipset")
        assert [one["name"] for one in left] in ([], ["management"])

    def reset(self) -> None:
        """Back to nothing, after a test that failed."""
        self.proxy.disarm()
        if self._guests():
            self.down()
            self.turn_off()

    def turn_off(self) -> None:
        """The switch and the set that goes with it are as on a node where nobody was before."""
        self.node.root("PUT", "/cluster/firewall/options", delete="enable")
        for one in self.node.root("GET", "/cluster/firewall/ipset"):
            self.node.root("DELETE", f"/cluster/firewall/ipset/{one['name']}", force=1)

    def disturb(self) -> None:
        """Somebody changes this and that."""
        root, (first, second) = self.node.root, (one.vmid for one in self.deployment().desired)
        root("PUT", f"/nodes/pve/lxc/{first}/config", memory=333, nameserver="10.0.0.9")
        root("POST", f"/nodes/pve/lxc/{first}/status/reboot")
        guest = f"/nodes/pve/lxc/{first}/firewall"
        root("PUT", guest + "/rules/0", enable=0)
        root("POST", guest + "/rules", type="in", action="ACCEPT", proto="tcp", dport="99", comment="zt/old", enable=1)
        root("DELETE", f"/nodes/pve/lxc/{second}/firewall/rules/0")
        root("PUT", f"/nodes/pve/lxc/{second}/firewall/options", policy_in="ACCEPT")
        root("POST", f"/nodes/pve/lxc/{second}/status/stop")
        for one in root("GET", guest + "/ipset")[:1]:
            path = f"{guest}/ipset/{one['name']}"
            for member in root("GET", path):
                root("DELETE", f"{path}/{member['cidr'].replace('/', '%2F')}")
            root("POST", path, cidr="10.9.9.9")
        alias = root("GET", "/cluster/firewall/aliases")[0]
        root("PUT", f"/cluster/firewall/aliases/{alias['name']}", cidr="10.9.9.8", comment=alias.get("comment", ""))
        self.grown += 1

    def _guests(self) -> list[dict[str, Any]]:
        return list(self.node.root("GET", "/nodes/pve/lxc"))  # type: ignore[call-overload]

    def close(self) -> None:
        self._usual.close()
        self._hasty.close()
        self.proxy.stop()
        self.node.close()
