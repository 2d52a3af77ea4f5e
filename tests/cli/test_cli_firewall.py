"""``zentoria firewall`` and ``zentoria render firewall``: what they print, and the codes they leave with."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
from typer.testing import CliRunner

from zentoria_infra.cli import context, main
from zentoria_infra.cli.commands import firewall
from zentoria_infra.cli.commands import inventory as inventory_cmd
from zentoria_infra.errors import ExitCode, InventoryError, ZentoriaError
from zentoria_infra.firewall.compiled import compile as compiling
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.site import revision

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a project, as the site without a lab."""
    monkeypatch.delenv("ZENTORIA_SITE", raising=False)

    def command(*arguments: str, root: Path = ROOT) -> click.testing.Result:
        return CliRunner().invoke(main.app, ["--site", "home", "--root", str(root), *arguments])

    return command


def spoiled(inventory: Inventory) -> Compiled:
    """The compiled firewall with the last ACCEPT at the database disabled."""
    made = compiling.compile_firewall(inventory)

    def without(guest: compiling.Guest) -> compiling.Guest:
        if guest.name != "db":
            return guest
        rules = [
            dataclasses.replace(rule, enable=False) if rule.comment.startswith("zt/row-7/") else rule
            for rule in guest.rules
        ]
        return dataclasses.replace(guest, rules=tuple(rules))

    guests = tuple(map(without, made.configuration.guests))
    return dataclasses.replace(made, configuration=dataclasses.replace(made.configuration, guests=guests))


def test_prove_holds_for_the_shipped_inventory(run: Run) -> None:
    answer = run("firewall", "prove")
    assert answer.exit_code == 0
    assert "Proven: the compiled firewall allows what the flows say, and nothing else." in answer.output
    assert "pairs judged" in answer.output and "0 missing, 0 extra" in answer.output
    found = json.loads(run("firewall", "prove", "--json").output)
    assert found["holds"] and found["differences"] == [] and found["pairs"] > 300 and found["intervals"] > 100


def test_prove_names_the_rule_and_the_line_of_a_difference(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "compile_firewall", spoiled)
    answer = run("firewall", "prove")
    assert answer.exit_code == ExitCode.FAILED
    line = next(n for n, text in enumerate((ROOT / "zones.yaml").read_text().splitlines(), 1) if "row: 7" in text)
    assert "missing: backend -> db tcp/5432, tcp/6432" in answer.output
    assert "rule: |IN ACCEPT" in answer.output and "[zt/row-7/backend/db/tcp]" in answer.output
    assert f"said in zones.yaml:{line + 3}:" in answer.output
    assert "NOT proven: the compiled firewall differs from the flows: 1 missing." in answer.output
    found = json.loads(run("firewall", "prove", "--json").output)
    assert not found["holds"]
    (one,) = found["differences"]
    assert (one["kind"], one["vmid"], one["source"], one["destination"]) == ("missing", 404, "backend", "db")
    assert one["at"].startswith(f"zones.yaml:{line + 3}:") and one["rule_position"] is not None


def test_prove_observed_needs_a_node(run: Run) -> None:
    answer = run("firewall", "prove", "--observed")
    assert isinstance(answer.exception, ZentoriaError) and answer.exception.exit_code == ExitCode.UNREACHABLE


def test_trace_names_rule_line_and_reason_at_both_ends(run: Run) -> None:
    answer = run("firewall", "trace", "backend", "db:5432")
    assert answer.exit_code == 0
    line = next(n for n, text in enumerate((ROOT / "zones.yaml").read_text().splitlines(), 1) if "row: 7" in text)
    lines = answer.output.splitlines()
    assert lines[0] == "ALLOWED: backend -> db tcp/5432"
    assert [text for text in lines if text.startswith("  out of backend (401) at net0: allowed by rule ")]
    assert [text for text in lines if text.startswith("  into db (404) at net0: allowed by rule ")]
    assert lines.count(f"      said in zones.yaml:{line + 3}:13") == 2
    assert lines[-1] == f"  why: Database (row 7), zones.yaml:{line + 3}:13"


