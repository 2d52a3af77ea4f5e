"""What Proxmox VE 8.4 and 9.2 answer differently, as it was measured on both (8.4.21 and 9.2.11), in one table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab_api.lab_api_harness import Lab

LXC = "/nodes/pve1/lxc"
both = pytest.mark.parametrize("release", ["8.4", "9.2"])
VALUES = {"ostemplate": "local:vztmpl/z.tar.gz", "rootfs": "local:1", "features": "nesting=1"}


@pytest.fixture
def at(make_lab: Callable[..., Lab], release: str) -> Lab:
    """A lab of the test's release."""
    return make_lab(release=release)


def modern(release: str) -> bool:
    return release == "9.2"


@pytest.mark.parametrize("release", ["8.4", "9.0", "9.1", "9.2"])
def test_a_node_says_its_release(at: Lab, release: str) -> None:
    data = at.root.get("/version").data
    assert data["release"] == release
    assert data["version"].startswith(f"{release}.")
    known = {"8.4": "8.4.21", "9.2": "9.2.11"}
    assert data["version"] == known.get(release, data["version"])


def test_a_lab_is_9_2_unless_it_is_told(lab: Lab) -> None:
    assert lab.root.get("/version").data["version"] == "9.2.11"


@both
@pytest.mark.parametrize("key, value, current", [
    ("env", "FOO=bar", None),
    ("entrypoint", "/sbin/init --foo", None),
    ("mp0", "local:404/vm-404-disk-1.raw,mp=/d,keepattrs=1,size=1G", "local:404/vm-404-disk-1.raw,mp=/d,size=1G"),
    ("mp0", "local:404/vm-404-disk-1.raw,mp=/d,idmap=u:123:456:1,size=1G", "local:404/vm-404-disk-1.raw,mp=/d,size=1G"),
    ("rootfs", "local:404/vm-404-disk-0.raw,idmap=u:1:2:1;g:1:2:1,size=1G", "local:404/vm-404-disk-0.raw,size=1G"),
])  # fmt: skip
def test_new_keys_are_unknown_to_8_and_pending_on_9(at: Lab, release: str, key: str, value: str, current: str) -> None:
    at.create(404, mp0="local:1,mp=/d", features="nesting=1")
    at.root.task(at.root.post(f"{LXC}/404/status/start"))
    answer = at.root.put(f"{LXC}/404/config", **{key: value})
    if not modern(release):
        assert (answer.status, list(answer.errors)) == (400, [key])
        return
    assert answer.status == 200, answer
    rows = {row["key"]: row for row in at.root.get(f"{LXC}/404/pending").data}
    assert (rows[key].get("value"), len(rows[key]["pending"])) == (current, len(value))
    assert at.root.get(f"{LXC}/404/config", current=1).data.get(key) == current


@both
def test_host_managed_holds_at_once_on_9(at: Lab, release: str) -> None:
    net = "name=eth0,bridge=vmbr0,ip=10.99.0.9/24,hwaddr=BC:24:11:00:00:01"
    at.create(404, net0=net, features="nesting=1")
    at.root.task(at.root.post(f"{LXC}/404/status/start"))
    answer = at.root.put(f"{LXC}/404/config", net0=f"{net},host-managed=1")
    assert answer.status == (200 if modern(release) else 400)
    assert ("host-managed=1" in at.root.get(f"{LXC}/404/config", current=1).data["net0"]) is modern(release)


PRESSURE = {f"pressure{what}{how}" for what in ("cpu", "io", "memory") for how in ("some", "full")}


@both
def test_pressure_is_told_on_9_and_not_known_here(at: Lab, release: str) -> None:
    at.create(404)
    for row in (at.root.get(f"{LXC}/404/status/current").data, at.root.get(LXC).data[0]):
        found = {key: value for key, value in row.items() if key.startswith("pressure")}
        assert found == (dict.fromkeys(PRESSURE) if modern(release) else {})


