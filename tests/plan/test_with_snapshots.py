"""Snapshots around the changes of a plan."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import pytest

from zentoria_infra.plan.model import snapshots
from zentoria_infra.plan.model.change import AttributeChange
from zentoria_infra.plan.model.snapshots import Snapshot
from zentoria_infra.plan.stages.one_first import one_first
from zentoria_infra.plan.stages.types import (
    AnyStage,
    CloseSources,
    Configure,
    Converge,
    Create,
    CutConnections,
    DropSnapshots,
    GainFlows,
    GoBack,
    LoseFlows,
    MoveStorage,
    OpenSources,
    Restart,
)
from zentoria_infra.plan.stages.types import Snapshot as SnapshotStage
from zentoria_infra.plan.stages.with_snapshots import Ways, changed_in_place, with_snapshots

NAME = "zentoria-20261125-223100"
MEMORY = AttributeChange("memory", "512", "1024")


def proxy(vmid: int = 408) -> list[AnyStage]:
    return [
        GainFlows(vmid, "proxy", f"{vmid}:firewall", (), ()),
        Configure(vmid, "proxy", f"{vmid}:configure", (f"{vmid}:firewall",), (MEMORY,), "d1gest"),
        Restart(vmid, "proxy", f"{vmid}:restart", (f"{vmid}:configure",)),
        Converge(vmid, "proxy", f"{vmid}:converge", (f"{vmid}:restart",)),
    ]


def protected(stages: list[AnyStage], **more: object) -> tuple[AnyStage, ...]:
    changed = changed_in_place(stages)
    ways = Ways(changed, able=frozenset(changed), **more)
    return with_snapshots(stages, ways, NAME, dict.fromkeys(changed, "why"))


def test_it_comes_before_the_first_change_and_takes_its_digest_over() -> None:
    lose = LoseFlows(408, "proxy", "408:lose", ("408:firewall", "408:configure", "408:restart", "408:converge"), ())
    found = {one.id: one for one in protected([*proxy(), lose])}
    assert list(found) == [
        "408:firewall", "408:snapshot", "408:configure", "408:restart", "408:converge", "408:back",
        "408:old-snapshots", "408:lose",
    ]  # fmt: skip
    taken, configure, back = found["408:snapshot"], found["408:configure"], found["408:back"]
    assert taken == SnapshotStage(408, "proxy", "408:snapshot", ("408:firewall",), NAME, "why", "d1gest")
    assert configure.after == ("408:firewall", "408:snapshot")
    assert configure.digest == "", "the snapshot makes a new one"
    assert found["408:old-snapshots"] == DropSnapshots(408, "proxy", "408:old-snapshots", ("408:converge",), keep=2)
    assert back == GoBack(408, "proxy", "408:back", ("408:restart", "408:converge"), NAME, after_failure=True)
    assert "408:back" in found["408:lose"].after, "what comes at the end comes after the way back"


def test_package_sources_are_seen_to_be_closed_after_the_way_back() -> None:
    """That is a restart; they are looked at from inside."""
    opens, close = OpenSources(408, "proxy", "408:open-sources", ("408:restart",), ()), "408:close-sources"
    *before, converge = proxy()
    stages = [
        *before,
        opens,
        dataclasses.replace(converge, after=(opens.id,)),
        CloseSources(408, "proxy", close, (converge.id,), (), (), (opens.id, converge.id)),
    ]
    found = {one.id: one for one in protected(stages)}
    assert list(found)[-5:] == ["408:open-sources", "408:converge", "408:back", "408:old-snapshots", close]
    assert found[close].after == ("408:converge", "408:back")
    assert found["408:back"].after == ("408:restart", "408:converge")


@pytest.mark.parametrize("more", [{"data": {408: "mp0"}}, {"released": frozenset({408})}])
def test_what_has_data_or_releases_does_not_go_back_by_itself(more: dict[str, object]) -> None:
    found = protected(proxy(), **more)
    assert [one.id for one in found if isinstance(one, SnapshotStage | GoBack)] == ["408:snapshot"]


def test_what_is_made_anew_or_moves_a_volume_gets_none() -> None:
    desired: object = None
    anew = [Create(401, "api", "401:create", (), desired), Converge(401, "api", "401:converge", ("401:create",))]
    moves = [MoveStorage(404, "db", "404:move", (), MEMORY), Converge(404, "db", "404:converge", ("404:move",))]
    assert protected([*anew, *moves]) == (*anew, *moves)
    assert protected([Restart(404, "db", "404:restart", ())]) == (Restart(404, "db", "404:restart", ()),)


def test_of_a_group_the_rest_waits_for_what_was_to_be_done_and_not_for_the_way_back() -> None:
    cut = CutConnections(0, "datacenter", "cut", (), ())
    found = {one.id: one for one in one_first(protected([*proxy(408), *proxy(409), cut]), ())}
    assert "408:old-snapshots" in found["409:snapshot"].after
    assert not any("408:back" in one.after for one in found.values())


def test_a_name_is_one_for_proxmox_and_says_the_time() -> None:
    moment = datetime(2026, 11, 25, 23, 31, tzinfo=timezone(timedelta(hours=1)))
    name = snapshots.name_at(moment)
    assert name == NAME
    assert len(name) <= 40
    assert snapshots.is_our_name(name)


def test_ours_are_known_by_name_and_mark_and_no_other_is() -> None:
    mark = snapshots.description("why", "lab", 404)
    made = datetime(2026, 11, 25, 22, 31, tzinfo=UTC)
    good = [Snapshot(snapshots.name_at(made + timedelta(days=n)), mark, taken=n) for n in range(3)]
    bad = [
        Snapshot("before-upgrade", mark),
        Snapshot(NAME, "mine"),
        Snapshot(NAME, snapshots.description("why", "lab", 405)),
        Snapshot(NAME, mark, state="prepare"),
    ]
    assert snapshots.ours([*good, *bad], "lab", 404) == tuple(reversed(good))
    assert set(snapshots.foreign([*good, *bad], "lab", 404)) == set(bad)