@pytest.mark.parametrize(
    ("source", "destination", "first"),
    [
        ("docs", "db:5432", "DENIED: docs -> db tcp/5432, at both ends"),
        ("zentoria-n8n", "403:9100", "DENIED: n8n -> vault tcp/9100, at both ends"),
        ("internet", "db:22", "DENIED: internet -> db tcp/22"),
        ("db", "backend/icmp", "DENIED: db -> backend icmp/8.0, at both ends"),
        ("waf", "gateway:53/udp", "ALLOWED: waf -> gateway udp/53"),
        ("backend", "192.0.2.1:443", "ALLOWED: backend -> internet tcp/443"),
        ("10.10.40.1", "db:5432", "ALLOWED: backend -> db tcp/5432"),
        ("backend", "db", "ALLOWED: backend -> db tcp/5432, tcp/6432"),
        ("docs", "db", "DENIED: docs -> db, on every port"),
    ],
)
def test_trace_takes_names_addresses_ports_and_protocols(run: Run, source: str, destination: str, first: str) -> None:
    answer = run("firewall", "trace", source, destination)
    assert answer.output.splitlines()[0] == first
    allowed = first.startswith("ALLOWED")
    assert answer.exit_code == (ExitCode.OK if allowed else ExitCode.FAILED)
    assert ("what is not said is denied" in answer.output) != allowed
    found = json.loads(run("firewall", "trace", source, destination, "--json").output)
    assert found["allowed"] == allowed and bool(found["intents"]) == allowed


def test_trace_says_when_it_is_not_as_the_flows_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "compile_firewall", spoiled)
    answer = run("firewall", "trace", "backend", "db:5432")
    assert answer.exit_code == ExitCode.FAILED
    assert answer.output.splitlines()[0] == "DENIED: backend -> db tcp/5432, into db only"
    assert "is disabled" in answer.output and "NOT as the flows say" in answer.output
    found = json.loads(run("firewall", "trace", "backend", "db:5432", "--json").output)
    assert not found["as_intended"] and [end["allowed"] for end in found["ends"]] == [True, False]


@pytest.mark.parametrize("destination", ["db:", "db:x", "db:5432/", "db 5432", "192.0.2.1", "", "[::1]:80"])
def test_trace_of_what_cannot_be_read_is_a_usage_error(run: Run, destination: str) -> None:
    assert run("firewall", "trace", "backend", destination).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("destination", ["bd:5432", "db:70000", "db/nonsense", "backend:80"])
def test_trace_of_what_is_not_there_says_what_is(run: Run, destination: str) -> None:
    answer = run("firewall", "trace", "backend", destination)
    assert isinstance(answer.exception, ZentoriaError) and answer.exception.exit_code == ExitCode.USAGE
    assert answer.exception.got and answer.exception.todo


def test_parties_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "inventory")
    assert context.complete_party("n") == ["n8n", "node"]
    assert context.complete_party("backe") == ["backend"]


def test_validate_proves_and_counts_the_assertions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = run("validate")
    assert answer.exit_code == 0
    assert "All 9 assertions hold. The firewall is proven: " in answer.output
    monkeypatch.setattr(inventory_cmd, "compile_firewall", spoiled)
    answer = run("validate")
    assert answer.exit_code == ExitCode.INVALID and "NOT proven" in answer.output
    found = json.loads(run("validate", "--json").output)
    assert not found["valid"] and found["problems"][0]["file"] == "zones.yaml"
    assert not found["firewall"]["holds"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("table", "from \\ to"),
        ("md", "| **backend** |"),
        ("csv", "backend,core,db,data,tcp,5432,data,flow,Database,row 7,zones.yaml:"),
        ("svg", '<svg xmlns="http://www.w3.org/2000/svg"'),
        ("json", '"allowed"'),
    ],
)
def test_every_form_of_the_matrix(run: Run, form: str, words: str) -> None:
    answer = run("firewall", "matrix", "--format", form)
    assert answer.exit_code == 0
    assert words in answer.output


