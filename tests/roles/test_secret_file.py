"""Passwords in a file."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from zentoria_infra.guest.secrets import new_password
from zentoria_infra.materials.private_file import PrivateFileError, locked, read, write
from zentoria_infra.materials.secret_file import SecretFile

PATH = "zentoria/db/backend_password"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "site" / "secrets.json"


def refuse() -> str:
    raise AssertionError("a secret was made anew")


def test_a_secret_is_made_once_and_stays(place: Path) -> None:
    first = SecretFile(place).get_or_create(PATH, new_password)
    assert SecretFile(place).get_or_create(PATH, refuse) == first
    assert SecretFile(place).get_or_create("zentoria/db/ai_password", new_password) != first
    assert json.loads(place.read_text())["secrets"][PATH] == first.get_secret_value()


def test_nobody_else_may_read_it_whatever_the_umask(place: Path) -> None:
    old = os.umask(0)
    try:
        SecretFile(place).get_or_create(PATH, new_password)
    finally:
        os.umask(old)
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert {one.name for one in place.parent.iterdir()} == {".lock", "secrets.json"}


def test_repr_shows_nothing(place: Path) -> None:
    store = SecretFile(place)
    secret = store.get_or_create(PATH, new_password)
    for shown in (repr(store), repr(secret), str(secret), f"{secret}", repr([secret])):
        assert secret.get_secret_value() not in shown


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o700])
def test_a_file_that_others_may_read_is_refused(place: Path, mode: int) -> None:
    SecretFile(place).get_or_create(PATH, new_password)
    place.chmod(mode)
    with pytest.raises(PrivateFileError, match=f"{mode:04o}") as caught:
        SecretFile(place).get_or_create(PATH, refuse)
    assert f"chmod 600 {place}" in caught.value.todo


def test_a_folder_that_others_may_enter_is_refused(place: Path) -> None:
    SecretFile(place).get_or_create(PATH, new_password)
    place.parent.chmod(0o755)
    with pytest.raises(PrivateFileError, match="0755"):
        SecretFile(place).get_or_create(PATH, refuse)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_another_owner_is_refused(place: Path) -> None:
    SecretFile(place).get_or_create(PATH, new_password)
    os.chown(place, 1, 1)
    with pytest.raises(PrivateFileError, match="belongs to user 1"):
        SecretFile(place).get_or_create(PATH, refuse)


def test_a_link_in_its_place_is_refused(place: Path, tmp_path: Path) -> None:
    place.parent.mkdir(mode=0o700)
    target = tmp_path / "elsewhere.json"
    target.write_text('{"format": 1, "secrets": {}}')
    target.chmod(0o600)
    place.symlink_to(target)
    with pytest.raises(PrivateFileError):
        SecretFile(place).get_or_create(PATH, refuse)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"format": 1}', b'{"format": 2, "secrets": {}}', b"[]", b'{"format": 1, "secrets": {"a": 1}}',
     b"\xff\xfe", b'{"format": 1, "secrets": {"zentoria/a": ""}}'],
)  # fmt: skip
def test_a_damaged_file_is_an_error_and_stays_as_it_is(place: Path, content: bytes) -> None:
    place.parent.mkdir(mode=0o700)
    place.write_bytes(content)
    place.chmod(0o600)
    with pytest.raises(PrivateFileError, match="left as it is") as caught:
        SecretFile(place).get_or_create(PATH, refuse)
    assert place.read_bytes() == content
    assert caught.value.__cause__ is None


def test_a_place_inside_the_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match="inside the project"):
        SecretFile(tmp_path / "inventory" / "secrets.json", outside=tmp_path)
    SecretFile(tmp_path / "x" / "secrets.json", outside=tmp_path / "y")


@pytest.mark.parametrize("path", ["db/password", "zentoria", "zentoria/../x", "zentoria/DB/x", "/zentoria/db"])
def test_only_paths_of_secrets(place: Path, path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        SecretFile(place).get_or_create(path, new_password)
    assert not place.exists()


def test_a_full_disk_keeps_what_was_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SecretFile(place).get_or_create(PATH, new_password)
    before = place.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zentoria_infra.materials.private_file.os.fsync", full)
    with pytest.raises(PrivateFileError, match="No space left"):
        SecretFile(place).get_or_create("zentoria/db/ai_password", new_password)
    assert place.read_bytes() == before
    assert {one.name for one in place.parent.iterdir()} == {".lock", "secrets.json"}


def _make(place: Path, names: list[str]) -> list[str]:
    store = SecretFile(place)
    return [store.get_or_create(f"zentoria/test/{name}", new_password).get_secret_value() for name in names]


def test_two_writers_lose_nothing(place: Path) -> None:
    names = [f"s{number}" for number in range(12)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        one, two = (
            done.result() for done in [pool.submit(_make, place, names), pool.submit(_make, place, names[::-1])]
        )
    assert one == two[::-1]
    assert len(json.loads(place.read_text())["secrets"]) == len(names)


def test_threads_get_the_same(place: Path) -> None:
    store = SecretFile(place)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store.get_or_create(PATH, new_password).get_secret_value(), range(32)))
    assert len(found) == 1


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    assert read(tmp_path / "nothing") is None
    with locked(tmp_path / "private"):
        write(tmp_path / "private" / "a", b"x")
        assert read(tmp_path / "private" / "a") == b"x"


def test_to_find_makes_nothing(place: Path) -> None:
    store = SecretFile(place)
    assert store.find(PATH) is None
    assert not place.exists()
    made = SecretFile(place).get_or_create(PATH, new_password)
    assert store.find(PATH) == made
    with pytest.raises(ValueError, match="not a path"):
        store.find("../x")
