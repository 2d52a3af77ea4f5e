"""What a redeploy says of the way back."""

from zentoria_infra.plan.stages.way_back import way_back
from zentoria_infra.plan.stages.with_snapshots import Ways

WAYS = Ways(
    {404: "db", 405: "ai", 401: "api", 408: "proxy"},
    able=frozenset({404, 401, 408}),
    released=frozenset({401}),
    data={404: "mp0 (/var/lib/postgresql)", 405: "mp0 (/models)"},
)
NAME = "zentoria-20261125-223100"


def test_each_container_is_told_its_way_back() -> None:
    assert list(way_back(WAYS, NAME)) == [
        "No snapshot is possible of ai: the storage cannot.",
        f"Snapshot {NAME} is taken first of api, db, proxy.",
        "What fails goes back to it by itself: proxy.",
        "db keeps data on mp0 (/var/lib/postgresql), which would go back too: it does so only when told "
        f"(`zentoria rollback db --snapshot {NAME}`).",
        "A release that fails its health gate gives way to the one before: api.",
        "No releases are kept of ai: only your backups go back.",
    ]


def test_without_snapshots_nothing_is_promised() -> None:
    lines = list(way_back(WAYS, ""))
    assert lines[1] == "No snapshot is taken of api, db, proxy, as was asked for."
    assert lines[-1] == "No releases are kept of db, ai, proxy: only your backups go back."
    assert not any("by itself" in line or "--snapshot" in line for line in lines)


def test_nothing_to_change_says_nothing() -> None:
    assert list(way_back(Ways({}), NAME)) == []
