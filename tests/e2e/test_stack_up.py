"""From nothing to a running stack on real containers, as a user sees it."""

import json
import signal
import time

import pytest

from tests.support.soak import sampled
from tests.support.stack import RequestLoop, Run, Stack, copy_project

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

HEALTH = "/api/v1/health"


def test_up_ends_with_seventeen_containers_and_a_healthy_chain(stack: Stack, cold: Run) -> None:
    assert cold.result["exit_code"] == 0
    status = json.loads(stack.zentoria("status", "--json", check=True).out)
    assert len(status["containers"]) == 17
    assert {one["status"] for one in status["containers"]} == {"running"}
    answer = stack.get(HEALTH, host="127.0.0.1")
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert seen["status"] == "ok"
    assert seen["dependencies"]["database"]["saw"]["database"] == "zentoria_core"
    assert seen["dependencies"]["database"]["saw"]["server"].startswith("PostgreSQL 17")
    assert seen["dependencies"]["redis"]["status"] == "ok"


def test_a_second_up_changes_nothing_in_few_calls(stack: Stack) -> None:
    run = stack.zentoria("up", "--yes", "--json", check=True)
    plan = run.events[0]
    assert plan["changes"] is False, json.dumps(plan, indent=1)
    assert run.result["stages"] == 0
    # one for its configuration, three for its firewall; the rest are lists, the datacenter's objects, and the node: its
    # rules, its load, and whether its firewall runs
    assert run.result["api_calls"] <= 4 * 17 + 17
    assert run.result["ssh_round_trips"] <= 17 + 2  # one a container; two take and give back the site's lock


def test_redeploy_under_load_fails_no_request(stack: Stack) -> None:
    before = stack.zentoria("exec", "backend", "--", "systemctl", "show", "-P", "MainPID", "zentoria-backend")
    with RequestLoop(stack, HEALTH) as load:
        time.sleep(1)
        again = stack.zentoria("redeploy", "backend", check=True)
        time.sleep(1)
    assert "deploy " in again.out and "Drift" not in again.out, again.out  # asked for, and changed by nobody
    after = stack.zentoria("exec", "backend", "--", "systemctl", "show", "-P", "MainPID", "zentoria-backend")
    assert before.out.strip() != after.out.strip()
    assert load.bad == []
    assert load.good > 20
    assert left_to_do(stack) == []


def test_a_foreign_container_is_refused_and_untouched(stack: Stack) -> None:
    """VMID 405 is taken out of our hands: its mark goes, and with it every right to touch it."""
    stack.zentoria("down", "405", "--yes", check=True)
    make_foreign(stack)
    before = api(stack, "GET", "/nodes/pve/lxc/405/config")
    try:
        run = stack.zentoria("up", "--yes")
        assert run.code == 5, run.said()
        assert "405" in run.err
        assert "not Zentoria's" in run.err
        assert api(stack, "GET", "/nodes/pve/lxc/405/config") == before
    finally:
        api(stack, "DELETE", "/nodes/pve/lxc/405")
    assert stack.zentoria("up", "--yes", check=True).code == 0


def test_a_broken_release_returns_to_the_last_one(stack: Stack, tmp_path) -> None:
    project = copy_project(tmp_path / "project")
    main = project / "services/backend/src/zentoria_backend/main.py"
    main.write_text("raise RuntimeError('this release does not start')\n")
    broken = Stack(stack.name, project)
    with RequestLoop(stack, HEALTH) as load:
        run = broken.zentoria("up", "--yes")
    assert run.code == 1, run.said()
    assert "this release does not start" in run.said()
    assert "Traceback (most recent call last)" not in run.err.split("output:")[0]
    assert load.bad == []
    assert stack.get(HEALTH).status_code == 200
    assert stack.zentoria("up", "--yes", check=True).code == 0


