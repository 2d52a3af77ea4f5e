"""Reading: against fakepve, and against what the real server was recorded to say."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.proxmox.proxmox_scripted_server import Reply, ScriptedServer, Seen, data
from tests.support.needs import SHARED, need_shared
from zentoria_infra.errors import ApiError, AuthError, PermissionDeniedError, ZentoriaError
from zentoria_infra.proxmox import endpoints, errors, records
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.observe import Observer

FILES = sorted(path.name for path in (SHARED / "proxmox" / "recorded").glob("*.json")) or ["none"]


def _load(name: str) -> list[dict[str, Any]]:
    return json.loads(need_shared("proxmox", "recorded", name).read_text())  # type: ignore[no-any-return]  # a list of exchanges


@pytest.fixture
def observer(connection: Connection) -> Observer:
    return Observer(connection.reader(), "pve1")


def test_it_only_ever_gets(observer: Observer, fakepve: Any) -> None:
    """Every public method, and the one function that it holds."""
    container = fakepve.add_ct(404, "db")
    container.snapshots["before"] = {"hostname": "db"}
    fakepve.pools["zentoria"] = {404}
    arguments = {"vmid": 404, "storage": "local", "poolid": "zentoria", "kind": "vzrollback", "snapshot": "before"}
    methods = [name for name, _ in inspect.getmembers(observer, inspect.ismethod) if not name.startswith("_")]
    assert len(methods) >= 18
    for name in methods:
        method = getattr(observer, name)
        method(**{key: value for key, value in arguments.items() if key in inspect.signature(method).parameters})
    assert {method for method, _, _ in fakepve.requests} == {"GET"}
    assert len(fakepve.requests) == len(methods) + 1  # pool() asks twice
    held = [value for value in vars(observer).values() if not isinstance(value, str)]
    assert [inspect.signature(value).parameters.keys() for value in held] == [{"template", "params", "path"}]


def test_containers(observer: Observer, fakepve: Any) -> None:
    fakepve.add_ct(404, "db", status="running", config={"tags": "zone-data;zentoria"})
    fakepve.add_ct(401, "backend", lock="backup")
    fakepve.add_vm(100, "vm")
    first, second = observer.containers()
    assert (first.vmid, first.name, first.status, first.lock) == (401, "backend", "stopped", "backup")
    assert (second.vmid, second.status, second.tags, second.kind) == (404, "running", ("zentoria", "zone-data"), "lxc")
    assert [(guest.vmid, guest.kind) for guest in observer.resources()] == [(100, "qemu"), (401, "lxc"), (404, "lxc")]
    assert observer.status(404) == "running"


def test_free_vmid(observer: Observer, fakepve: Any) -> None:
    fakepve.add_vm(405, "somebody's")
    assert observer.is_free(404)
    assert not observer.is_free(405)
    with pytest.raises(ApiError):
        observer.is_free(5)  # not a VMID at all


def test_config_and_digest(observer: Observer, fakepve: Any) -> None:
    fakepve.add_ct(404, "db", config={"memory": 512, "description": "zentoria-id: 404-db\n", "tags": "b;a"})
    config = observer.config(404)
    assert config.values["memory"] == "512"
    assert "digest" not in config.values
    assert len(config.digest) == 40
    assert (config.description, config.tags, config.lock) == ("zentoria-id: 404-db", ("a", "b"), "")
    with pytest.raises(TypeError):
        config.values["memory"] = "1"  # type: ignore[index]  # that it is read-only is the point


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), ("5", 5), (5.0, 5), ("1.5", 1), (None, 0), ("", 0), ("x", 0), (True, 1), ("nan", 0), ("inf", 0)],
)
def test_integers_in_every_spelling(value: object, expected: int) -> None:
    assert records.integer(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(1, "1"), (1.0, "1"), (1.5, "1.5"), ("x\n", "x\n"), (None, ""), (True, "1"), (False, "0")]
)
def test_values_as_text(value: object, expected: str) -> None:
    assert records.text(value) == expected


def test_permissions_follow_the_nearest_path() -> None:
    rights = records.Permissions(
        {"/": {"Sys.Audit": True, "Sys.Modify": False}, "/pool/zentoria": {"VM.Audit": True}, "/storage": {}}
    )
    assert rights.allows("/nodes/pve1", "Sys.Audit")
    assert not rights.allows("/nodes/pve1", "Sys.Modify"), "it does not propagate"
    assert rights.allows("/", "Sys.Modify")
    assert rights.allows("/pool/zentoria", "VM.Audit")
    assert not rights.allows("/pool/zentoria", "Sys.Audit")
    assert not rights.allows("/storage/local", "Sys.Audit")
    assert not records.Permissions({}).allows("/", "VM.Audit")


def _replay(scripted_connection: Any, entries: list[dict[str, Any]]) -> Connection:
    """A server that gives the recorded answers, one after the other."""
    waiting = iter(entries)

    def answer(seen: Seen) -> Reply:
        entry = next(waiting)
        assert seen.method == entry["method"]
        assert seen.path == entry["path"].partition("?")[0]
        # An answer without a body has its text in the reason alone.
        return Reply(entry["status"], entry["body"] or None, reason=entry["reason"])

    connection, _ = scripted_connection(answer)
    return connection  # type: ignore[no-any-return]  # the fixture is not typed


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_refusal_becomes_one_of_our_errors(
    scripted_connection: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [
        entry
        for entry in _load(name)
        if entry["status"] >= 400
        and entry["method"] in {"GET", "POST", "PUT", "DELETE"}
        and entry["path"][:1] == "/"
        and "?" not in entry["path"]
        and "%" not in entry["path"]
    ]
    connection = _replay(scripted_connection, [one for one in entries for _ in range(_times(one))])
    monkeypatch.setattr(endpoints, "require", lambda verb, template: None)  # they are of the whole API
    for entry in entries:
        with pytest.raises(ZentoriaError) as caught:
            connection.call(entry["method"], entry["path"])
        error = caught.value
        reason = entry["reason"].strip()
        if entry["status"] == 401:
            assert isinstance(error, AuthError)
            assert reason in error.got
            continue
        assert isinstance(error, ApiError), entry
        assert error.status == entry["status"]
        assert isinstance(error, PermissionDeniedError) == (entry["status"] == 403)
        assert reason in error.got
        body = entry["body"] if isinstance(entry["body"], dict) else {}
        assert error.errors.keys() == (body.get("errors") or {}).keys()
        for text in (body.get("errors") or {}).values():
            assert text.strip() in error.got


def _times(entry: dict[str, Any]) -> int:
    """A busy lock is asked about four times before it is an error."""
    return 4 if "can't lock file" in entry["reason"] else 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CT is locked (backup)", errors.HeldLockError),
        ("detected modified configuration", errors.ModifiedError),
        ("already exists on node 'pve1'", errors.AlreadyExistsError),
        ("already running", errors.AlreadyRunningError),
        ("CT 401 not running", errors.NotRunningError),
        (".conf' does not exist", errors.MissingError),
        ("pool 'zentoria' already exists", errors.AlreadyExistsError),
    ],
)
def test_recorded_wording_has_its_own_kind(
    scripted_connection: Any, text: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [one for name in FILES for one in _load(name) if one["status"] == 500 and text in one["reason"]]
    assert found, f"nothing recorded says {text!r}"
    monkeypatch.setattr(endpoints, "require", lambda verb, template: None)  # they are of the whole API
    for entry in found:
        connection = _replay(scripted_connection, [entry])
        with pytest.raises(kind):
            connection.call(entry["method"], entry["path"].partition("?")[0])


def test_what_an_empty_node_says(scripted_connection: Any) -> None:
    lifecycle = {
        (one["method"], one["path"]): one for one in reversed(_load("zentoria-lifecycle.json")) if one["status"] == 200
    }

    def answer(seen: Seen) -> Reply:
        return data(lifecycle[seen.method, seen.path]["body"]["data"])

    connection, _ = scripted_connection(answer)
    observer = Observer(connection.reader(), "pve1")
    assert observer.version() == records.Version("8.4.21", "8.4")
    assert observer.version().major == 8
    assert observer.node_names() == ("pve1",)
    assert observer.containers() == ()
    assert observer.resources() == ()
    assert "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.gz" in [one.volid for one in observer.templates("local")]
    (local,) = observer.storages()
    assert (local.name, local.active, local.available > 0, "rootdir" in local.content) == ("local", True, True, True)
    (bridge,) = observer.bridges()
    assert (bridge.name, bridge.cidr, bridge.active) == ("vmbr0", "10.99.0.1/24", True)
    assert not observer.datacenter_firewall().enabled
    assert observer.permissions().allows("/nodes/pve1", "Sys.Modify")
    config = observer.config(404)
    assert config.values["unprivileged"] == "1"
    assert config.description == "zentoria-id: 404-db"
    assert observer.pending(404) == (
        records.PendingValue("nameserver", "10.10.47.254", "10.10.47.253", deleted=False),
        records.PendingValue("tty", None, "3", deleted=False),
    )


@pytest.mark.parametrize(
    ("state", "runs"),
    [
        ("running", True),
        ("reload", True),
        ("reload-notify", True),
        ("dead", False),
        ("failed", False),
        ("start", False),
    ],
)
def test_a_daemon_that_reads_its_files_anew_runs(scripted_connection: Any, state: str, runs: bool) -> None:
    connection, _ = scripted_connection(lambda seen: data({"service": "pve-firewall", "state": state}))
    assert Observer(connection.reader(), "pve1").service_runs("pve-firewall") is runs


def test_one_call_tells_configuration_and_what_waits(
    scripted_connection: Callable[..., tuple[Connection, ScriptedServer]],
) -> None:
    lines = [
        {"key": "memory", "value": 1024},
        {"key": "features", "value": "nesting=1", "pending": "nesting=0"},
        {"key": "nameserver", "value": "10.10.47.254", "delete": 1},
        {"key": "searchdomain", "pending": "home.arpa"},
        {"key": "digest", "value": "953b0116"},
    ]
    connection, server = scripted_connection(lambda seen: data(lines))
    found, waiting = Observer(connection.reader(), "pve1").config_and_pending(404)
    assert found.values == {"memory": "1024", "features": "nesting=0", "searchdomain": "home.arpa"}
    assert found.digest == "953b0116"
    assert waiting == {"features": "nesting=1", "nameserver": "10.10.47.254", "searchdomain": None}
    assert [seen.path for seen in server.seen] == ["/nodes/pve1/lxc/404/pending"]
