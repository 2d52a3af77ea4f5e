"""Looks into guests over a connection that breaks."""

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from tests.support.stack import ROOT
from zentoria_infra.errors import AuthError, GuestError, RefusedError, UnreachableError
from zentoria_infra.execute.inside import GATE, GuestsInside
from zentoria_infra.guest import protocol
from zentoria_infra.guest.artifact import Wheels
from zentoria_infra.guest.state import GuestReport, GuestState, Release
from zentoria_infra.inventory.load import load
from zentoria_infra.materials.artifacts.cache import ArtifactError
from zentoria_infra.materials.secret_file import SecretFile

REPORT = GuestReport(vmid=404, mode="check", resources=())


def guests(monkeypatch: pytest.MonkeyPatch, errors: list[Exception]) -> tuple[GuestsInside, list[str]]:
    modes: list[str] = []

    @contextmanager
    def session(vmid, argv, **more):
        yield None

    def converge(channel, state, blobs, mode, heard, key):
        assert key == b"key"
        modes.append(mode)
        if errors:
            raise errors.pop(0)
        return REPORT

    monkeypatch.setattr(protocol, "converge", converge)
    monkeypatch.setattr(GuestsInside, "key", b"key")
    proxmox = SimpleNamespace(pct=SimpleNamespace(session=session), has_ssh=True)
    inside = GuestsInside(load(ROOT, site="lab"), proxmox)
    monkeypatch.setattr(inside, "state", lambda vmid: GuestState(vmid=vmid, hostname="db", resources=()))
    return inside, modes


def test_a_look_is_repeated_once_over_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, modes = guests(monkeypatch, [UnreachableError("look", got="the SSH connection broke")])
    assert inside.check(404) is REPORT
    assert modes == ["check", "check"]


def test_a_look_is_not_repeated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, modes = guests(monkeypatch, [UnreachableError("look", got="broke")] * 3)
    with pytest.raises(UnreachableError):
        inside.check(404)
    assert len(modes) == 2


@pytest.mark.parametrize(("error", "apply"), [(AuthError("look"), False), (UnreachableError("look"), True)])
def test_neither_what_cannot_get_better_nor_a_change_is_repeated(monkeypatch, error, apply) -> None:
    inside, modes = guests(monkeypatch, [error])
    with pytest.raises(UnreachableError):
        inside.apply(404, print) if apply else inside.check(404)
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("vmid", "inside", "words"), [(410, True, "Debian packages"), (401, False, "no SSH to the node")]
)
def test_there_must_be_something_to_roll_back(monkeypatch, vmid, inside, words) -> None:
    found, _ = guests(monkeypatch, [])
    found._proxmox.has_ssh = inside
    with pytest.raises(RefusedError, match=words):
        found.require_releases(vmid)


def test_a_container_without_an_earlier_release_says_what_else_can_be_done(monkeypatch) -> None:
    found, _ = guests(monkeypatch, [])
    release = Release(id="release:r", root="/srv", version="1", content=Wheels(wheels=(), requirements=""), units=())
    state = GuestState(vmid=404, hostname="db", resources=(release,))
    monkeypatch.setattr(found, "state", lambda vmid: state)
    outcome = {"id": "rollback:r", "outcome": "failed", "detail": "there are not so many releases: none"}
    report = GuestReport(vmid=404, mode="apply", resources=(outcome,), failed="rollback:r")
    monkeypatch.setattr(protocol, "converge", lambda *_: report)
    with pytest.raises(GuestError, match="not so many releases") as caught:
        found.roll_back(404, 1, "me", lambda text: None)
    assert "`zentoria rollback db --list`" in caught.value.todo and "git revert" in caught.value.todo
    assert "goes on with" not in caught.value.todo


def test_a_container_that_was_put_back_is_asked_for_its_services_and_nothing_else(monkeypatch) -> None:
    found, modes = guests(monkeypatch, [])
    asked: list[GuestState] = []
    outcome = {"id": "health:redis", "outcome": "failed", "detail": "not healthy after 180 seconds: refused"}
    report = GuestReport(vmid=410, mode="apply", resources=(outcome,), failed="health:redis")

    def converge(channel, state, blobs, mode, heard, key):
        asked.append(state)
        modes.append(mode)
        return report if len(asked) > 1 else REPORT

    monkeypatch.setattr(protocol, "converge", converge)
    found.require_healthy(410, lambda text: None)
    assert modes == ["apply"], "a look would not wait as long as a service has"
    assert {one.kind for one in asked[0].resources} == {"health"}
    assert {one.timeout for one in asked[0].resources} == {GATE}
    assert {one.id for one in asked[0].resources} >= {"health:redis", "health:node-exporter"}
    with pytest.raises(GuestError, match="put back to its snapshot and started, wait for redis: health:redis"):
        found.require_healthy(410, lambda text: None)


def test_what_one_container_waits_for_holds_up_no_other_and_a_failed_build_is_told_for_it(monkeypatch) -> None:
    inside = GuestsInside(load(ROOT, site="lab"), SimpleNamespace(has_ssh=True))
    begun, go_on = threading.Event(), threading.Event()

    def build_release(folder, cache):
        begun.set()
        assert go_on.wait(20)
        raise ArtifactError("build the release", on=str(folder), got="no such wheel", todo="see the lock")

    monkeypatch.setattr("zentoria_infra.materials.sources.build_release", build_release)
    monkeypatch.setattr(SecretFile, "get_or_create", lambda self, path, generator: SecretStr(generator()))
    inside.begin([401, 403])
    assert begun.wait(20)
    # nothing of ours is built for these
    assert inside.state(403).vmid == 403
    assert inside.state(410).vmid == 410
    go_on.set()
    with pytest.raises(ArtifactError, match="no such wheel"):
        inside.state(401)
