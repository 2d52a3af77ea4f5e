"""What a redeploy says of the way back."""

from zentoria_infra.plan.stage_types import Converge, Destroy, Restart
from zentoria_infra.plan.way_back import changed_in_place, way_back


def test_only_what_is_changed_in_place_has_something_to_go_back_to() -> None:
    stages = (
        Restart(404, "db", "404:restart", ()),
        Converge(405, "api", "405:converge", ()),
        Destroy(406, "web", "406:destroy", ()),
        Converge(406, "web", "406:converge", ("406:destroy",)),
    )
    assert changed_in_place(stages) == {405: "api"}


def test_each_container_is_told_its_way_back() -> None:
    lines = list(way_back({404: "db", 405: "api"}, able={404}, released={405}))
    assert lines == [
        "No snapshot is possible of api: the storage cannot.",
        "The storage can snapshot db, but Zentoria takes none. By hand, before: pct snapshot 404 NAME",
        "A release that fails its health gate gives way to the one before: api.",
        "No releases are kept of db: only your backups go back.",
    ]


def test_nothing_to_change_says_nothing() -> None:
    assert list(way_back({}, (), ())) == []