def test_a_package_that_does_not_exist_stops_one_container_and_says_so(stack: Stack, tmp_path) -> None:
    project = copy_project(tmp_path / "project")
    file = project / "inventory/containers/410-redis.yaml"
    file.write_text(file.read_text().replace("[redis-server", "[no-such-package-here, redis-server"))
    assert "no-such-package-here" in file.read_text()
    run = Stack(stack.name, project).zentoria("up", "--yes")
    assert run.code == 1, run.said()
    assert "no-such-package-here" in run.err
    assert "what to do" in run.err
    assert stack.zentoria("up", "--yes", check=True).code == 0


MOMENTS = [
    (400, "started", "create"),
    (410, "ended", "create"),
    (410, "started", "firewall"),
    (400, "ended", "firewall"),
    (400, "started", "set tags"),
    (410, "ended", "set tags"),
    (410, "started", "start"),
    (400, "ended", "start"),
    (410, "started", "converge"),
    (400, "started", "converge"),
]
"""In a run that makes two containers again: a stage of one of them has begun or ended."""


@pytest.mark.parametrize(
    ("vmid", "event", "stage"), sampled(MOMENTS, [(400, "started", "create"), (410, "started", "converge")])
)
def test_a_kill_at_any_moment_loses_nothing(stack: Stack, vmid: int, event: str, stage: str) -> None:
    """Two containers are gone and must be made again; `up` dies in the middle; the next one converges."""
    stack.zentoria("down", "400", "410", "--yes", check=True)
    killed_once(stack, vmid, event, stage)
    run = stack.zentoria("up", "--yes")
    assert run.code == 0, run.said()
    assert left_to_do(stack) == []
    assert stack.get(HEALTH).status_code == 200


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(stack: Stack) -> None:
    for _ in range(3):
        stack.zentoria("down", "400", "--yes", check=True)
        code, said = interrupted_after_a_stage(stack)
        if code != 0:
            break  # else this test was kept waiting for the processor, and the signal came after the last stage
    assert code == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert stack.zentoria("up", "--yes", check=True).code == 0


def killed_once(stack: Stack, vmid: int, event: str, stage: str) -> None:
    """Kill an `up` as soon as it says that a stage of a container has begun or ended."""
    seen: list[str] = []
    with stack.popen("up", "--yes", "--json") as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            told = json.loads(line) if line.startswith("{") else {"event": "words"}
            if (told.get("vmid"), told["event"]) == (vmid, event) and told["stage"].startswith(stage):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, f"{event} {stage} of {vmid} was not to be seen: {''.join(seen)}"


def interrupted_after_a_stage(stack: Stack) -> tuple[int, str]:
    """Exit code and output of an `up` that gets Ctrl-C once a stage has ended and more are to follow."""
    said = ""
    with stack.popen("up", "--yes") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[") and "\n[" not in f"\n{said}":
                process.send_signal(signal.SIGINT)
            said += line
    return process.returncode, said


def left_to_do(stack: Stack) -> list[dict[str, object]]:
    """What a plan would change; empty right after `up`."""
    plan = json.loads(stack.zentoria("plan", "--json", check=True).out)
    return [container for container in plan["containers"] if container["action"] != "no change"]


def make_foreign(stack: Stack) -> None:
    """Somebody else's container on VMID 405."""
    template = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
    task = api(stack, "POST", "/nodes/pve/lxc", vmid=405, ostemplate=template, hostname="mine", rootfs="local:1")
    for _ in range(300):
        if api(stack, "GET", f"/nodes/pve/tasks/{task}/status")["status"] == "stopped":
            return
        time.sleep(0.1)
    raise AssertionError("the foreign container is not made")


def api(stack: Stack, method: str, path: str, **data: object):
    """One call as the lab's root@pam, over the lab's control socket."""
    import http.client
    import socket
    import urllib.parse

    folder = stack.folder
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(f"{folder}/run/control.sock")
    body = urllib.parse.urlencode(data) if data else None
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    connection.request(method, f"/api2/json{path}", body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, (answer.status, answer.reason, text)
    return json.loads(text)["data"]
