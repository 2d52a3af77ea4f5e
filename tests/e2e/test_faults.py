"""Bad input and faults, as a user meets them: a clear error, an exit code, no traceback, and a re-run that works."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_stack_up import api
from tests.support.stack import Run, Stack, copy_project

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(600)]


def refused(run: Run, code: int, *words: str) -> None:
    """It ended with that code, said these words and what to do, and broke nowhere."""
    assert run.code == code, run.said()
    for word in words:
        assert word in run.err, run.said()
    assert "what to do:" in run.err, run.said()
    assert "Traceback" not in run.said()


def with_site(stack: Stack, folder: Path, text: str) -> Stack:
    """The same lab, seen from a project whose lab site says something more."""
    project = copy_project(folder / "project")
    site = project / "inventory/sites/lab.yaml"
    site.write_text(site.read_text() + text)
    return Stack(stack.name, project)


def test_a_wrong_token_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "deadbeef-0000-4000-8000-00000000cafe"
    monkeypatch.setenv("ZENTORIA_PVE_TOKEN", canary)
    run = stack.zentoria("up", "--yes")
    refused(run, 4, "zentoria@pve!up")
    assert canary not in run.said()


def test_a_wrong_fingerprint_is_shown_beside_the_right_one(stack: Stack, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    site = project / "inventory/sites/lab.yaml"
    wrong = ":".join(["AB"] * 32)
    site.write_text(site.read_text().replace("  node: pve\n", f'  node: pve\n  fingerprint: "{wrong}"\n', 1))
    run = Stack(stack.name, project).zentoria("up", "--yes")
    refused(run, 4, wrong)
    assert len(re.findall(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", run.err)) >= 2


def test_a_node_that_is_not_there(stack: Stack, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    text = (project / "inventory/sites/lab.yaml").read_text()
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o600)
    text = text.replace("port: 8006", "port: 1").replace("token_secret_file: null", f"token_secret_file: {token}")
    (project / "inventory/sites/away.yaml").write_text(text)
    run = Stack._run(
        [str(Path(os.sys.executable).with_name("zentoria")), "--root", str(project), "--site", "away", "up", "--yes"],
        60,
        False,
    )
    refused(run, 4, "127.0.0.1:1")


def test_yaml_that_cannot_be_read_is_told_with_its_place(stack: Stack, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    file = project / "inventory/containers/404-db.yaml"
    file.write_text(file.read_text() + "\n  oops: [1\n")
    run = Stack(stack.name, project).zentoria("up", "--yes")
    assert run.code == 3, run.said()
    assert re.search(r"inventory/containers/404-db\.yaml:\d+:\d+", run.err)
    assert "Traceback" not in run.said()


def test_what_the_node_lacks_is_told_before_anything_is_made(stack: Stack, tmp_path: Path) -> None:
    stack.zentoria("down", "418", "--yes", check=True)
    other = with_site(stack, tmp_path, "\nbridges: {internal: vmbr9}\n")
    site = other.project / "inventory/sites/lab.yaml"
    site.write_text(site.read_text().replace("debian-13-standard_13.1-2", "debian-99-standard_1-1"))
    # only what is missing is made here: the others keep their bridge, so that nothing of them changes
    run = other.zentoria("up", "--yes")
    refused(run, 5, "no bridge 'vmbr9'", "debian-99-standard_1-1")
    assert 418 not in {guest["vmid"] for guest in api(stack, "GET", "/nodes/pve/lxc")}
    assert stack.zentoria("up", "--yes", check=True).code == 0


def test_a_locked_container_stops_alone(stack: Stack, tmp_path: Path) -> None:
    other = with_site(stack, tmp_path, "")
    for name in ("418-docs", "413-voice"):
        file = other.project / f"inventory/containers/{name}.yaml"
        file.write_text(re.sub(r"^zone:", "tags: [changed]\nzone:", file.read_text(), flags=re.MULTILINE))
    conf = stack.folder / "pve/lxc/418.conf"
    api(stack, "PUT", "/nodes/pve/lxc/418/config", lock="backup")
    try:
        run = other.zentoria("up", "--yes")
        refused(run, 1, "418 docs", "locked (backup)")
        assert "changed" in api(stack, "GET", "/nodes/pve/lxc/413/config")["tags"]
    finally:
        conf.write_text(re.sub(r"^lock: .*\n", "", conf.read_text(), flags=re.MULTILINE))
    assert stack.zentoria("up", "--yes", check=True).code == 0


def test_a_full_storage_leaves_nothing_half_made(stack: Stack, tmp_path: Path) -> None:
    stack.zentoria("down", "418", "--yes", check=True)
    other = with_site(stack, tmp_path, "  docs: {resources: {rootfs: 130000}}\n")
    run = other.zentoria("up", "--yes")
    refused(run, 1, "418 docs")
    assert 418 not in {guest["vmid"] for guest in api(stack, "GET", "/nodes/pve/lxc")}
    assert stack.zentoria("up", "--yes", check=True).code == 0


def test_a_full_disk_in_a_guest_is_told_and_can_be_put_right(stack: Stack, tmp_path: Path) -> None:
    other = with_site(stack, tmp_path, "")
    journald = other.project / "templates/base/journald.conf"
    journald.write_text(journald.read_text() + "# " + "x" * 400_000 + "\n")
    fill = "cat /dev/zero > /fill 2>/dev/null; df --output=avail / | tail -1"
    assert int(stack.zentoria("exec", "docs", "--", "sh", "-c", fill).out.strip()) < 300
    try:
        run = other.zentoria("up", "--yes")
        refused(run, 1, "418 docs", "No space left on device")
    finally:
        stack.zentoria("exec", "docs", "--", "rm", "-f", "/fill", check=True)
    assert stack.zentoria("up", "--yes", check=True).code == 0


def test_ssh_that_is_cut_in_mid_stream_is_made_good(stack: Stack) -> None:
    stack.zentoria("down", "418", "--yes", check=True)
    process = stack.popen("up", "--yes")
    while not agent_at_work(stack, 418):
        assert process.poll() is None, "it ended before its agent was seen at work"
        time.sleep(0.05)
    for session in sessions(stack):
        session.send_signal(signal.SIGKILL)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert "what to do:" in said
    assert stack.zentoria("up", "--yes", check=True).code == 0


def agent_at_work(stack: Stack, vmid: int) -> bool:
    """Whether an SSH session runs our agent in a container: its loader unpacks it with zlib."""
    for session in sessions(stack):
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in session.children(recursive=True):
                words = child.cmdline()
                if str(vmid) in words and any("zlib" in word for word in words):
                    return True
    return False


def sessions(stack: Stack) -> list[psutil.Process]:
    """sshd's processes for connections to this lab: children of the one that listens."""
    listener = next(
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "sshd" and any(str(stack.folder) in word for word in process.info["cmdline"] or ())
    )
    return listener.children()


