"""A site's memory on a lab's node, over real SSH: lock, history, documents, and the commands that show them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer.testing

from tests.lab_daemon.lab_daemon_tools import LabCommand
from zentoria_infra.cli import main
from zentoria_infra.cli.context import connect
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Site
from zentoria_infra.site.run_lock import LockedError, held
from zentoria_infra.site.site_state import SiteState, local_state, site_state

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin") is None or shutil.which("ssh") is None,
    reason="needs OpenSSH's server and client (apt-get install openssh-server openssh-client)",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCommand]:
    found = LabCommand(tmp_path_factory.mktemp("labs"), "t-state")
    found.up("--guests", "none")
    yield found
    found.run("reset", "--yes")
    assert not found.folder.exists()


@pytest.fixture(scope="module")
def site(lab: LabCommand) -> Site:
    return load(ROOT, site="lab", overlay_files=[lab.folder / "site.yaml"]).site


@pytest.fixture(autouse=True)
def fresh(lab: LabCommand) -> None:
    shutil.rmtree(lab.folder / "state", ignore_errors=True)


@pytest.fixture
def state(site: Site) -> Iterator[SiteState]:
    def note(text: str) -> None:
        raise AssertionError(f"the lab's node has the program: {text}")

    with connect(site) as proxmox:
        yield site_state(site, proxmox, note)


def zentoria(lab: LabCommand, *words: str, code: int = 0) -> typer.testing.Result:
    runner = typer.testing.CliRunner(env={"ZENTORIA_LAB_ROOT": str(lab.root)})
    result = runner.invoke(main.app, ["--root", str(ROOT), "--site", f"lab:{lab.name}", *words])
    found = result.exit_code
    if isinstance(result.exception, ZentoriaError):
        found = int(result.exception.exit_code)
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert found == code, (result.output, result.exception)
    return result


def test_a_run_costs_two_round_trips(site: Site) -> None:
    with connect(site) as proxmox:
        state = site_state(site, proxmox, print)
        with held(state, "zentoria up", documents=["applied"]) as lock:
            assert lock.documents == {"applied": None}
            lock.put("applied", bytes(range(256)) * 1000)
        assert proxmox.ssh_round_trips == 2
        assert state.get("applied") == bytes(range(256)) * 1000
        with held(state, "zentoria up", documents=["applied"]) as lock:
            assert lock.documents["applied"] is not None


def test_two_clients_and_one_lock(site: Site, state: SiteState) -> None:
    with connect(site) as other, held(state, "zentoria up --yes"):
        with pytest.raises(LockedError) as caught, held(site_state(site, other, print), "zentoria down"):
            pass
        assert "on node pve" in str(caught.value)
        assert "from 127.0.0.1" in str(caught.value)


def test_eight_clients_at_once(site: Site) -> None:
    def begin(number: int) -> bool:
        with connect(site) as proxmox:
            try:
                site_state(site, proxmox, print).begin(f"{number:012x}", {"who": str(number)}, lease=60)
            except ZentoriaError:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(8))) == 1


def test_the_renewal_does_not_wait_behind_long_installs(site: Site, state: SiteState) -> None:
    with connect(site) as proxmox:
        mine = site_state(site, proxmox, print)
        with held(mine, "zentoria up") as lock:
            ssh = proxmox.ssh
            assert ssh is not None
            channels = [ssh.channel("a long install") for _ in range(8)]
            for channel in channels:
                channel.__enter__()
            mine.renew(lock.id)
            for channel in channels:
                channel.__exit__(None, None, None)


def test_a_client_that_was_killed_is_taken_over_at_once(lab: LabCommand, site: Site, state: SiteState) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from zentoria_infra.cli.context import connect\n"
        "from zentoria_infra.site.run_lock import held\n"
        "from zentoria_infra.site.site_state import site_state\n"
        "from zentoria_infra.inventory.load import load\n"
        "site = load(Path(sys.argv[1]), site='lab', overlay_files=[Path(sys.argv[2])]).site\n"
        "with connect(site) as proxmox, held(site_state(site, proxmox, print), 'zentoria up'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", script, str(ROOT), str(lab.folder / "site.yaml")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n", "the other process has failed: what it wrote is above"
        with pytest.raises(LockedError), held(state, "zentoria up"):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    said: list[str] = []
    with held(state, "zentoria up", say=said.append):
        pass
    assert "whose process has died" in said[0]
    assert [run["outcome"] for run in json.loads(zentoria(lab, "history", "--json").stdout)["runs"]] == ["ok", "died"]


def test_the_history_as_a_table_and_one_run_in_detail(lab: LabCommand, state: SiteState) -> None:
    assert zentoria(lab, "history").stderr == "No runs yet, as node pve remembers.\n"
    change = {
        "id": "404/config/memory", "vmid": 404, "container": "db", "action": "update", "what": "memory",
        "reason": "the inventory says so", "before": "512", "after": "1024\x1b", "disturbs": "container",
        "origin": "drift", "where": "x.yaml:3:1",
    }  # fmt: skip
    plan = {
        "changes": True, "summary": {"create": 1, "no change": 2}, "listing": [change],
        "containers": [
            {"vmid": 404, "name": "db", "node": "pve", "action": "create", "reason": "missing"},
            {"vmid": 403, "name": "cache", "node": "pve", "action": "no change", "reason": ""},
        ],
    }  # fmt: skip
    with held(
        state, "zentoria up --yes", record={"version": "1.2", "inventory": {"commit": "0123456789abcdef"}}
    ) as one:
        one.planned({"plan": {"hash": "cafe", "totals": plan["summary"]}}, plan)
        failure = {"container": "db", "stage": "start", "error": "no \x1b[31mmemory"}
        one.ended({"outcome": "failed", "failures": [failure], "stages": {"done": 1, "failed": 1}})
    with held(state, "zentoria redeploy db") as two:
        pass
    table = [line.rstrip() for line in zentoria(lab, "history").stdout.splitlines()]
    assert table[0] == "Runs, as node pve remembers"
    assert table[2].split()[0] == two.id
    assert table[3].split()[0] == one.id
    assert "failed for db" in table[3]
    assert "create 1" in table[3]
    assert len(zentoria(lab, "history", "-n", "1").stdout.splitlines()) == 3
    detail = zentoria(lab, "history", one.id[:6]).stdout
    assert f"Run {one.id}: zentoria up --yes\n" in detail
    assert "inventory     commit 0123456789ab\n" in detail
    assert "failed        db: start: no ?[31mmemory\n" in detail
    assert (
        "  404 db: create: missing\n    update memory: 512 -> 1024?; disturbs: container; drift (x.yaml:3:1)\n"
    ) in detail
    assert "cache" not in detail
    assert "not kept any more" not in detail
    document = json.loads(zentoria(lab, "history", one.id, "--json").stdout)
    assert (document["outcome"], document["plan_document"]) == ("failed", plan)
    state.note(one.id, {}, [1])
    assert "of another version" in zentoria(lab, "history", one.id).stdout
    assert "no run begins so" in str(zentoria(lab, "history", "0" * 12, code=1).exception)
    zentoria(lab, "history", "db; rm", code=2)


def test_what_this_machine_remembers_from_before_the_node_did(lab: LabCommand, site: Site) -> None:
    with held(local_state(site), "zentoria up --yes"):
        pass
    try:
        assert "remembers 1 more" in zentoria(lab, "history").stderr
        here = json.loads(zentoria(lab, "history", "--here", "--json").stdout)
        assert (here["where"], here["runs"][0]["command"]) == ("this machine", "zentoria up --yes")
    finally:
        shutil.rmtree(site.secrets_path.parent / "state")
    assert zentoria(lab, "history").stderr == "No runs yet, as node pve remembers.\n"


def test_lock_and_unlock(lab: LabCommand, state: SiteState) -> None:
    assert zentoria(lab, "lock").stdout == "Nobody is at work on the site, as node pve remembers.\n"
    assert json.loads(zentoria(lab, "lock", "--json").stdout) == {"where": "node pve", "holder": None}
    assert zentoria(lab, "unlock").stderr == "There is no lock on node pve.\n"
    with held(state, "zentoria up") as lock:
        assert "with `zentoria up` since 20" in zentoria(lab, "lock").stdout
        shown = json.loads(zentoria(lab, "lock", "--json").stdout)["holder"]
        assert (shown["run"], shown["command"], shown["expired"]) == (lock.id, "zentoria up", False)
        refused = zentoria(lab, "unlock", code=5)
        assert "its holder may be at work" in str(refused.exception)
        zentoria(lab, "unlock", "--force", code=5)  # nobody is there to confirm it
        assert state.holder() is not None
        assert "The lock is gone." in zentoria(lab, "unlock", "--force", "--yes").stderr
        assert state.holder() is None
    state.begin("b" * 12, {"who": "bob"}, lease=0.001)
    assert "expired" in zentoria(lab, "lock").stdout
    assert "The lock is gone." in zentoria(lab, "unlock").stderr


def test_a_lock_that_is_damaged_is_told_and_removed(lab: LabCommand, site: Site, state: SiteState) -> None:
    state.put("applied", b"x")
    (lab.folder / "state" / site.id / "lock.json").write_text("garbage")
    with (lab.folder / "state" / site.id / "history.jsonl").open("w") as stream:
        stream.write("garbage\n")
    refused = zentoria(lab, "unlock", code=1)
    assert "lock.json is no lock" in str(refused.exception)
    assert "unlock --force" in str(refused.exception)
    assert "1 line of the history on node pve cannot be read" in zentoria(lab, "history").stderr
    zentoria(lab, "unlock", "--force", "--yes")
    assert state.holder() is None


def test_only_the_program_and_its_words_come_through(lab: LabCommand) -> None:
    for line in (
        "zentoria-state",
        "zentoria-state --site ../x show",
        "zentoria-state --site home show; id",
        "zentoria-state --site home get ../../../etc/shadow",
    ):
        answer = lab.pct(line)
        assert answer.returncode == 64, line
        assert "error" in json.loads(answer.stdout)
    assert lab.pct("/tmp/zentoria-state --site home show").returncode == 255
    assert json.loads(lab.pct("/usr/local/sbin/zentoria-state --site home show").stdout)["held"] is None


def test_a_node_without_ssh_is_remembered_here(site: Site, tmp_path: Path) -> None:
    ssh = site.proxmox.ssh.model_copy(update={"host_key": None})
    alone = site.model_copy(
        update={
            "secrets_file": tmp_path / "site/secrets.json",
            "proxmox": site.proxmox.model_copy(update={"ssh": ssh}),
        }
    )
    said: list[str] = []
    with connect(alone) as proxmox, held(site_state(alone, proxmox, said.append), "zentoria up") as lock:
        assert lock.where == "this machine"
        assert (tmp_path / "site/state" / site.id / "lock.json").exists()
    assert len(said) == 1
    assert local_state(alone).runs().total == 1
    assert (tmp_path / "site").stat().st_mode & 0o777 == 0o700, "secrets come to lie there too"
