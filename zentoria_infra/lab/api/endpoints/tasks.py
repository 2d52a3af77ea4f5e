"""``/nodes/{node}/tasks`` and ``/cluster/tasks``."""

from __future__ import annotations

from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import bad_params
from zentoria_infra.lab.api.routing import Call, Routes, everyone
from zentoria_infra.lab.api.schema import Param
from zentoria_infra.lab.api.tasks import Task, parse_upid

routes = Routes()
_COUNT = Param("integer", optional=True, minimum=0)
_TIME = Param("integer", optional=True)


def _row(task: Task) -> dict[str, object]:
    upid = task.upid
    row: dict[str, object] = {
        "upid": str(upid),
        "node": upid.node,
        "pid": upid.pid,
        "pstart": upid.pstart,
        "starttime": upid.starttime,
        "type": upid.type,
        "id": upid.id,
        "user": upid.owner,
    }
    if upid.tokenid:
        row["tokenid"] = upid.tokenid
    return row


def _ended(task: Task) -> dict[str, object]:
    row = _row(task)
    if not task.running:
        row.update(endtime=task.endtime, status=task.status)
    return row


def _mine(call: Call, task: Task) -> bool:
    return task.upid.user == call.who or task.upid.owner == call.who.partition("!")[0]


def _kind(status: str) -> str:
    if status == "OK":
        return "ok"
    if status.startswith("WARNINGS"):
        return "warning"
    return "unknown" if status == "unexpected status" else "error"


@routes.add(
    "GET",
    "/nodes/{node}/tasks",
    everyone,
    {
        "errors": Param("boolean", optional=True),
        "limit": _COUNT,
        "since": _TIME,
        "source": Param(optional=True, enum=("archive", "active", "all")),
        "start": _COUNT,
        "statusfilter": Param(optional=True, format="pve-task-status-type-list"),
        "typefilter": Param(optional=True),
        "until": _TIME,
        "userfilter": Param(optional=True),
        "vmid": Param("integer", optional=True, minimum=100, maximum=999999999, format="pve-vmid"),
    },
)
def _list(call: Call) -> object:
    source = call.text("source", "archive")
    see_all = call.has(f"/nodes/{call.node.name}", "Sys.Audit")
    wanted = items(call.text("statusfilter"))
    rows = []
    for task in call.node.tasks.all():
        hidden = {"archive": task.running, "active": not task.running, "all": False}[source]
        if hidden or not (see_all or _mine(call, task)) or not _fits(call, task, wanted):
            continue
        rows.append(_ended(task))
    call.extra["total"] = len(rows)
    first = call.number("start")
    return rows[first : first + call.number("limit", 50)]


def _fits(call: Call, task: Task, statuses: list[str]) -> bool:
    upid = task.upid
    return not (
        (call.flag("errors") and task.status == "OK")
        or (statuses and _kind(task.status) not in statuses)
        or (call.given("typefilter") and upid.type != call.text("typefilter"))
        or (call.given("vmid") and upid.id != call.text("vmid"))
        or (call.given("userfilter") and call.text("userfilter") not in upid.user)
        or (call.given("since") and upid.starttime < call.number("since"))
        or (call.given("until") and upid.starttime > call.number("until"))
    )


@routes.add("GET", "/cluster/tasks")
def _cluster(call: Call) -> object:
    see_all = call.has("/", "Sys.Audit")
    mine = [task for task in call.node.tasks.all()[:100] if see_all or _mine(call, task)]
    return [{**_ended(task), "user": task.upid.user, "saved": "1"} for task in mine]


def _task(call: Call, privilege: str = "Sys.Audit") -> Task:
    upid = parse_upid(call.text("upid"))
    if upid is None:
        raise bad_params({"upid": "unable to parse worker upid"})
    task = call.node.tasks.get(str(upid))
    if upid.owner != call.who.partition("!")[0]:
        call.check(f"/nodes/{call.node.name}", privilege)
    if task is None:
        raise bad_params({"upid": "no such task"})
    return task


@routes.add("GET", "/nodes/{node}/tasks/{upid}")
def _index(_: Call) -> object:
    return [{"name": "log"}, {"name": "status"}]


@routes.add("GET", "/nodes/{node}/tasks/{upid}/status")
def _status(call: Call) -> object:
    task = _task(call)
    row = _row(task)
    if task.running:
        return {**row, "status": "running"}
    return {**row, "status": "stopped", "exitstatus": task.status}


@routes.add("GET", "/nodes/{node}/tasks/{upid}/log", everyone,
            {"start": _COUNT, "limit": _COUNT, "download": Param("boolean", optional=True)})  # fmt: skip
def _log(call: Call) -> object:
    lines = call.node.tasks.lines(str(_task(call).upid))
    call.extra["total"] = len(lines)
    first, limit = call.number("start"), call.number("limit", 50)
    chosen = lines[first : first + limit] if limit else lines[first:]
    return [{"n": number, "t": line} for number, line in enumerate(chosen, first + 1)]


@routes.add("DELETE", "/nodes/{node}/tasks/{upid}")
def _stop(call: Call) -> object:
    call.node.tasks.abort(str(_task(call, "Sys.Modify").upid))
    return None
