"""``zentoria ci`` and its workflow files: all checks in one command, and no key where a pull request's code runs."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml
import typer.main
import typer.testing

from zentoria_infra.cli import main
from zentoria_infra.cli.commands import ci as ci_cmd
from zentoria_infra.cli.commands.ci import MARK, Check, Forge, Outcome, report_of
from zentoria_infra.plan.show.markdown import LIMIT

ROOT = Path(__file__).resolve().parents[2]
RUNNER = typer.testing.CliRunner()
CHECKS = ["validate", "firewall prove", "render --check", "plan --offline"]
FORGES = list(Forge)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX, f"nothing may be contacted: {address}"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("inventory", "templates", "services"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    shutil.copy(ROOT / "zones.yaml", tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ci(project: Path, *arguments: str) -> tuple[int, str]:
    found = RUNNER.invoke(main.app, ["ci", "--root", str(project), "--site", "lab", *arguments])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.output
    return found.exit_code, found.output


def test_all_checks_pass_and_nothing_is_written_but_the_report(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project / "home"))
    before = contents(project)
    code, text = ci(project, "--report", str(project / "report.md"))
    assert code == 0, text
    assert re.findall(r"^ok +(.+?) +\d+\.\d\d s  \d", text, flags=re.MULTILINE) == CHECKS
    after = contents(project)
    report = after.pop(str(project / "report.md")).decode()
    assert after == before
    assert report.startswith(MARK) and "all checks passed" in report and "## Zentoria plan" in report
    ci(project, "--report", str(project / "again.md"))
    assert (project / "again.md").read_text() == report


def test_every_check_is_run_whatever_the_others_say(project: Path) -> None:
    template = project / "templates/redis/redis.conf"
    template.write_text(template.read_text().replace("{{ port }}", "{{ prot }}"))
    zones = project / "zones.yaml"
    code, text = ci(project, "--json")
    found = json.loads(text)
    assert code == 1 and not found["ok"]
    assert [(one["name"], one["ok"]) for one in found["checks"]] == list(
        zip(CHECKS, (True, True, False, True), strict=True)
    )
    assert any("templates/redis/redis.conf:3" in line for line in found["checks"][2]["details"])
    assert found["plan"]["format"] == "zentoria-plan"
    zones.write_text(zones.read_text().replace("cidr: 10.10.32.0/20", "cidr: wide"))
    code, text = ci(project, "--report", str(project / "report.md"))
    assert code == 1 and text.endswith("FAILED: validate, firewall prove, render --check, plan --offline\n")
    assert "zones.yaml:7:11" in text
    assert "zones.yaml:7:11" in (project / "report.md").read_text()


def test_a_report_is_never_too_long_and_stays_in_its_frame() -> None:
    nasty = "````| @somebody </details> \x1b[0m é" * 90
    checks = [Check(name, Outcome(False, nasty, (nasty,) * 500), 1.0) for name in CHECKS]
    text = report_of(checks, None)
    assert len(text.encode()) < LIMIT
    assert text.count("run `zentoria ci`") == 4
    outside = re.sub(r"^(`{3,})text\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "\x1b" not in text and not [line for line in outside.splitlines() if line.startswith("@")]
    assert len([line for line in outside.splitlines() if line.startswith("|")]) == 2 + len(CHECKS)


def workflow(forge: Forge) -> Any:
    return ruamel.yaml.YAML(typ="safe", pure=True).load((ROOT / f"templates/ci/{forge.value}.yml").read_text())


def jobs(forge: Forge) -> dict[str, Any]:
    found = workflow(forge)
    if forge is Forge.GITLAB:
        known = {"stages", "workflow", "default", "variables", "include"}
        return {name: job for name, job in found.items() if name not in known}
    return dict(found["jobs"])


def scripts(job: dict[str, Any]) -> str:
    lines = [str(step.get("run", "")) for step in job.get("steps", ())]
    return "\n".join([*lines, *map(str, job.get("before_script", ())), *map(str, job.get("script", ()))])


def commands(forge: Forge) -> Iterator[tuple[str, list[str]]]:
    for name, job in jobs(forge).items():
        for found in re.findall(r"bin/zentoria ([^>|\n]+)", scripts(job)):
            yield name, found.split()


@pytest.mark.parametrize("forge", FORGES)
def test_commands_and_options_of_workflows_exist(forge: Forge) -> None:
    root = typer.main.get_command(main.app)
    found = list(commands(forge))
    assert [(name, words[0]) for name, words in found] == [("check", "ci"), ("plan", "plan"), ("apply", "up")]
    for _, words in found:
        assert hasattr(root, "commands")
        command = root.commands[words[0]].loaded
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def secret_names(value: object) -> set[str]:
    return set(re.findall(r"secrets\.(\w+)|(?<!\w)\$?\{?(ZENTORIA_PVE_TOKEN)", json.dumps(value)))


@pytest.mark.parametrize("forge", FORGES)
def test_no_secret_where_the_code_of_a_pull_request_runs(forge: Forge) -> None:
    text = (ROOT / f"templates/ci/{forge.value}.yml").read_text()
    assert "pull_request_target" not in text
    found = jobs(forge)
    for name in ("check", "comment"):
        assert not secret_names(found[name]), name
    if forge is not Forge.GITLAB:
        assert all(not step.get("uses", "").startswith("actions/checkout") for step in found["comment"]["steps"])
        assert "make" not in scripts(found["comment"])
        for name in ("plan", "apply"):
            assert "workflow_dispatch" in found[name]["if"] and "default_branch" in found[name]["if"]
            steps = [step for step in found[name]["steps"] if secret_names(step)]
            assert len(steps) == 1 and "zentoria" in steps[0]["run"], "a secret for one step alone"
    else:
        assert found["comment"]["variables"]["GIT_STRATEGY"] == "none"
        for name in ("plan", "apply"):
            assert all(rule["when"] == "manual" and "DEFAULT_BRANCH" in rule["if"] for rule in found[name]["rules"])
    assert not re.search(r"(echo|cat|printf)[^\n]*TOKEN", text)


@pytest.mark.parametrize("forge", FORGES)
def test_nothing_that_others_wrote_is_put_into_a_script(forge: Forge) -> None:
    for name, job in jobs(forge).items():
        text = scripts(job) + "".join(str(step.get("with", {}).get("script", "")) for step in job.get("steps", ()))
        assert "${{" not in text, name


def test_permissions_are_the_least_and_actions_are_pinned() -> None:
    found = workflow(Forge.GITHUB)
    assert found["permissions"] == {}
    rights = {name: job["permissions"] for name, job in found["jobs"].items()}
    assert rights == {
        "check": {"contents": "read"},
        "comment": {"pull-requests": "write"},
        "plan": {"contents": "read"},
        "apply": {"contents": "read", "actions": "read"},
    }
    for forge in (Forge.GITHUB, Forge.FORGEJO):
        for job in jobs(forge).values():
            for step in job["steps"]:
                if uses := step.get("uses"):
                    assert re.fullmatch(r"(https://code\.forgejo\.org/)?[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", uses)
                    if "checkout" in uses:
                        assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("forge", FORGES)
def test_a_workflow_is_printed_as_it_is(forge: Forge) -> None:
    found = RUNNER.invoke(main.app, ["ci", "--workflow", forge.value, "--root", str(ROOT)])
    assert found.output == (ROOT / f"templates/ci/{forge.value}.yml").read_text()
    assert MARK in found.output


def test_render_has_its_subcommand_and_its_own_options(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = RUNNER.invoke(main.app, ["render", "--root", str(project), "--site", "lab", "--out", str(out), "--json"])
    assert found.exit_code == 0, found.output
    files = json.loads(found.output)["files"]
    assert (out / "proxy/etc/nginx/nginx.conf").is_file()
    assert len(files) == sum(path.is_file() for path in out.rglob("*"))
    assert "stand-in-" in (out / "backend/etc/zentoria/backend/database_password").read_text()
    assert RUNNER.invoke(main.app, ["render", "firewall", "--root", str(project), "--site", "lab"]).exit_code == 0
    wrong = RUNNER.invoke(main.app, ["render", "--check", "firewall"])
    assert wrong.exit_code == 2
    assert RUNNER.invoke(main.app, ["render"]).exit_code == 0


def test_render_check_leaves_with_1_when_a_file_is_wrong(project: Path) -> None:
    unit = project / "templates/base/drop-in.conf"
    unit.write_text(unit.read_text().replace("[Service]", "Service]"))
    found = RUNNER.invoke(main.app, ["render", "--root", str(project), "--site", "lab", "--check"])
    assert found.exit_code == 1
    assert "templates/base/drop-in.conf" in found.output
    assert ci_cmd.WORKFLOWS == "ci"
