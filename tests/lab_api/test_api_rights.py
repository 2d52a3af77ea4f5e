"""Which right each operation asks for: one taken away at a time, as it was measured on the real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab_api.lab_api_harness import Answer, Client, Lab

LXC = "/nodes/pve1/lxc"
PRIVILEGES = frozenset(
    {
        *("VM.Allocate", "VM.Audit", "VM.PowerMgmt", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Disk"),
        *("VM.Config.Network", "VM.Config.Options", "VM.Snapshot", "VM.Snapshot.Rollback", "Pool.Audit"),
        *("Datastore.AllocateSpace", "Datastore.Audit", "SDN.Use", "Sys.Audit"),
    }
)
NET = "name=eth0,bridge=vmbr0,ip=10.99.0.40/24,hwaddr=BC:24:11:00:00:01"
CREATE = {
    "vmid": 410,
    "ostemplate": "local:vztmpl/z.tar.gz",
    "pool": "zentoria",
    "rootfs": "local:1",
    "cores": 1,
    "memory": 128,
    "net0": NET,
    "onboot": 1,
    "unprivileged": 1,
    "features": "nesting=1",
}
SETTINGS = {
    "set cores": {"cores": 2},
    "set memory": {"memory": 256},
    "set mount point": {"mp0": "local:1,mp=/data"},
    "set net0": {"net0": NET.replace(".40/", ".41/")},
    "set hostname": {"hostname": "other"},
    "set nameserver": {"nameserver": "10.99.0.1"},
    "set tags": {"tags": "a"},
    "set description": {"description": "x"},
    "set protection": {"protection": 0},
}
OPERATIONS: dict[str, Callable[[Client], Answer]] = {
    "create": lambda c: c.post(LXC, **CREATE),
    "config": lambda c: c.get(f"{LXC}/404/config"),
    "firewall read": lambda c: c.get(f"{LXC}/404/firewall/rules"),
    "firewall rule": lambda c: c.post(f"{LXC}/404/firewall/rules", type="in", action="ACCEPT"),
    "firewall options": lambda c: c.put(f"{LXC}/404/firewall/options", enable=1),
    "firewall ipset": lambda c: c.post(f"{LXC}/404/firewall/ipset", name="ipfilter-net0"),
    "pool": lambda c: c.get("/pools/zentoria"),
    "node status": lambda c: c.get("/nodes/pve1/status"),
    "templates": lambda c: c.get("/nodes/pve1/storage/local/content", content="vztmpl"),
    **{name: (lambda c, data=data: c.put(f"{LXC}/404/config", **data)) for name, data in SETTINGS.items()},
    "resize": lambda c: c.put(f"{LXC}/404/resize", disk="rootfs", size="+1G"),
    "snapshot": lambda c: c.post(f"{LXC}/404/snapshot", snapname="s1"),
    "start": lambda c: c.post(f"{LXC}/405/status/start"),
    "stop": lambda c: c.post(f"{LXC}/406/status/stop"),
    "shutdown": lambda c: c.post(f"{LXC}/407/status/shutdown"),
    "reboot": lambda c: c.post(f"{LXC}/408/status/reboot"),
    "destroy": lambda c: c.delete(f"{LXC}/409"),
}
FAILS_WITHOUT = {
    "VM.Allocate": {"create", "destroy"},
    "VM.Audit": {"config", "firewall read"},
    "VM.PowerMgmt": {"start", "stop", "shutdown", "reboot"},
    "VM.Config.CPU": {"create", "set cores"},
    "VM.Config.Memory": {"create", "set memory"},
    "VM.Config.Disk": {"create", "set mount point", "resize"},
    "VM.Config.Network": {
        *("create", "set net0", "set hostname", "set nameserver"),
        *("firewall rule", "firewall options", "firewall ipset"),
    },
    "VM.Config.Options": {"create", "set tags", "set description", "set protection", "resize"},
    "Datastore.AllocateSpace": {"create", "set mount point", "resize"},
    "SDN.Use": {"create", "set net0"},
    "VM.Snapshot": {"snapshot"},
    "Pool.Audit": {"pool"},
    "Sys.Audit": {"node status"},
    "Datastore.Audit": set(),
}


def _prepare(lab: Lab, privileges: frozenset[str]) -> Client:
    root = lab.root
    for path, data in (
        ("/pools", {"poolid": "zentoria"}),
        ("/access/roles", {"roleid": "Zentoria", "privs": ",".join(sorted(privileges))}),
        ("/access/users", {"userid": "zentoria@pve"}),
    ):
        assert root.post(path, **data).status == 200
    for path in ("/pool/zentoria", "/storage/local", "/sdn/zones/localnetwork", "/nodes/pve1"):
        assert root.put("/access/acl", path=path, roles="Zentoria", users="zentoria@pve").status == 200
    for vmid in range(404, 410):
        lab.create(vmid, pool="zentoria", net0=NET)
    for vmid in (406, 407, 408):
        assert root.task(root.post(f"{LXC}/{vmid}/status/start")) == "OK"
    token = root.post("/access/users/zentoria@pve/token/up", privsep=0).data["value"]
    return lab.token("zentoria@pve!up", token)


@pytest.mark.parametrize("taken", sorted(FAILS_WITHOUT))
def test_one_privilege_taken_away(lab: Lab, taken: str):
    client = _prepare(lab, PRIVILEGES - {taken})
    failed = {name for name, operation in OPERATIONS.items() if operation(client).status == 403}
    assert failed == FAILS_WITHOUT[taken]
    assert (len(client.get(LXC).data) == 0) is (taken == "VM.Audit")
    assert lab.server.node.tasks.wait(10)


def test_all_privileges_are_enough(lab: Lab):
    client = _prepare(lab, PRIVILEGES)
    assert {name: answer for name, operation in OPERATIONS.items() if (answer := operation(client)).status != 200} == {}
    assert lab.server.node.tasks.wait(10)


def test_datacenter_firewall_needs_rights_on_the_root(lab: Lab):
    client = _prepare(lab, PRIVILEGES | {"Sys.Modify"})
    assert client.get("/cluster/firewall/options").body["message"] == "Permission check failed (/, Sys.Audit)\n"
    answer = client.put("/cluster/firewall/options", enable=1)
    assert answer.body["message"] == "Permission check failed (/, Sys.Modify)\n"


def test_a_separate_token_has_the_rights_that_both_have(lab: Lab):
    _prepare(lab, PRIVILEGES)
    value = lab.root.post("/access/users/zentoria@pve/token/few").data["value"]
    client = lab.token("zentoria@pve!few", value)
    assert client.get("/access/permissions").data == {}
    lab.root.put("/access/acl", path="/vms/404", roles="PVEAuditor", tokens="zentoria@pve!few")
    assert client.get("/access/permissions").data == {"/vms/404": {"VM.Audit": 1, "Datastore.Audit": 1, "Pool.Audit": 1,
                                                                  "Sys.Audit": 1}}  # fmt: skip
    assert [row["vmid"] for row in client.get(LXC).data] == [404]
    assert client.put(f"{LXC}/404/config", memory=64).status == 403


def test_no_access_wins_and_does_not_leak_downwards(lab: Lab):
    client = _prepare(lab, PRIVILEGES)
    lab.root.put("/access/acl", path="/vms/404", roles="NoAccess", users="zentoria@pve")
    assert client.get(f"{LXC}/404/config").status == 403
    assert client.get(f"{LXC}/405/config").status == 200


def test_group_rights_and_expiry(lab: Lab):
    lab.root.post("/access/groups", groupid="ops")
    lab.root.post("/access/users", userid="eve@pve", password="evepass12", groups="ops")
    lab.create(404)
    eve = lab.ticket("eve@pve", "evepass12")
    assert eve.get(f"{LXC}/404/config").status == 403
    lab.root.put("/access/acl", path="/vms", roles="PVEVMUser", groups="ops")
    assert eve.get(f"{LXC}/404/config").status == 200
    lab.root.put("/access/users/eve@pve", expire=1)
    assert eve.get(f"{LXC}/404/config").status == 401


def test_secrets_are_not_kept_in_the_clear(lab: Lab):
    lab.root.post("/access/users", userid="eve@pve", password="evepass12")
    kept = {path.name: path.read_text() for path in lab.layout.pve.rglob("*") if path.is_file()}
    assert not [name for name, text in kept.items() if "evepass12" in text or lab.secret in text or "testpass" in text]
    assert {path.stat().st_mode & 0o777 for path in (lab.layout.pve / "priv").iterdir()} == {0o600}
