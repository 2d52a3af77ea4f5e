"""A plan as Markdown for a comment on a pull request: totals, what is disturbed, then each container folded. Pure.

The text is GitHub Flavored Markdown, which Forgejo and GitLab read too. Whatever comes from the world or the inventory
is put in code spans or escaped: it cannot break out of a table, a fence or a folded part, and nobody is mentioned.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from zentoria_infra.plan.model.document import (
    Change,
    ContainerDocument,
    Disturbs,
    Kind,
    Origin,
    OrphanDocument,
    PlanDocument,
    Unknown,
)

LIMIT = 65_000
"""Bytes. GitHub takes 65,536 characters in a comment, GitLab 1,000,000; no character is less than a byte of UTF-8."""

_RESERVED = 900
"""Bytes kept for the note on what was left out."""
_LONGEST = 240
"""Characters of one value that are shown."""
_LEAST = 150
"""Bytes that the smallest folded part takes."""
_MOST_NAMES = 12
_TELLING = 8
"""Characters from which on a value is a rule or the like, and not a number that may be in any sentence."""
_Item = TypeVar("_Item")

_WORDS = {
    Disturbs.NONE: "nothing",
    Disturbs.RELOAD: "reload of a service",
    Disturbs.SERVICE: "restart of a service",
    Disturbs.CONTAINER: "restart of the container",
    Disturbs.REPLACEMENT: "**replacement of the container**",
}
_ORDER = list(Disturbs)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&$]")
_LEADING = re.compile(r"[#+=-]|\d+[.)]")
"""What begins a block where a line's text begins: a heading, a list, a rule."""
_CALLS = re.compile(r"@|#\d|https?:|www\.", re.IGNORECASE)
"""What a forge turns into a mention, a reference or a link."""


def markdown(document: PlanDocument, *, limit: int = LIMIT, title: str = "Zentoria plan") -> str:
    """The plan as Markdown of at most ``limit`` bytes; a note says what was left out for it.

    Raises:
        ValueError: less than 2,000 bytes: not even totals and the note would fit.
    """
    if limit < 2 * _RESERVED + 200:
        raise ValueError(f"a limit of {limit} bytes leaves no room for a plan")
    page = _Page(limit)
    page.must(f"## {plain(title)}: {_headline(document)}\n\n{_totals(document)}")
    page.rows("Problems", "", document.problems, lambda one: f"- {plain(one)}", 6)
    hidden = [one for one in document.listing if one.hides]
    page.rows("Data out of sight, needs --allow data", "", hidden, _hides, 4)
    worst = sorted((c for c in document.listing if c.disturbs is not Disturbs.NONE), key=_badness)
    table = "| container | change | disturbs | why |\n|---|---|---|---|\n"
    page.rows("Disturbances", table, worst, _disturbance, 3)
    drift = [one for one in document.listing if one.origin is Origin.DRIFT]
    page.rows("Drift: changed outside Zentoria, and put back", "", drift, lambda one: _line(one, name=True), 6)
    flows = [("lost, and its open connections are cut", one) for one in document.firewall.lost_flows]
    flows += [("gained", one) for one in document.firewall.gained_flows]
    page.rows("Flows", "", flows, lambda one: f"- {one[0]}: {code(one[1])}", 6)
    page.rows("Unknown", "", document.unknown, _unknown, 8)
    page.rows("Not Zentoria's, left as it is", "", document.firewall.foreign, lambda one: f"- {code(one)}", 8)
    page.rows("Orphans: the site's containers that the inventory does not have", "", document.orphans, _orphan, 8)
    by_vmid: dict[int, list[Change]] = {}
    for change in document.listing:
        by_vmid.setdefault(change.vmid, []).append(change)
    containers = {one.vmid: one for one in document.containers}
    for vmid, changes in by_vmid.items():
        name = f"{vmid} {changes[0].container}" if vmid else changes[0].container
        page.folded(None if page.is_full else _folds(changes, containers.get(vmid)), name)
    return page.text()


def code(text: str, *, table: bool = False) -> str:
    """Text as a code span on one line, whatever backticks, pipes or HTML are in it."""
    line = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n")).replace("\n", "⏎").replace("\t", " ")
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    if not line.strip():
        return "(nothing)"
    ticks = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith(("`", " ")) or line.endswith(("`", " ")) else ""
    span = f"{ticks}{padding}{line}{padding}{ticks}"
    # A table's cells are cut at pipes before code spans are looked for, and a backslash takes a pipe back.
    return span.replace("|", r"\|") if table else span


