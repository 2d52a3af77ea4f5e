"""``zentoria ci``: all that can be said of a change without a node, without a network and without keys."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.commands.observe import state_from
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_offline, project_root
from zentoria_infra.cli.firewall_words import proof_lines
from zentoria_infra.errors import ExitCode, InventoryError, ZentoriaError
from zentoria_infra.execute.offline import plan_offline
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.show.document import PlanDocument, document
from zentoria_infra.plan.show.markdown import LIMIT, code, fenced, markdown
from zentoria_infra.render.check import Level, check_tree, say
from zentoria_infra.render.tree import WORKFLOWS, render_tree
from zentoria_infra.roles.kit.rendering import FOLDER

MARK = "<!-- zentoria-ci -->"
"""First line of the report: a workflow finds its own comment by it, and puts the new one in its place."""
_LINES = 40
"""Lines of a failed check that go into the report."""
_WIDTH = 300
_BYTES = 6000


class Forge(enum.StrEnum):
    """Where a workflow file is for."""

    GITHUB = "github"
    FORGEJO = "forgejo"
    GITLAB = "gitlab"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found: in one line, and in more when it failed."""

    good: bool
    summary: str
    details: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One check that was run."""

    name: str
    outcome: Outcome
    seconds: float


def ci(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write what came out as Markdown, for a comment."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Plan against what `zentoria observe --out FILE` wrote."),
    ] = None,
    workflow: Annotated[
        Forge | None, typer.Option("--workflow", help="Print a ready workflow file for a forge, and check nothing.")
    ] = None,
) -> None:
    """Check the project as CI does: validate, firewall prove, render --check, plan --offline.

    No network, no keys and no node are needed. Every check is run, whatever the others say; leaves with 1 when one
    of them failed.
    """
    if workflow is not None:
        output.text(_workflow(project_root(context, root), workflow))
        return
    run = _Run(lambda: inventory_offline(context, root, site), state)
    checks: list[Check] = []
    for check in run.checks():
        checks.append(check)
        if not as_json:
            output.lines(_told(check))
    good = all(one.outcome.good for one in checks)
    if report is not None:
        output.save(str(report), report_of(checks, run.plan).encode())
    if as_json:
        output.document(_data(checks, good, run.plan))
    else:
        failed = ", ".join(one.name for one in checks if not one.outcome.good)
        output.lines(["All checks passed." if good else f"FAILED: {failed}"])
    if not good:
        raise typer.Exit(ExitCode.FAILED)


class _Run:
    """The checks, in order; what one finds the next ones use."""

    def __init__(self, read: Callable[[], Inventory], state: Path | None) -> None:
        self._read = read
        self._state = state
        self._inventory: Inventory | None = None
        self.plan: PlanDocument | None = None

    def checks(self) -> Iterator[Check]:
        """Run all checks."""
        steps: tuple[tuple[str, Callable[[], Outcome]], ...] = (
            ("validate", self._validate),
            ("firewall prove", self._prove),
            ("render --check", self._render),
            ("plan --offline", self._plan),
        )
        for name, step in steps:
            begun = time.monotonic()
            try:
                outcome = step()
            except ZentoriaError as error:
                outcome = Outcome(False, error.tried, tuple(str(error).splitlines()))
            except OSError as error:
                words = f"{error.filename or 'this machine'}: {error.strerror or error}"
                outcome = Outcome(False, words)
            yield Check(name, outcome, time.monotonic() - begun)

    def _of(self) -> Inventory:
        if self._inventory is None:
            raise InventoryError("check this", got="the inventory cannot be read", todo="see `validate`")
        return self._inventory

    def _validate(self) -> Outcome:
        self._inventory = found = self._read()
        counts = f"{len(found.containers)} containers, {len(found.flows)} flows"
        return Outcome(True, f"{counts}, {len(found.assertions)} assertions hold")

    def _prove(self) -> Outcome:
        inventory = self._of()
        proof = prove(compile_firewall(inventory), parties_of(inventory))
        *details, total = proof_lines(proof, "the compiled firewall")
        if proof.holds:
            return Outcome(True, total)
        return Outcome(False, f"{len(proof.differences)} differences", (*details, total))

    def _render(self) -> Outcome:
        tree = render_tree(self._of())
        checked = check_tree(tree)
        counts = {level: sum(one.level is level for one in checked) for level in Level}
        words = ", ".join(f"{number} {level.value}" for level, number in counts.items() if number)
        good = not tree.errors and not counts[Level.FAILED]
        lines = tuple(line for error in tree.errors for line in error.splitlines())
        return Outcome(good, f"{len(checked)} files: {words}", () if good else (*lines, *say(checked)))

    def _plan(self) -> Outcome:
        state = state_from(self._state) if self._state is not None else None
        found, stages, basis = plan_offline(self._of(), state, str(self._state or ""))
        self.plan = document(found, stages, basis)
        refused = [f"{one.vmid} {one.name}: {one.reason}" for one in found.refused]
        words = f"{len(self.plan.listing)} changes in {len(self.plan.containers)} containers, {len(stages)} stages"
        bad = (*found.problems, *refused)
        return Outcome(not bad, words, bad)


def _told(check: Check) -> Iterator[str]:
    word = "ok    " if check.outcome.good else "FAILED"
    yield f"{word} {check.name:15} {check.seconds:6.2f} s  {check.outcome.summary}"
    if not check.outcome.good:
        yield from (f"       {line}" for line in check.outcome.details)


def _data(checks: Sequence[Check], good: bool, plan: PlanDocument | None) -> dict[str, Any]:
    return {
        "ok": good,
        "checks": [
            {
                "name": one.name,
                "ok": one.outcome.good,
                "seconds": round(one.seconds, 3),
                "summary": one.outcome.summary,
                "details": list(one.outcome.details),
            }
            for one in checks
        ],
        "plan": plan.model_dump(mode="json") if plan is not None else None,
    }


def report_of(checks: Sequence[Check], plan: PlanDocument | None) -> str:
    """The Markdown of a pull request's comment: a row a check, what failed, and the plan as far as there is room.

    Without times: equal projects give equal bytes, and a comment that says nothing new is not written anew.
    """
    good = all(one.outcome.good for one in checks)
    head = [
        MARK,
        f"## Zentoria CI: {'all checks passed' if good else 'FAILED'}",
        "",
        "| check | result | |",
        "|---|---|---|",
    ]
    for one in checks:
        word = "passed" if one.outcome.good else "**failed**"
        head += [f"| `{one.name}` | {word} | {code(one.outcome.summary, table=True)} |"]
    for one in checks:
        if not one.outcome.good:
            head += ["", f"### `{one.name}`", "", _details(one.outcome)]
    text = "\n".join(head) + "\n"
    if plan is None:
        return text
    return f"{text}\n{markdown(plan, limit=LIMIT - len(text.encode()))}"


def _details(outcome: Outcome) -> str:
    """What a failed check said, in a fence that it cannot leave, and not too long for a comment."""
    lines = [line[:_WIDTH] for line in (outcome.details or (outcome.summary,))]
    shown = "\n".join(lines[:_LINES]).encode()[:_BYTES].decode(errors="ignore")
    left = len(lines) - shown.count("\n") - 1
    return fenced(f"{shown}\n... and {left} lines more: run `zentoria ci`" if left > 0 else shown, "text")


def _workflow(root: Path, forge: Forge) -> str:
    file = root / FOLDER / WORKFLOWS / f"{forge.value}.yml"
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InventoryError(
            "print a workflow file",
            on=str(file),
            got=error.strerror or str(error),
            todo="take it from Zentoria's own repository, templates/ci",
        ) from None
