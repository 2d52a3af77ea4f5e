"""``zentoria verify firewall``: what it prints of what came out, and its exit code."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.testing

from zentoria_infra.cli import main
from zentoria_infra.cli.commands import verify as verify_cmd
from zentoria_infra.errors import ApiError
from zentoria_infra.execute.look.verify_firewall import Reality
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.probe.probes import Probe, ProbeKind, ProbePlan
from zentoria_infra.firewall.probe.verdicts import Judged, Verdict
from zentoria_infra.inventory.load import load

ROOT = Path(__file__).resolve().parents[2]
Judge = Callable[[Probe], Judged]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., typer.testing.Result]]:
    """Runs the command in a world where probes come out as a function says, on a node with the compiled rules."""
    inventory = load(ROOT, site="lab")
    node = SimpleNamespace(has_ssh=True)
    monkeypatch.setattr(verify_cmd, "inventory_of", lambda *_: inventory)
    monkeypatch.setattr(verify_cmd, "connect", lambda site: contextlib.nullcontext(node))
    whole = SimpleNamespace(configuration=compile_firewall(inventory).configuration)
    monkeypatch.setattr(verify_cmd, "observe_whole", lambda *_: whole)

    def run(*arguments: str, judge: Judge = fine, absent: dict[str, str] | None = None, ssh: bool = True) -> Any:
        node.has_ssh = ssh

        def verified(proxmox: object, inventory: object, plan: ProbePlan, heard: object) -> Reality:
            judged = tuple(judge(probe) for probe in plan.probes if probe.kind is not ProbeKind.CONTROL)
            return Reality(plan, judged, absent or {}, 4.2)

        monkeypatch.setattr(verify_cmd, "verify_firewall", verified)
        return typer.testing.CliRunner().invoke(main.app, ["verify", "firewall", *arguments])

    yield run


def fine(probe: Probe) -> Judged:
    return Judged(probe, Verdict.AS_DECLARED, "silent")


def one_open(probe: Probe) -> Judged:
    if (probe.kind, probe.source, probe.target) == (ProbeKind.UNDECLARED, "ai", "vault"):
        return Judged(probe, Verdict.OPEN, "connected")
    return fine(probe)


def test_all_as_declared(verify: Callable[..., typer.testing.Result]) -> None:
    run = verify()
    assert run.exit_code == 0, run.output
    lines = run.stdout.splitlines()
    assert lines[-1].startswith("All as declared: ")
    assert lines[-1].endswith(" probes in 17 containers, 4.2 s.")
    assert "!" not in "".join(lines[:18])
    # backend reaches two ports of db.
    row = next(line.split() for line in lines if line.startswith("401 backend"))
    assert row[2:] == ["·", "1", "1", "2", "2", "1", "1", "·", "1", "1", "2", "2", "·", "·", "2", "·"]
    assert any(
        line.split()[:3] == ["forged", str(count(lines, "forged")), str(count(lines, "forged"))] for line in lines
    )


def count(lines: list[str], kind: str) -> int:
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def test_a_mismatch_shows_the_pair_the_rules_and_leaves_with_one(verify: Callable[..., typer.testing.Result]) -> None:
    run = verify(judge=one_open)
    assert run.exit_code == 1
    lines = run.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("ai -> vault tcp 80, tcp 443"))
    assert lines[at].endswith(": undeclared but open (connected)")
    assert " more" in lines[at]
    # The node has the very rules that are compiled, and yet it was open.
    assert lines[at + 1].startswith("    on the node: out of ai: denied by rule 1 of group zt-lab_deny (zt/deny/out)")
    assert "its rules say otherwise" in lines[at + 3]
    assert lines[at + 4].startswith("    as declared: out of ai: denied by rule 1 of group zt-lab_deny (zt/deny/out)")
    assert lines[-1].startswith("NOT as declared: ")
    assert any("!" in line for line in lines if line.startswith("405 ai"))


def test_json_has_everything(verify: Callable[..., typer.testing.Result]) -> None:
    run = verify("--json", "--seed", "7", "--sample", "200", judge=one_open, absent={"waf": "it is stopped"})
    assert run.exit_code == 1
    told = json.loads(run.stdout)
    assert (told["as_declared"], told["seed"], told["sample"], told["absent"]) == (
        False,
        7,
        200,
        {"waf": "it is stopped"},
    )
    assert told["counts"]["undeclared"]["tried"] == 17 * 200
    assert told["counts"]["undeclared"]["undeclared but open"] == len(told["mismatches"]) > 0
    for one in told["mismatches"]:
        assert (one["source"], one["target"], one["address"], one["why"]) == ("ai", "vault", "10.10.40.3", "connected")
        assert len(one["rules"]) == 5
    assert [one["key"] for one in told["not_tried"]] == ["zt/row-1/internet/proxy/tcp"]


def test_a_container_that_took_no_part_is_named_and_is_no_success(verify: Callable[..., typer.testing.Result]) -> None:
    run = verify(absent={"waf": "it is stopped: `zentoria up` starts it"})
    assert run.exit_code == 1
    assert "waf takes no part: it is stopped: `zentoria up` starts it" in run.stdout
    assert "0 mismatches, 1 containers took no part" in run.stdout.splitlines()[-1]


def test_names_limit_what_is_tried(verify: Callable[..., typer.testing.Result]) -> None:
    told = json.loads(verify("--json", "db", "404", judge=lambda p: Judged(p, Verdict.UNJUDGED, "x")).stdout)
    others = [one for one in told["not_judged"] if "db" not in (one["source"], one["target"])]
    assert {one["target"] for one in others} == {"internet"}
    assert len(others) == 1
    assert verify("nobody").exit_code != 0


def test_a_node_whose_firewall_cannot_be_read_still_has_a_result(
    verify: Callable[..., typer.testing.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ApiError("read the datacenter's firewall", got="403 Permission check failed", todo="Sys.Audit")

    monkeypatch.setattr(verify_cmd, "observe_whole", refused)
    run = verify(judge=one_open)
    assert run.exit_code == 1
    assert (
        "the node's firewall cannot be read: read the datacenter's firewall: 403 Permission check failed" in run.stdout
    )
    assert "as declared: out of ai: denied by" in run.stdout


def test_without_a_way_into_the_containers_nothing_is_tried(verify: Callable[..., typer.testing.Result]) -> None:
    run = verify(ssh=False)
    assert run.exit_code != 0
    assert run.exception is not None
    assert "nothing can be run in its containers" in str(run.exception)
    assert "proxmox.ssh" in str(run.exception)
