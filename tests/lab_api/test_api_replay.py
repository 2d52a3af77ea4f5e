"""The recordings of the real server, played against ours: same status, reason, message and errors.

Every difference is listed here with its reason; the counts say how much was really compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.lab_api.lab_api_harness import Answer, Client, Lab
from tests.lab_api.lab_api_replay import GatedRuntime, Replay, compare, load
from zentoria_infra.lab.layout import LabLayout

TEMPLATE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.gz"


@pytest.fixture
def replay(make_lab: Callable[..., Lab], tmp_path) -> Replay:
    """A lab of the recorded release, in which tasks can be held, and every identity of the recordings that needs
    nothing made first.
    """
    layout = LabLayout("test", tmp_path / "lab")
    lab = make_lab(root=layout.root, runtime=GatedRuntime(layout), release="8.4")
    ticket = lab.ticket()
    cookies = {"PVEAuthCookie": ticket.session.cookies["PVEAuthCookie"]}
    return Replay(
        lab,
        {
            "root token": lab.root,
            "root ticket": ticket,
            "nobody": lab.anyone,
            "bad token": lab.token("root@pam!test", "wrong"),
            "bad ticket": Client(lab.url, {}, {"PVEAuthCookie": "PVE:root@pam:00000000::AAAA"}),
            "no csrf": Client(lab.url, {}, cookies),
            "bad csrf": Client(lab.url, {"CSRFPreventionToken": "00000000:AAAA"}, cookies),
        },
    )


def with_401(lab: Lab, **options: object) -> str:
    """The container that most recordings start from."""
    net = "name=eth0,bridge=vmbr0,firewall=1,gw=10.99.0.254,ip=10.99.0.11/24"
    data = {"vmid": 401, "ostemplate": TEMPLATE, "rootfs": "local:1", "hostname": "web", "cores": 2, "net0": net}
    answer = lab.root.post("/nodes/pve1/lxc", **(data | {"unprivileged": 1, "features": "nesting=1"} | options))
    assert lab.root.task(answer) == "OK"
    return str(answer.data)


def test_lifecycle_from_end_to_end(replay: Replay):
    entries = load("zentoria-lifecycle.json")
    first = replay.run(entries[:29])
    secret = first.answers[28].data["value"]
    replay.clients["zentoria token"] = replay.lab.token("zentoria@pve!up", secret)
    rest = replay.run(entries[29:])
    assert first.differences | {29 + n: why for n, why in rest.differences.items()} == {}
    assert first.compared + rest.compared == len(entries) == 97


def test_lifecycle_configuration_reads_back_the_same(replay: Replay):
    entries = load("zentoria-lifecycle.json")
    first = replay.run(entries[:29])
    replay.clients["zentoria token"] = replay.lab.token("zentoria@pve!up", first.answers[28].data["value"])
    rest = replay.run(entries[29:])

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key != "digest"}
        if isinstance(value, list):
            rows = [row for row in value if not (isinstance(row, dict) and row.get("key") == "digest")]
            return sorted((plain(row) for row in rows), key=lambda row: json.dumps(row, sort_keys=True))
        return value

    read = [
        index
        for index, entry in enumerate(entries)
        if entry["method"] == "GET"
        and entry["path"].endswith(("/config", "/pending", "/rules", "/rules/0", "/options"))
    ]
    compared = 0
    for index in read:
        answer = first.answers[index] if index < 29 else rest.answers[index - 29]
        if entries[index]["status"] == 200:
            compared += 1
            assert plain(answer.data) == plain(entries[index]["body"]["data"]), index
    assert compared == 11


def test_errors_and_create(replay: Replay):
    with_401(replay.lab)
    identities = {0: "nobody", 1: "bad token", 2: "bad token", 3: "bad ticket"}
    identities |= {11: "no csrf", 12: "root ticket", 13: "bad csrf"}
    outcome = replay.run(load("errors-and-create.json"), identities, held={28: 31})
    assert outcome.differences == {}
    assert outcome.unserved == [23]  # a virtual machine
    assert outcome.compared == 45


def test_config(replay: Replay):
    with_401(replay.lab)
    outcome = replay.run(load("config.json"), dict.fromkeys((8, 36, 54, 59), "root ticket"))
    assert outcome.differences == {}
    assert (outcome.compared, outcome.polls, outcome.unserved) == (65, 8, [])


def test_config_lifecycle_destroy(replay: Replay):
    lab = replay.lab
    with_401(lab)
    lab.create(404)
    entries = load("config-lifecycle-destroy.json")
    outcome = replay.run(entries, {29: "root ticket"}, before={126: lambda: lab.create(407)})
    assert outcome.differences == {}
    assert {entries[index]["path"].rpartition("/")[2] for index in outcome.unserved if index not in (120, 121)} == {
        "clone",
        "template",
        "migrate",
    }
    assert (outcome.compared, len(outcome.unserved)) == (69, 8)


def test_firewall(replay: Replay):
    with_401(replay.lab)
    outcome = replay.run(load("firewall.json"))
    assert outcome.differences == {}
    assert (outcome.compared, outcome.unserved) == (120, [])


def test_running_guest(replay: Replay):
    lab = replay.lab
    with_401(lab)
    assert lab.root.task(lab.root.post("/nodes/pve1/lxc/401/status/start")) == "OK"
    entries = load("running-guest.json")
    outcome = replay.run(entries, held={70: 76})
    reasons = {12: "that node has no AppArmor; here a new mount point waits for the next start"}
    assert outcome.differences.keys() == reasons.keys()
    assert {entries[index]["path"].rpartition("/")[2] for index in outcome.unserved} == {
        *("template", "clone", "migrate", "vncproxy", "termproxy"),
    }
    assert (outcome.compared, len(outcome.unserved)) == (53, 6)


def test_start_stop_tasks(replay: Replay):
    lab = replay.lab
    with_401(lab)
    created = lab.root.post("/nodes/pve1/lxc", vmid=404, ostemplate=TEMPLATE, rootfs="local:1", unprivileged=1)
    assert lab.root.task(created) == "OK"
    entries = load("start-stop-tasks.json")
    replay.upids["UPID:pve1:00000185:00048818:6B033EFD:vzcreate:404:root@pam!test:"] = created.data
    outcome = replay.run(entries, held={10: 16})
    reasons = {
        31: "their reboot was cut off by the DELETE before; ours was over by then",
        65: "no backups in the lab, so nothing to restore",
        71: "no backups in the lab, so nothing to restore",
        72: "the container that was restored",
    }
    assert outcome.differences.keys() == reasons.keys(), outcome.differences
    assert {entries[index]["path"].rpartition("/")[2] for index in outcome.unserved} >= {"vzdump", "extractconfig"}
    assert (outcome.compared, len(outcome.unserved)) == (30, 6)


_NOT_OURS = ("/cluster/sdn", "/cluster/ha", "/cluster/backup", "/cluster/options", "/cluster/log", "/access/tfa",
             "/cluster/notifications", "/cluster/mapping", "/cluster/replication", "/nodes/pve1/vzdump",
             "/nodes/pve1/execute", "/nodes/pve1/termproxy", "/nodes/pve1/sdn",
             "/nodes/pve1/storage/local/download-url", "/nodes/pve1/tasks/UPID")  # fmt: skip


def test_access_pools_storage(replay: Replay):
    lab = replay.lab
    upid = with_401(lab, memory=513)
    lab.create(404)
    replay.upids["UPID:pve1:000000DD:00033D6E:6B033BAF:vzcreate:401:root@pam!test:"] = upid
    entries = load("access-pools-storage.json")
    answers: dict[int, Answer] = {}

    def log_in() -> None:
        replay.clients["bob"] = lab.ticket("bob@pve", "bobpass1")
        lab.root.put("/access/users/bob@pve/token/t1", privsep=1)

    first = replay.run(entries[:17])
    answers.update(first.answers)
    replay.clients["bob's token"] = lab.token("bob@pve!t1", first.answers[16].data["value"])
    identities = {n - 17: "bob" for n in range(21, 46)}
    identities |= {n - 17: "bob's token" for n in (46, 47, 49, 50, 51, 53)}
    rest = replay.run(entries[17:], identities, before={4: log_in})
    differences = first.differences | {17 + n: why for n, why in rest.differences.items()}
    unserved = [*first.unserved, *(17 + n for n in rest.unserved)]
    reasons = {
        87: "their 401 had been made a template, so its volume had another name",
        88: "their 401 had been made a template, so its volume had another name",
        106: "their node has no ifupdown2",
        125: "no SDN here: vnet1 is a bridge that does not exist, which a change does not look at",
    }
    assert differences.keys() == reasons.keys(), differences
    assert [entries[index]["path"] for index in unserved if not entries[index]["path"].startswith(_NOT_OURS)] == []
    assert (first.compared + rest.compared, len(unserved)) == (110, 38)


def test_a_difference_is_seen():
    entry = {
        "status": 400,
        "reason": "Parameter verification failed.",
        "body": {"message": "x\n", "errors": {"a": "b"}},
    }
    same = Answer(400, entry["reason"], {"message": "x\n", "errors": {"a": "b"}})
    assert compare(entry, same) == ""
    assert "status" in compare(entry, Answer(500, entry["reason"], same.body))
    assert "message" in compare(entry, Answer(400, entry["reason"], {"message": "y\n", "errors": {"a": "b"}}))
    assert "errors" in compare(entry, Answer(400, entry["reason"], {"message": "x\n", "errors": {"a": "c"}}))