@both
def test_resources(at: Lab, release: str) -> None:
    at.root.post("/pools", poolid="mine")
    at.create(404, pool="mine")
    rows = {row["type"]: row for row in at.root.get("/cluster/resources").data}
    member = at.root.get("/pools/mine").data["members"][0]
    assert [one.get("memhost") for one in (rows["lxc"], member)] == ([0, 0] if modern(release) else [None, None])
    assert not PRESSURE & (rows["lxc"].keys() | member.keys())
    assert ("host-arch" in rows["node"]) is modern(release)
    kind, where = ("network", "network/pve1/zone/localnetwork") if modern(release) else ("sdn", "sdn/pve1/localnetwork")
    assert (rows[kind]["id"], rows[kind][kind]) == (where, "localnetwork")
    assert [row["type"] for row in at.root.get("/cluster/resources", type="sdn").data] == [kind]
    assert ("available" in at.root.get("/nodes/pve1/status").data["memory"]) is modern(release)


@both
def test_a_token_has_its_secret_made_anew_on_9(at: Lab, release: str) -> None:
    path = "/access/users/root@pam/token/other"
    old = at.root.post(path, privsep=0).data["value"]
    answer = at.root.put(path, regenerate=1, comment="x")
    if not modern(release):
        assert (answer.status, list(answer.errors)) == (400, ["regenerate"])
        return
    assert answer.data["full-tokenid"] == "root@pam!other"
    assert at.token("root@pam!other", old).get("/version").status == 401
    assert at.token("root@pam!other", answer.data["value"]).get("/version").status == 200
    assert "value" not in at.root.put(path, comment="y").data


@both
@pytest.mark.parametrize(("kind", "known"), [("include_sdn", False), ("fabric", False), ("any_bridge", True)])
def test_filters_of_networks(at: Lab, release: str, kind: str, known: bool) -> None:
    answer = at.root.get("/nodes/pve1/network", type=kind)
    assert answer.status == (200 if known or modern(release) else 400)
    if answer.status == 200:
        assert [row["iface"] for row in answer.data] == ([] if kind == "fabric" else ["vmbr0"])
    else:
        assert kind not in answer.errors["type"].partition("enumeration")[2]


@both
def test_roles_that_come_with_it(at: Lab, release: str) -> None:
    roles = {row["roleid"]: set(row["privs"].split(",")) for row in at.root.get("/access/roles").data}
    agent = {f"VM.GuestAgent.{what}" for what in ("Audit", "FileRead", "FileSystemMgmt", "FileWrite")}
    assert {name for name in roles["PVEVMUser"] if "Agent" in name} == (agent if modern(release) else set())
    assert ("VM.Monitor" in roles["PVEVMUser"]) is not modern(release)
    assert ("Mapping.Modify" in roles["PVEAdmin"]) is not modern(release)
    assert ("PVEMappingAuditor" in roles) is not modern(release)


@both
def test_a_role_with_a_privilege_that_is_gone(at: Lab, release: str) -> None:
    answer = at.root.post("/access/roles", roleid="R", privs="VM.Audit,VM.Monitor")
    if modern(release):
        assert answer.errors == {"privs": "invalid format - invalid privilege 'VM.Monitor'\n"}
    assert answer.status == (400 if modern(release) else 200)


@pytest.mark.parametrize(("path", "since"), [("/sdn/fabrics/f", "9.0"), ("/sdn/prefix-lists", "9.2"),
                                             ("/sdn/route-maps/r", "9.2"), ("/sdn/other", "none")])  # fmt: skip
@pytest.mark.parametrize("release", ["8.4", "9.0", "9.2"])
def test_paths_of_rights(at: Lab, release: str, path: str, since: str) -> None:
    answer = at.root.put("/access/acl", path=path, roles="PVEAuditor", users="root@pam")
    assert answer.status == (200 if since <= release else 400)
