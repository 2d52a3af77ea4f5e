"""What a stolen workstation can do: the README's table, one test a line. What the SSH key can is in test_gate.py.

The token is the one that bootstrap makes, with the shipped site's firewall objects in the datacenter unless it is said
otherwise, against the lab's API, which is as strict about rights as the real server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from zentoria_infra.bootstrap import api as bootstrap
from zentoria_infra.bootstrap.files import SiteFiles
from zentoria_infra.inventory.load import load
from zentoria_infra.proxmox import Endpoint, Password, Secret
from zentoria_infra.proxmox.access import Access
from zentoria_infra.proxmox.connection import Connection

ROOT = Path(__file__).resolve().parents[2]
LXC = "/nodes/pve/lxc"
NEW = {"ostemplate": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst", "rootfs": "local:1"}
Thief = Callable[..., int]

releases = pytest.mark.parametrize("node", ["8.4", "9.2"], indirect=True)


@pytest.fixture
def steal(node: Any, tmp_path: Path) -> Iterator[Callable[[str], Thief]]:
    """Bootstrap, then take the token: gives what it sends, and the status that comes back."""
    sessions: list[requests.Session] = []

    def stolen(objects: str = "datacenter") -> Thief:
        proxmox = {
            "host": "127.0.0.1", "port": node.server.port, "ca_file": str(node.ca), "pool": "stack",
            "token_id": "stack@pve!up", "ssh": {"host_key": None},
        }  # fmt: skip
        values = {"id": "home", "proxmox": proxmox, "secrets_file": str(tmp_path / "home" / "secrets.json")}
        inventory = load(ROOT, site="lab", overrides={**values, "firewall": {"objects": objects}})
        endpoint = Endpoint("127.0.0.1", "pve", node.server.port, ca_file=node.ca)
        with closing(Connection(endpoint, Password("root@pam", Secret("testpass")))) as connection:
            access, what = Access(connection), bootstrap.wanted(inventory)
            node.root("PUT", "/access/roles/Zentoria", privs="")  # the fixture's own: bootstrap puts it right
            files = SiteFiles(inventory.site)
            bootstrap.carry_out(access, what, bootstrap.steps(what, bootstrap.look(access, what)), files)
        node.root("POST", LXC, vmid=404, pool="stack", unprivileged=1, **NEW)
        node.root("POST", LXC, vmid=900, unprivileged=1, **NEW)
        session = requests.Session()
        session.trust_env, session.verify = False, str(node.ca)
        session.headers["Authorization"] = f"PVEAPIToken=stack@pve!up={files.token.read_text().strip()}"
        sessions.append(session)

        def send(method: str, path: str, /, **data: object) -> int:
            place = "params" if method in ("GET", "DELETE") else "data"
            url = f"https://127.0.0.1:{node.server.port}/api2/json{path}"
            return int(session.request(method, url, timeout=30, **{place: data}).status_code)

        return send

    yield stolen
    for session in sessions:
        session.close()


@releases
def test_token_does_as_it_likes_with_the_pools_containers_and_their_data(steal: Callable[..., Thief]) -> None:
    thief = steal()
    assert thief("PUT", f"{LXC}/404/config", memory=64) == 200
    assert thief("PUT", f"{LXC}/404/firewall/options", enable=0) == 200
    assert thief("DELETE", f"{LXC}/404") == 200


@releases
def test_token_makes_containers_with_passwords_of_its_own(steal: Callable[..., Thief]) -> None:
    thief = steal()
    assert thief("POST", LXC, vmid=405, pool="stack", unprivileged=1, password="mine-now", **NEW) == 200
    assert thief("POST", LXC, vmid=406, unprivileged=1, **NEW) == 403, "outside the pool"


@pytest.mark.parametrize(
    ("node", "objects", "status"),
    [("8.4", "datacenter", 200), ("8.4", "guest", 200), ("9.2", "datacenter", 200), ("9.2", "guest", 403)],
    indirect=["node"],
)
def test_token_makes_privileged_containers_unless_proxmox_9_and_objects_in_guests(
    steal: Callable[..., Thief], objects: str, status: int
) -> None:
    assert steal(objects)("POST", LXC, vmid=405, pool="stack", unprivileged=0, **NEW) == status


@releases
def test_token_gives_no_container_a_hold_on_the_node(steal: Callable[..., Thief]) -> None:
    thief = steal()
    for options in (
        {"mp0": "/etc,mp=/host"}, {"dev0": "/dev/mem"}, {"hookscript": "local:snippets/x.pl"},
        {"features": "nesting=1,keyctl=1"}, {"features": "mount=nfs"}, {"mp0": "local:900/vm-900-disk-0.raw,mp=/x"},
    ):  # fmt: skip
        assert thief("PUT", f"{LXC}/404/config", **options) == 403, options
        assert thief("POST", LXC, vmid=405, pool="stack", unprivileged=1, **NEW, **options) == 403, options
    assert thief("PUT", f"{LXC}/404/config", unprivileged=0) == 500, "read-only"
    assert thief("PUT", f"{LXC}/404/config", **{"lxc.idmap": "u 0 0 65536"}) == 400
    assert thief("POST", LXC, vmid=405, pool="stack", unprivileged=0, features="nesting=1", **NEW) == 403


@releases
def test_token_has_nothing_of_other_guests(steal: Callable[..., Thief]) -> None:
    thief = steal()
    for method, path in (
        ("GET", "/config"), ("PUT", "/config"), ("DELETE", ""), ("POST", "/status/stop"), ("POST", "/snapshot"),
        ("GET", "/firewall/rules"), ("PUT", "/firewall/options"),
    ):  # fmt: skip
        data = {"snapname": "mine"} if path == "/snapshot" else {}
        assert thief(method, f"{LXC}/900{path}", **data) == 403, (method, path)
    assert thief("PUT", "/pools", poolid="stack", vms=900) == 403


@releases
def test_token_makes_no_users_rights_or_pools(steal: Callable[..., Thief]) -> None:
    thief = steal()
    assert thief("POST", "/access/users", userid="thief@pve") == 403
    assert thief("POST", "/access/roles", roleid="Thief", privs="VM.Audit") == 403
    assert thief("PUT", "/access/roles/Zentoria", privs="VM.Audit,VM.Console") == 403
    assert thief("PUT", "/access/acl", path="/", roles="Administrator", tokens="stack@pve!up") == 403
    assert thief("PUT", "/access/acl", path="/pool/stack", roles="Administrator", tokens="stack@pve!up") == 403
    assert thief("POST", "/pools", poolid="other") == 403
    assert thief("DELETE", "/pools", poolid="stack") == 403


@releases
@pytest.mark.parametrize(("objects", "status"), [("datacenter", 200), ("guest", 403)])
def test_token_turns_the_datacenters_firewall_off_unless_objects_in_guests(
    steal: Callable[..., Thief], objects: str, status: int
) -> None:
    thief = steal(objects)
    assert thief("PUT", "/cluster/firewall/options", enable=0) == status
    assert thief("POST", "/cluster/firewall/rules", type="in", action="ACCEPT") == status
    assert thief("PUT", "/nodes/pve/firewall/options", enable=0) == 403, "the node's own is not in it"


@releases
def test_token_has_nothing_of_the_nodes_shell_and_network(steal: Callable[..., Thief]) -> None:
    thief = steal()
    assert thief("POST", "/nodes/pve/network", iface="vmbr9", type="bridge") == 403
    assert thief("PUT", "/nodes/pve/network") == 403
    assert thief("DELETE", "/nodes/pve/network") == 403
    given = frozenset().union(*bootstrap.roles().values())
    shells = {
        "Sys.Console",
        "VM.Console",
        "Sys.PowerMgmt",
        "Sys.AccessNetwork",
        "VM.Monitor",
        "VM.GuestAgent.Unrestricted",
    }
    rights = {
        "Permissions.Modify",
        "User.Modify",
        "Group.Allocate",
        "Realm.Allocate",
        "Realm.AllocateUser",
        "Pool.Allocate",
    }
    others = {
        "Datastore.Allocate",
        "SDN.Allocate",
        "VM.Migrate",
        "VM.Clone",
        "VM.Backup",
        "Mapping.Modify",
        "Mapping.Use",
    }
    assert given.isdisjoint(shells | rights | others)


def test_key_and_token_are_on_the_workstation_and_the_stacks_passwords_too(
    steal: Callable[..., Thief], tmp_path: Path
) -> None:
    """They are files that their owner alone may read; a thief of the machine is no other user."""
    steal()
    assert (tmp_path / "home" / "token").stat().st_mode & 0o077 == 0
