"""Drift of twelve kinds on real containers: each is seen and named, one `up` repairs all, and then nothing differs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import Run, Stack
from zentoria_infra.lab.shell.control_socket import call
from zentoria_infra.plan.show.document import PlanDocument

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

NET = "name=eth0,bridge=vmbr40,firewall=1,ip=10.10.47.200/20,type=veth"


@pytest.fixture(autouse=True)
def as_the_inventory_says(stack: Stack) -> Iterator[None]:
    stack.zentoria("up", "--yes", check=True)
    yield
    stack.zentoria("up", "--yes", check=True)


def api(stack: Stack, method: str, path: str, **data: str) -> Any:
    """One call as the lab's root@pam; waits for the task that it begins."""
    socket = str(stack.folder / "run" / "control.sock")
    found = call(socket, method, path, data)
    if isinstance(found, str) and found.startswith("UPID:"):
        until = time.monotonic() + 120
        while call(socket, "GET", f"/nodes/pve/tasks/{found}/status", {})["status"] != "stopped":
            assert time.monotonic() < until, f"{method} {path} does not end"
            time.sleep(0.1)
    return found


def guest(stack: Stack, vmid: int, method: str, path: str, **data: str) -> Any:
    return api(stack, method, f"/nodes/pve/lxc/{vmid}{path}", **data)


def inside(stack: Stack, name: str, command: str) -> None:
    run = stack.zentoria("exec", name, "--", "sh", "-c", command)
    assert run.code == 0, run.said()


def drift(stack: Stack) -> None:
    """What an admin might do by hand, or somebody else."""
    guest(stack, 410, "PUT", "/config", memory="300")
    guest(stack, 405, "PUT", "/config", net0=NET)
    guest(stack, 401, "PUT", "/config", tags="zentoria;by-hand")
    rules = guest(stack, 404, "GET", "/firewall/rules")
    position = next(one["pos"] for one in rules if one["comment"].startswith("zt/row-7/backend/db/tcp"))
    guest(stack, 404, "DELETE", f"/firewall/rules/{position}")
    guest(stack, 402, "PUT", "/firewall/options", dhcp="1")
    inside(stack, "proxy", "echo '# by hand' >> /etc/nginx/nginx.conf")
    inside(stack, "backend", "systemctl stop zentoria-backend.service")
    inside(stack, "docs", "dpkg --purge prometheus-node-exporter")
    guest(stack, 413, "POST", "/status/stop")
    guest(stack, 419, "PUT", "/config", mp5="local:1,mp=/srv/by-hand")
    guest(stack, 419, "POST", "/status/reboot")
    guest(stack, 416, "PUT", "/config", protection="1")
    guest(stack, 406, "POST", "/status/stop")
    guest(stack, 406, "DELETE", "")
    inside(stack, "redis", "echo 'user eve on nopass ~* +@all' >> /etc/redis/users.acl")


KINDS = {
    "memory": ("410/config/memory", "update"),
    "net0": ("405/config/net0", "update"),
    "a tag": ("401/config/tags", "update"),
    "a firewall rule": ("404/firewall/in:zt/row-7/backend/db/tcp", "create"),
    "the dhcp option of a firewall": ("402/firewall/option:dhcp", "update"),
    "a config file in a guest": ("408/inside/file:/etc/nginx/nginx.conf", "update"),
    "a stopped unit": ("401/inside/unit:zentoria-backend.service", "start"),
    "a deleted package": ("418/inside/packages", "create"),
    "a stopped container": ("413/status", "start"),
    "a new mount point": ("419/config/mp5", "delete"),
    "protection": ("416/config/protection", "update"),
    "a deleted container": ("406/container", "create"),
    "a secret file": ("410/inside/file:/etc/redis/users.acl", "update"),
}


def test_drift_is_seen_named_and_repaired_and_the_plan_after_it_is_empty(stack: Stack) -> None:
    drift(stack)
    seen = stack.zentoria("plan", "--json", "--detailed-exitcode")
    assert seen.code == 2, seen.said()
    told = PlanDocument.model_validate_json(seen.out)
    found = {one.id: one for one in told.listing}
    missing = {kind: name for kind, (name, _) in KINDS.items() if name not in found}
    assert not missing, (missing, sorted(found))
    assert {kind: found[name].action.value for kind, (name, _) in KINDS.items()} == {
        kind: action for kind, (_, action) in KINDS.items()
    }
    asked = {one.id: one.origin.value for one in told.listing if one.origin.value == "intent"}
    assert not asked, "nobody changed the inventory"
    assert {kind: found[name].origin.value for kind, (name, _) in KINDS.items()} == dict.fromkeys(KINDS, "drift")
    check_details(found)
    check_words(stack)
    check_secrets(stack, seen.out)

    refused = stack.zentoria("up", "--yes")
    assert refused.code == 5, refused.said()
    assert "419" in refused.err and "/srv/by-hand" in refused.err and "--allow data" in refused.err, refused.said()
    repaired = stack.zentoria("up", "--yes", "--json", "--allow", "data")
    assert repaired.code == 0, repaired.said()
    after = stack.zentoria("plan", "--detailed-exitcode")
    assert after.code == 0, after.said()
    assert "No changes: 17 containers are as the inventory says." in after.out
    assert stack.get("/api/v1/health").status_code == 200
    assert "unused0" in guest(stack, 419, "GET", "/config"), "what is on a volume by hand is kept"


def check_details(found: dict[str, Any]) -> None:
    """Lines of the inventory, disturbances, and secrets."""
    config = found["408/inside/file:/etc/nginx/nginx.conf"]
    assert "-# by hand" in config.diff
    assert (config.disturbs.value, config.units) == ("reload", ("nginx.service",))
    assert config.where.startswith("inventory/containers/408-proxy.yaml:")
    assert found["404/firewall/in:zt/row-7/backend/db/tcp"].where.startswith("zones.yaml:")
    assert found["419/config/mp5"].disturbs.value == "container"
    assert found["410/config/memory"].privileges[0].privilege == "VM.Config.Memory"
    secret = found["410/inside/file:/etc/redis/users.acl"]
    assert secret.before.startswith("hmac ") and secret.after.startswith("hmac ") and secret.before != secret.after
    assert secret.diff == ""
    assert "eve" not in json.dumps([one.model_dump(mode="json") for one in found.values()])


def check_words(stack: Stack) -> None:
    """The same for people: in text, and for a pull request."""
    text: Run = stack.zentoria("plan")
    _, _, drifted = text.out.partition("Drift: changed outside Zentoria")
    assert "memory: 300 → " in drifted
    assert "file:/etc/redis/users.acl: content (hmac " in drifted
    markdown = stack.zentoria("plan", "--format", "md").out
    assert len(markdown.encode()) <= 65_536
    assert "### Disturbances" in markdown and "### Drift" in markdown and "eve" not in markdown


def check_secrets(stack: Stack, told: str) -> None:
    """No password of the site is in a plan, and neither is the key of its fingerprints."""
    secrets = json.loads((stack.folder / "secrets/stack/secrets.json").read_text())["secrets"]
    assert "zentoria/site/fingerprints" in secrets
    assert not [path for path, value in secrets.items() if value in told]
