"""A plan as a comment on a pull request: what comes first, what nothing can break out of, and how long it may be."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from zentoria_infra.plan.model.document import (
    Change,
    ContainerDocument,
    Disturbs,
    Kind,
    Origin,
    PlanDocument,
    SharedFirewallDocument,
    Unknown,
)
from zentoria_infra.plan.show.listing import totals
from zentoria_infra.plan.show.markdown import LIMIT, code, fenced, markdown, plain

GITHUB = 65_536
"""Characters in a comment on GitHub, the least of the big forges."""


def change(number: int = 0, vmid: int = 404, **more: Any) -> Change:
    values: dict[str, Any] = {
        "id": f"{vmid}/config/{number}", "vmid": vmid, "container": f"c{vmid}", "action": Kind.UPDATE, "what": "memory",
        "reason": "memory differs", "before": "512", "after": "1024", "where": "inventory/db.yaml:9:11",
    }  # fmt: skip
    return Change.model_validate(values | more)


def plan(*listing: Change, **more: Any) -> PlanDocument:
    containers = [
        ContainerDocument(vmid=vmid, name=f"c{vmid}", node="pve", action="change in place", reason="")
        for vmid in sorted({one.vmid for one in listing} - {0})
    ]
    values = {"changes": bool(listing), "summary": {"change in place": len(containers)}, "containers": containers}
    return PlanDocument(**{**values, "listing": listing, "totals": totals(listing), **more})


READER = MarkdownIt("commonmark").enable("table")
HEADINGS = re.compile(r"Zentoria plan: .*|Problems|Disturbances|Drift: .*|Flows|Unknown|Not Zentoria's, .*")


def read(text: str) -> list[Token]:
    """The text as a reader of CommonMark and tables takes it; fails on HTML, links and headings that are not ours."""
    tokens = READER.parse(text)
    opened = 0
    for number, token in enumerate(tokens):
        if token.type == "html_block":
            for line in filter(None, token.content.split("\n")):
                begin = re.fullmatch("<details><summary>([^<>]*)</summary>", line)
                assert begin or line == "</details>", line
                opened += 1 if begin else -1
                assert opened in (0, 1)
        elif token.type == "heading_open":
            assert HEADINGS.fullmatch(tokens[number + 1].content), tokens[number + 1].content
        for child in token.children or ():
            assert child.type not in ("html_inline", "link_open", "image"), child
    assert opened == 0
    return tokens


def test_an_empty_plan_says_so_in_a_line() -> None:
    text = markdown(PlanDocument(changes=False, summary={"no change": 17}))
    assert text.startswith("## Zentoria plan: no changes\n")
    assert "<details>" not in text


def test_totals_then_disruptions_then_drift_then_folded_containers() -> None:
    worst = change(1, disturbs=Disturbs.REPLACEMENT, action=Kind.REPLACE, blames=("unprivileged",))
    service = change(2, 401, disturbs=Disturbs.SERVICE, units=("nginx.service",), diff="--- a\n+++ b\n-x\n+y")
    drifted = change(3, 410, origin=Origin.DRIFT)
    more = SharedFirewallDocument(lost_flows=("a → b tcp/5432",), gained_flows=("c → d",))
    text = markdown(plan(service, worst, drifted, firewall=more, problems=("the template is missing",)))
    order = [
        "3 changes in 3 containers", "### Problems", "### Disturbances", "replacement of the container",
        "`nginx.service`", "### Drift", "### Flows", "- lost, and its", "<summary>401 c401", "-x\n+y",
        "<summary>404 c404", "<summary>410",
    ]  # fmt: skip
    places = [text.index(one) for one in order]
    assert places == sorted(places), dict(zip(order, places, strict=True))
    assert "forced by `unprivileged`" in text
    assert "`512` → `1024`" in text and "`inventory/db.yaml:9:11`" in text


def test_a_change_is_read_as_what_it_is_about_and_then_its_values() -> None:
    text = markdown(
        plan(change(before="777"), change(1, action=Kind.CREATE, what="net1", before="", after="name=eth1"))
    )
    assert "- **update** `memory`: `777` → `1024` · " in text
    assert "- **create** `net1`: `name=eth1` " in text


def test_what_is_unknown_says_why() -> None:
    text = markdown(plan(unknown=(Unknown(vmid=404, container="db", what="inside", why="ssh is away"),), changes=True))
    assert "### Unknown\n\n- 404 db, inside: ssh is away" in text


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a``b`", "``` a``b` ```"),
        ("a\nb\r\nc", "`a⏎b⏎c`"),
        ("", "(nothing)"),
        ("<b>&", "`<b>&`"),
    ],
)
def test_a_code_span_holds_anything(text: str, span: str) -> None:
    assert code(text) == span


def test_a_pipe_does_not_end_a_cell() -> None:
    text = markdown(plan(change(disturbs=Disturbs.CONTAINER, what="a|b", reason="x|y")))
    row = next(line for line in text.splitlines() if line.startswith("| 404"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5


@pytest.mark.parametrize("text", ["ask @somebody", "see #12", "https://example.org", "WWW.example.org", "@all|"])
def test_nobody_is_mentioned_and_nothing_is_linked(text: str) -> None:
    assert plain(text).startswith("`")


def test_a_diff_cannot_end_its_fence() -> None:
    assert fenced("+```\n+</details>\n+````") == "`````diff\n+```\n+</details>\n+````\n`````"


def test_text_that_runs_backwards_is_made_visible() -> None:
    assert "\u202e" not in markdown(plan(change(before="\u202eevil", diff="+\u202eevil", reason="\u202e\x1b[2J")))


nasty = st.text(
    st.one_of(st.sampled_from("`|<>&*_[]()#@\n\r\\~!-+"), st.characters(blacklist_categories=["Cs"])), max_size=60
) | st.sampled_from(["</details>", "```", "~~~", "<script>", "<!--", "| |", "\n\n# x", "</summary>", "@a", "`" * 9])
changes = st.builds(
    change,
    st.integers(0, 99),
    st.integers(0, 6),
    container=nasty,
    what=nasty,
    reason=nasty,
    before=nasty,
    after=nasty,
    where=nasty,
    unknown=nasty,
    units=st.lists(nasty, max_size=2),
    blames=st.lists(nasty, max_size=2),
    diff=nasty | nasty.map(lambda text: text * 100),
    disturbs=st.sampled_from(Disturbs),
    origin=st.sampled_from(Origin),
    action=st.sampled_from(Kind),
)
plans = st.builds(
    lambda listing, problems, flows, why: plan(
        *listing,
        problems=problems,
        inside_not_run=why,
        unknown=[Unknown(vmid=1, container=why, what=why, why=why)] if why else [],
        firewall=SharedFirewallDocument(lost_flows=flows, gained_flows=flows, foreign=flows),
    ),
    st.lists(changes, max_size=12),
    st.lists(nasty, max_size=5),
    st.lists(nasty, max_size=5),
    nasty,
)


@settings(max_examples=60)
@given(plans, st.sampled_from([2_000, 2_500, 4_000, 10_000, LIMIT]))
def test_no_plan_breaks_out_of_its_frame_or_over_its_limit(document: PlanDocument, limit: int) -> None:
    text = markdown(document, limit=limit)
    assert len(text.encode()) <= limit
    tokens = read(text)
    assert not any(token.type == "code_block" for token in tokens)
    lines = text.split("\n")
    for token in tokens:
        if token.type == "tr_open" and token.map:
            line = lines[token.map[0]]
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


@pytest.mark.parametrize("count", [1, 17, 170, 1_700])
def test_a_plan_of_any_size_fits_and_says_what_was_left_out(count: int) -> None:
    listing = [
        change(number, 400 + number, diff="+x\n" * 200, disturbs=Disturbs.SERVICE, origin=Origin.DRIFT)
        for number in range(count)
    ]
    text = markdown(plan(*listing))
    assert len(text) <= GITHUB
    assert len(text.encode()) <= LIMIT
    assert f"{count} change" in text.splitlines()[0]
    assert ("**Left out**" in text) == (count > 100)
    shown = text.count("<details>")
    if count > 100:
        assert len(text) > LIMIT * 0.7, "the room that there is is used"
        note = text.splitlines()[-1]
        assert "rows of “Drift" in note and f"and {count - shown - 12} more" in note
    else:
        assert shown == count


def test_diffs_go_before_changes_do() -> None:
    big = change(1, 401, diff="+x\n" * 30_000)
    text = markdown(plan(big, change(2, 402, diff="+small")))
    assert "+small" in text
    assert "<summary>401" in text
    assert text.splitlines()[-1].endswith("the diffs of 401 c401. `zentoria plan` shows everything.")


def test_a_limit_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        markdown(plan(), limit=100)


def test_names_that_are_long_in_bytes_do_not_make_the_note_too_long() -> None:
    listing = [change(number, 400 + number, container="\U0001f5a5" * 60, diff="+x\n" * 400) for number in range(90)]
    text = markdown(plan(*listing), limit=4_000)
    assert len(text.encode()) <= 4_000
    assert "**Left out**" in text