def plain(text: str, *, table: bool = False) -> str:
    """Text that is read as it stands; in a code span where a forge would make a mention or a link of it."""
    if _CALLS.search(text):
        return code(text, table=table)
    line = _CONTROL.sub("\ufffd", text).replace("\n", " ").replace("\t", " ")
    if len(line) > 2 * _LONGEST:
        line = f"{line[: 2 * _LONGEST]}…"
    line = _SPECIAL.sub(lambda found: f"\\{found[0]}", line.strip())
    if lead := _LEADING.match(line):
        return f"{line[: lead.end() - 1]}\\{line[lead.end() - 1 :]}"
    return line


def fenced(text: str, language: str = "diff") -> str:
    """Text as a fenced block that nothing in it can end."""
    clean = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")).strip("\n")
    ticks = "`" * max(3, _longest_run(clean) + 1)
    return f"{ticks}{language}\n{clean}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


@dataclasses.dataclass(frozen=True)
class _Fold:
    """One container: its title, the lines of its changes, and their diffs."""

    title: str
    lines: Sequence[tuple[str, str]]
    end: str

    def text(self, *, diffs: bool) -> str:
        body = "\n".join(f"{line}\n\n{diff}\n" if diff and diffs else line for line, diff in self.lines)
        tail = f"\n\n{self.end}" if self.end else ""
        return f"<details><summary>{self.title}</summary>\n\n{body}{tail}\n\n</details>"