def test_the_table_has_every_container_on_both_sides_also_in_a_pipe(run: Run) -> None:
    lines = run("firewall", "matrix").output.splitlines()
    assert len(lines[0].split()) == 3 + 1 + 19
    assert {"proxy", "backend", "waf", "internet"} <= {line.split()[0] for line in lines}


def test_a_narrow_terminal_gets_a_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = run("firewall", "matrix").output.splitlines()
    assert max(map(len, lines)) < 200 and "db 5432,6432" in " ".join(lines)


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *settings, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def change(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


GAIN = (
    "    purpose: Documentation\n",
    "    purpose: Documentation\n  - derived: a new way\n    source: internet\n    destination: proxy\n"
    "    ports: [9100]\n    purpose: Look from outside\n",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The shipped inventory in a folder of a git repository, with one commit."""
    folder = tmp_path / "repository" / "below"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "zones.yaml", folder)
    shutil.copytree(ROOT / "inventory", folder / "inventory")
    git(folder.parent, "init", "-q", "-b", "main")
    git(folder.parent, "add", "-A")
    git(folder.parent, "commit", "-q", "-m", "first")
    git(folder.parent, "tag", "v1")
    return folder


def test_nothing_has_changed(run: Run, project: Path) -> None:
    answer = run("firewall", "diff", root=project)
    assert (answer.exit_code, answer.output) == (0, "No flow gained or lost between HEAD and the work tree.\n")
    assert run("firewall", "diff", "--detailed-exitcode", root=project).exit_code == 0


def test_flows_gained_and_lost_since_the_last_commit(run: Run, project: Path) -> None:
    change(project, "zones.yaml", *GAIN)
    change(project, "zones.yaml", "ports: [80, 443]", "ports: [443]")
    change(project, "zones.yaml", "# Networks, zones", "# Another line\n# Networks, zones")
    answer = run("firewall", "diff", root=project)
    assert answer.exit_code == 0
    gained, lost, totals = answer.output.splitlines()
    assert gained.startswith("+ internet -> proxy 9100/tcp  ") and "(derived: a new way), zones.yaml:" in gained
    assert lost.startswith("- internet -> proxy 80/tcp") and "External access (row 1), zones.yaml:34:13" in lost
    assert totals == "1 gained, 1 lost between HEAD and the work tree."
    assert run("firewall", "diff", "--detailed-exitcode", root=project).exit_code == 2


def test_two_revisions_whatever_the_work_tree_is(run: Run, project: Path) -> None:
    change(project, "inventory/containers/423-waf.yaml", "to: [api.crowdsec.net, ", "to: [")
    git(project, "commit", "-q", "-a", "-m", "second")
    (project / "zones.yaml").write_text("nonsense")
    before = git(project, "status", "--porcelain")
    found = json.loads(run("firewall", "diff", "v1", "main", "--json", root=project).output)
    assert (found["before"], found["after"], found["gained"]) == ("v1", "main", [])
    (lost,) = found["lost"]
    assert (lost["source"], lost["destination"], lost["ports"]) == ("waf", "api.crowdsec.net", ["443"])
    assert lost["at"].startswith("inventory/containers/423-waf.yaml:")
    (back,) = json.loads(run("firewall", "diff", "main", "HEAD~1", "--json", root=project).output)["gained"]
    assert back == lost
    assert git(project, "status", "--porcelain") == before


def test_an_added_container_brings_its_flows(run: Run, project: Path) -> None:
    text = (project / "inventory/containers/418-docs.yaml").read_text()
    text = (
        text.replace("vmid: 418", "vmid: 430").replace("name: docs", "name: wiki").replace("10.10.41.8", "10.10.43.0")
    )
    text = text.replace(", routes: [{path: /docs/, strip: true}]", "")  # the proxy serves no second one
    (project / "inventory/containers/430-wiki.yaml").write_text(text)
    lines = run("firewall", "diff", root=project).output.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "+ logs -> wiki 9100/tcp",
        "+ wiki -> logs 3100/tcp",
        "2 gained, 0 lost between HEAD and the work tree.",
    ]


def test_a_revision_whose_inventory_is_wrong_says_what_is(run: Run, project: Path) -> None:
    change(project, "zones.yaml", "cidr: 10.10.32.0/20", "cidr: wide")
    git(project, "commit", "-q", "-a", "-m", "broken")
    change(project, "zones.yaml", "cidr: wide", "cidr: 10.10.32.0/20")
    answer = run("firewall", "diff", root=project)
    assert isinstance(answer.exception, InventoryError)
    assert "inventory of revision HEAD" in str(answer.exception) and "zones.yaml:7:11: 'cidr'" in str(answer.exception)
    assert answer.exception.exit_code == ExitCode.INVALID


@pytest.mark.parametrize("name", ["nowhere", "--output=x", "-h0", "", "HEAD:zones.yaml", "HEAD\nmain"])
def test_a_revision_that_is_none_is_told(project: Path, name: str) -> None:
    with pytest.raises(ZentoriaError) as caught:
        revision.inventory_at(project, name, "home")
    assert caught.value.exit_code == ExitCode.FAILED
    assert "fatal" in caught.value.got and "git log" in caught.value.todo
    assert not (project / "x").exists()


def test_no_repository_no_inventory_and_no_git(
    run: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "kept").write_text("x")
    git(project, "rm", "-q", "-r", "--cached", "zones.yaml", "inventory")
    git(project, "add", "kept")
    git(project, "commit", "-q", "-m", "no inventory")
    answer = run("firewall", "diff", root=project)
    assert isinstance(answer.exception, ZentoriaError) and "did not match any files" in answer.exception.got
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    shutil.copytree(project, tmp_path / "plain")
    answer = run("firewall", "diff", root=tmp_path / "plain")
    assert isinstance(answer.exception, ZentoriaError) and "not a git repository" in answer.exception.got
    monkeypatch.setenv("PATH", "/nonexistent")
    answer = run("firewall", "diff", root=project)
    assert isinstance(answer.exception, ZentoriaError) and "there is no git" in answer.exception.got


def test_render_prints_every_file_and_writes_them(run: Run, tmp_path: Path) -> None:
    printed = run("render", "firewall").output
    assert printed.startswith("# ===== cluster.fw\n[OPTIONS]\n\nenable: 1\n") and "# ===== 404.fw\n" in printed
    written = run("render", "firewall", "--out", str(tmp_path / "new" / "folder"))
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == sorted(["cluster.fw", *(f"{vmid}.fw" for vmid in VMIDS)])
    assert written.output.splitlines() == [
        str(tmp_path / "new" / "folder" / name) for name in ["cluster.fw", *names[:-1]]
    ]
    assert (tmp_path / "new/folder/404.fw").read_text() in printed


VMIDS = sorted(int(path.name[:3]) for path in (ROOT / "inventory/containers").glob("*.yaml"))


@pytest.mark.parametrize(("form", "words"), [("iptables", "*filter"), ("nft", "table inet")])
def test_render_for_a_gateway(run: Run, form: str, words: str) -> None:
    answer = run("render", "firewall", "--format", form)
    assert answer.exit_code == 0 and words in answer.output and "=====" not in answer.output
    found = json.loads(run("render", "firewall", "--format", form, "--json").output)
    assert list(found["files"].values()) == [answer.output]


@pytest.mark.parametrize(
    "arguments", [["firewall", "matrix", "--format", "png"], ["render", "firewall", "-f", "ufw"], ["firewall", "prov"]]
)
def test_wrong_use_is_a_usage_error(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == ExitCode.USAGE


def test_an_invalid_inventory_is_told_by_every_command(run: Run, project: Path) -> None:
    change(project, "zones.yaml", "source: frontend\n", "source: frontnd\n")
    for arguments in (["prove"], ["matrix"], ["diff"]):
        answer = run("firewall", *arguments, root=project)
        assert isinstance(answer.exception, InventoryError), answer.output
        assert "there is no container 'frontnd'; did you mean 'frontend'?" in str(answer.exception)
