"""Blobs larger than what a guest or a workstation has to spare: piece by piece, and what broke on the way."""

import hashlib
import sys
import tracemalloc
from pathlib import Path

import pytest

from tests.guest.guest_world import ME, Guest, Pipe, outcomes
from zentoria_infra.errors import GuestError
from zentoria_infra.guest import bundle
from zentoria_infra.guest.state import File

SIZE = 200 << 20
MEMORY = 160 << 20
"""Of addresses, not of pages: an empty Python has some 30 MiB of them."""


class SmallGuest(Guest):
    """Its agent may not have more than so much memory."""

    def pipe(self) -> Pipe:
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
        return Pipe([sys.executable, "-I", "-c", limit + bundle._LOADER], self.environment)


def sparse(guest: Guest) -> str:
    path = guest.root / "large"
    with path.open("wb") as stream:
        stream.truncate(SIZE)
    with path.open("rb") as stream:
        name = hashlib.file_digest(stream, "sha256").hexdigest()
    guest.blobs[name] = path
    return name


def test_a_blob_is_in_memory_nowhere(tmp_path: Path) -> None:
    guest = SmallGuest(tmp_path)
    file = File(id="f", path=str(tmp_path / "f"), blob=sparse(guest), **ME)
    tracemalloc.start()
    report = guest.run(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.failed, outcomes(report)) == ("", {"f": "changed"}), report
    assert peak < 16 << 20, "of the side that sends"
    assert (tmp_path / "f").stat().st_size == SIZE
    guest.blobs.clear()
    report = guest.run(file.model_copy(update={"mode": "0600"}))
    assert (report.failed, outcomes(report)) == ("", {"f": "changed"}), report


@pytest.mark.parametrize(("content", "got"), [(b"rotten", "its SHA-256 is"), (None, "No such file")])
def test_a_blob_that_is_not_what_its_name_says(tmp_path: Path, content: bytes | None, got: str) -> None:
    guest = Guest(tmp_path)
    name = guest.add_blob(b"content")
    guest.blobs[name].unlink()
    if content is not None:
        guest.blobs[name].write_bytes(content)
    with pytest.raises(GuestError, match=got) as caught:
        guest.run(File(id="f", path=str(tmp_path / "f"), blob=name, **ME))
    assert caught.value.on == str(guest.blobs[name])
    assert not (tmp_path / "f").exists()
    assert not (tmp_path / "state/incoming" / name).exists()


def test_content_that_breaks_on_the_way_is_not_kept(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    name = guest.add_blob(b"content")

    class Breaking(Pipe):
        def write(self, data: bytes, /) -> None:
            super().write(b"c0ntent" if data == b"content" else data)

    guest.pipe = lambda: Breaking([sys.executable, "-I", "-c", bundle._LOADER], guest.environment)
    with pytest.raises(GuestError, match="came broken"):
        guest.run(File(id="f", path=str(tmp_path / "f"), blob=name, **ME))
    assert not list((tmp_path / "state/incoming").iterdir())