class _Page:
    """Collects parts as long as there is room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[str] = []
        self._used = 0
        self._left: list[str] = []
        self._no_diffs: list[str] = []
        self._gone: list[str] = []

    def must(self, text: str) -> None:
        """Add what comes first, and is short."""
        self._parts.append(text)
        self._used += _size(text)

    def _room(self) -> int:
        return self._limit - _RESERVED - self._used

    @property
    def is_full(self) -> bool:
        """Whether not even a small part fits any more."""
        return self._room() < _LEAST

    def rows(self, title: str, head: str, items: Sequence[_Item], row: Callable[[_Item], str], share: int) -> None:
        """Add a row for each item under a heading: as many as fit in one ``share`` of the page."""
        if not items:
            return
        begin = f"### {title}\n\n{head}"
        room = min(self._limit // share, self._room()) - _size(begin)
        shown: list[str] = []
        for text in map(row, items):
            room -= _size(text) - 1 if shown else _size(text)
            if room < 0:
                break
            shown.append(text)
        if shown:
            self.must(begin + "\n".join(shown))
        if len(shown) < len(items):
            self._left.append(f"{len(items) - len(shown)} of {len(items)} rows of “{title}”")

    def folded(self, fold: _Fold | None, name: str) -> None:
        """Add a folded part, without its diffs where there is no room for them; None is one that cannot fit."""
        for diffs in (True, False) if fold is not None else ():
            text = fold.text(diffs=diffs) if fold is not None else ""
            if _size(text) <= self._room():
                self.must(text)
                if not diffs:
                    self._no_diffs.append(name)
                return
        self._gone.append(name)

    def text(self) -> str:
        """The whole page, with a note on what was left out."""
        notes = (self._note(most) for most in (_MOST_NAMES, 3, 0))
        note = next(note for note in notes if _size(note) <= _RESERVED)
        return "\n\n".join([*self._parts, *([note] if note else [])]) + "\n"

    def _note(self, most: int) -> str:
        left = [*self._left]
        left += [f"the diffs of {_names(self._no_diffs, most)}"] if self._no_diffs else []
        left += [f"all changes of {_names(self._gone, most)}"] if self._gone else []
        words = "; ".join(left)
        return (
            f"> **Left out**, since a comment has its limit: {words}. `zentoria plan` shows everything." if left else ""
        )


def _size(text: str) -> int:
    """Bytes, with the empty line after it."""
    return len(text.encode("utf-8", "replace")) + 2


def _names(names: Sequence[str], most: int) -> str:
    if not most:
        return _count(len(names), "container")
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(plain(name[:24]) for name in names[:most]) + more


def _headline(document: PlanDocument) -> str:
    totals = document.totals
    if not document.changes and not document.problems:
        return "no changes"
    if not totals.changes:
        return "cannot be carried out" if document.problems else "no changes, but something to look at"
    return f"{_count(totals.changes, 'change')} in {_count(totals.containers, 'container')}"


def _totals(document: PlanDocument) -> str:
    totals = document.totals
    worst = [
        _count(totals.replacement, "change") + " by **replacing** the container" if totals.replacement else "",
        f"{_count(totals.container, 'container restart')}" if totals.container else "",
        f"{_count(totals.service, 'change')} with a restart of services" if totals.service else "",
        f"{_count(totals.reload, 'change')} with a reload of services" if totals.reload else "",
        f"{totals.none} that disturb nothing" if totals.none else "",
    ]
    origins = [
        f"{totals.intent} asked for by the inventory" if totals.intent else "",
        f"{totals.drift} drifted" if totals.drift else "",
        f"{totals.unknown} of unknown origin" if totals.unknown and totals.unknown < totals.changes else "",
    ]
    rows = ["; ".join(filter(None, worst)), "; ".join(filter(None, origins))]
    rows.append(", ".join(f"{number} {plain(action)}" for action, number in list(document.summary.items())[:12]))
    if document.inside_not_run:
        rows.append(f"Not run inside the containers: {plain(document.inside_not_run)}")
    return "\n".join(f"- {row}" for row in rows if row) or "- nothing to do"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _badness(change: Change) -> tuple[int, int]:
    return -_ORDER.index(change.disturbs), change.vmid


def _disturbance(change: Change) -> str:
    units = f" ({', '.join(code(unit, table=True) for unit in change.units)})" if change.units else ""
    blame = f" forced by {', '.join(code(key, table=True) for key in change.blames)}" if change.blames else ""
    cells = (
        _name(change.vmid, change.container, table=True),
        f"{change.action} {code(change.what, table=True)}",
        f"{_WORDS[change.disturbs]}{units}{blame}",
        code(change.reason, table=True) + (f" {code(change.where, table=True)}" if change.where else ""),
    )
    return f"| {' | '.join(cells)} |"


def _name(vmid: int, container: str, *, table: bool = False) -> str:
    return f"{vmid} {plain(container, table=table)}" if vmid else plain(container, table=table)


def _hides(change: Change) -> str:
    return f"- **{_name(change.vmid, change.container)}**: {plain(change.hides)}"


def _unknown(one: Unknown) -> str:
    return f"- {_name(one.vmid, one.container)}, {plain(one.what)}: {plain(one.why)}"


def _orphan(one: OrphanDocument) -> str:
    state = "runs" if one.running else "does not run"
    has = f", has {', '.join(map(code, one.addresses))}" if one.addresses else ""
    end = "**destroyed**" if one.destroyed else f"left as it is ({code(f'zentoria down {one.vmid}')} destroys it)"
    if one.parked_for:
        has, end = f"{has}, holds the data of {one.parked_for}", "left as it is (`zentoria up` with its file back)"
    data = f" with {', '.join(map(code, one.volumes))}" if one.destroyed and one.volumes else ""
    return f"- {_name(one.vmid, one.name)} {state}{has}: {end}{data}"


def _says_no_more(change: Change) -> bool:
    """Whether the reason says what the line has said already."""
    if change.reason in (f"{change.what} is missing", f"{change.what} differs"):
        return True
    return any(len(text) > _TELLING and text in change.reason for text in (change.before, change.after))


def _line(change: Change, *, name: bool = False) -> str:
    head = f"{_name(change.vmid, change.container)}: " if name else ""
    words = [f"- {head}**{change.action}** {code(change.what)}"]
    if {change.before, change.after} - {"", change.what}:
        words[0] += ":"
        if change.action is Kind.CREATE and not change.before:
            words.append(code(change.after))
        else:
            words.append(f"{code(change.before)} → {code(change.after)}")
    if not _says_no_more(change):
        words.append(f"— {plain(change.reason)}")
    if change.hides:
        words.append(f"· **data out of sight**: {plain(change.hides)}")
    if change.unknown:
        words.append(f"**unknown**: {plain(change.unknown)}")
    if change.disturbs is not Disturbs.NONE:
        words.append(f"· {_WORDS[change.disturbs]}" + "".join(f" {code(unit)}" for unit in change.units))
    if change.blames:
        words.append(f"· **forces the replacement**: {', '.join(map(code, change.blames))}")
    if change.origin is Origin.DRIFT and not name:
        words.append("· drift")
    if change.where:
        words.append(f"· {code(change.where)}")
    return " ".join(words)


def _folds(changes: Sequence[Change], container: ContainerDocument | None) -> _Fold:
    first = changes[0]
    worst = max((one.disturbs for one in changes), key=_ORDER.index)
    action = f": {container.action}" if container is not None else ""
    title = f"{first.vmid or ''} {first.container}{action}, {_count(len(changes), 'change')}".strip()
    if worst is not Disturbs.NONE:
        title += f", {_WORDS[worst].strip('*')}"
    lines = [(_line(one), fenced(one.diff) if one.diff else "") for one in changes]
    return _Fold(
        html.escape(_CONTROL.sub("\ufffd", title[:_LONGEST]).replace("\n", " ")),
        lines,
        "\n".join(_end(changes, container)),
    )


def _end(changes: Iterable[Change], container: ContainerDocument | None) -> Iterator[str]:
    if container is not None and container.steps:
        yield f"Steps: {' → '.join(map(code, container.steps))}\n"
    needs = {(need.path, need.privilege) for change in changes for need in change.privileges}
    by_path: dict[str, list[str]] = {}
    for path, privilege in sorted(needs):
        by_path.setdefault(path, []).append(privilege)
    if by_path:
        yield "Needs " + "; ".join(f"{code(' '.join(names))} on {code(path)}" for path, names in by_path.items())