def test_a_stopped_unit_a_changed_file_and_a_removed_package_are_repaired(stack: Stack) -> None:
    damage = (
        "systemctl stop prometheus-node-exporter; echo broken > /etc/hosts; "
        "dpkg --force-depends -P prometheus-node-exporter >/dev/null 2>&1; true"
    )
    stack.zentoria("exec", "docs", "--", "sh", "-c", damage, check=True)
    plan = stack.zentoria("plan", check=True).out
    assert "418 zentoria-docs" in plan
    assert "install prometheus-node-exporter" in plan
    assert "-broken" in plan
    assert stack.zentoria("up", "--yes", check=True).code == 0
    assert "No changes" in stack.zentoria("plan", check=True).out


def test_logs_and_exec_reach_inside(stack: Stack) -> None:
    assert "systemd" in stack.zentoria("logs", "db", "-n", "2000", check=True).out
    assert stack.zentoria("exec", "db", "--", "sh", "-c", "exit 7").code == 7
    assert stack.zentoria("exec", "nobody", "--", "true").code == 5


def test_a_node_on_which_each_command_takes_long_to_begin_is_only_slow(stack: Stack) -> None:
    """As on a real one with two processors: 0.7 s of one of them for each `pct exec`."""
    slow = stack.folder / "pct-slow"
    slow.write_text("0.7 2")
    try:
        status = stack.zentoria("status", check=True)
        assert "unknown" not in status.out
        assert stack.zentoria("up", "--yes", check=True).code == 0
        assert stack.zentoria("plan", "--detailed-exitcode", check=True).code == 0
    finally:
        slow.unlink()
