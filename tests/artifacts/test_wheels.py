from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.materials.artifacts import wheels
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.target import Target
from zentoria_infra.materials.artifacts.wheels import build_release

PYPROJECT = """\
[project]
name = "zt-sample"
version = "1.2"
requires-python = ">=3.11"
dependencies = ["dep-fast>=1", "dep-pure"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/zt_sample"]
"""


def make_wheel(folder: Path, name: str, version: str = "1.0", tag: str = "py3-none-any") -> str:
    """Write a wheel by hand; return the SHA-256."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{stem}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Workshop:
    """A service, and an index that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        self.index.mkdir()
        self.cache = BlobCache(folder / "cache")
        self.service = folder / "sample"
        package = self.service / "src/zt_sample"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("VALUE = 1\n")
        (self.service / "pyproject.toml").write_text(PYPROJECT)
        fast = [
            make_wheel(self.index, "dep-fast", tag=f"{python}-{python}-manylinux_2_28_x86_64")
            for python in ("cp311", "cp313")
        ]
        self.lock = {
            "dep-fast==1.0": fast,
            "dep-pure==1.0": [make_wheel(self.index, "dep-pure")],
            "dep-windows==1.0 ; sys_platform == 'win32'": ["1" * 64],
            "dep-old==1.0 ; python_full_version < '3.13'": ["2" * 64],
        }
        self.steps: list[str] = []

    def build(self, target: Target | None = None) -> Artifact:
        lines = (
            " ".join((pin, *(f"--hash=sha256:{each}" for each in hashes))) + "\n" for pin, hashes in self.lock.items()
        )
        (self.service / "requirements.lock").write_text("".join(lines))
        self.steps.clear()
        return build_release(self.service, self.cache, target, step=self.steps.append)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    workshop = Workshop(tmp_path)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(workshop.index))
    return workshop


def forbid_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        pytest.fail("a program was started")

    monkeypatch.setattr(subprocess, "run", run)


def test_a_release_has_what_the_guest_needs_and_nothing_else(workshop: Workshop) -> None:
    release = workshop.build()
    assert [wheel.name for wheel in release.content.wheels] == [
        "zt_sample-1.2-py3-none-any.whl",
        "dep_fast-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        "dep_pure-1.0-py3-none-any.whl",
    ]
    assert release.version.startswith("1.2-")
    assert release.content.requirements.splitlines() == [
        f"{name} --hash=sha256:{wheel.blob}"
        for name, wheel in zip(
            ("zt-sample==1.2", "dep-fast==1.0", "dep-pure==1.0"), release.content.wheels, strict=True
        )
    ]
    for wheel in release.content.wheels:
        assert zipfile.ZipFile(workshop.cache.path(wheel.blob)).testzip() is None


def test_the_second_build_starts_no_program(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = workshop.build()
    shutil.rmtree(workshop.index)
    forbid_programs(monkeypatch)
    assert workshop.build() == first
    assert workshop.steps == []


def test_the_same_source_gives_the_same_release_elsewhere_and_later(workshop: Workshop, tmp_path: Path) -> None:
    first = workshop.build()
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(workshop.service, moved)
    for path in moved.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (moved / "src/zt_sample/__pycache__").mkdir()
    (moved / "src/zt_sample/__pycache__/x.pyc").write_bytes(b"x")
    (moved / "tests").mkdir()
    (moved / "tests/test_x.py").write_text("")
    assert build_release(moved, BlobCache(tmp_path / "another-cache")) == first


def test_a_change_of_source_builds_one_wheel_and_downloads_nothing(workshop: Workshop) -> None:
    first = workshop.build()
    (workshop.service / "src/zt_sample/__init__.py").write_text("VALUE = 2\n")
    shutil.rmtree(workshop.index)
    second = workshop.build()
    assert workshop.steps == ["build zt-sample"]
    assert second.version != first.version
    assert second.content.wheels[0].name == first.content.wheels[0].name
    assert second.content.wheels[0].blob != first.content.wheels[0].blob
    assert second.content.wheels[1:] == first.content.wheels[1:]


def test_another_python_is_another_release(workshop: Workshop) -> None:
    first = workshop.build()
    workshop.lock.pop("dep-old==1.0 ; python_full_version < '3.13'")
    second = workshop.build(Target(python="3.11.2", glibc=(2, 36)))
    assert second.content.wheels[1].name == "dep_fast-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert second.version != first.version


def test_a_cache_that_lost_a_file_is_made_whole(workshop: Workshop) -> None:
    first = workshop.build()
    workshop.cache.path(first.content.wheels[1].blob).unlink()
    assert workshop.build() == first
    assert workshop.steps == ["download 2 wheels"]
    assert first.content.wheels[1].blob in workshop.cache


def test_a_dependency_without_a_wheel_for_the_guest(workshop: Workshop) -> None:
    with pytest.raises(ArtifactError, match=r"(?s)Python 3.12 on x86_64.*pip ended with 1.*dep-fast") as caught:
        workshop.build(Target(python="3.12.1"))
    assert "without a wheel" in caught.value.todo


def test_a_file_that_is_not_the_locked_one(workshop: Workshop) -> None:
    workshop.lock["dep-pure==1.0"] = ["3" * 64]
    with pytest.raises(ArtifactError, match=r"(?si)pip ended with 1.*hash"):
        workshop.build()


def test_a_stale_lock_is_found_before_it_is_installed(workshop: Workshop) -> None:
    project = workshop.service / "pyproject.toml"
    project.write_text(
        project.read_text().replace('"dep-pure"', '"dep-pure>=2", "dep-zero ; python_version >= \'3.13\'"')
    )
    with pytest.raises(ArtifactError, match=r"stale: it does not hold dep-pure>=2, dep-zero;") as caught:
        workshop.build()
    assert caught.value.todo == "run `make lock`"


def test_a_service_for_another_python(workshop: Workshop) -> None:
    with pytest.raises(ArtifactError, match=r"needs Python >=3.11, the guest has 3.9.2"):
        workshop.build(Target(python="3.9.2"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[project]", "[project"), "TOMLDecodeError"),
        (('name = "zt-sample"', ""), "KeyError: 'name'"),
        (('requires = ["hatchling"]', 'requires = ["no-such-backend"]'), "no-such-backend is not installed"),
        (("src/zt_sample", "src/nothing"), "holds no code"),
        (('version = "1.2"', 'version = "1.2"\nreadme = "nowhere.md"'), "(?s)pip ended with 1.*nowhere.md"),
    ],
)
def test_a_project_that_does_not_build(workshop: Workshop, change: tuple[str, str], complaint: str) -> None:
    (workshop.service / "pyproject.toml").write_text(PYPROJECT.replace(*change))
    with pytest.raises(ArtifactError, match=complaint):
        workshop.build()


def test_no_service(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        build_release(tmp_path / "none", BlobCache(tmp_path))


def test_no_pip(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ArtifactError, match="make setup"):
        workshop.build()


SHIPPED = sorted(path.parent for path in (Path(__file__).parents[2] / "services").glob("*/requirements.lock"))


@pytest.mark.parametrize("service", SHIPPED, ids=lambda path: path.name)
def test_a_lock_covers_the_wheels_that_are_ours(tmp_path: Path, service: Path) -> None:
    """Without a network: a service's lock holds what it and ours that it needs ask for, for the guest's Python."""
    cache = BlobCache(tmp_path)
    own = [wheels._own_wheel(folder, cache, lambda _text: None) for folder in (service, *wheels.ours(service))]
    pins = wheels.read_lock(service / "requirements.lock", Target())
    known = (*pins, *(wheels._wheel_pin(wheel) for wheel in own))
    for wheel in own:
        wheels._check_lock(cache.path(wheel.blob), wheel.name, known, Target(), service)
    names = {pin.name for pin in pins}
    assert "pywin32" not in names
    assert "async-timeout" not in names
    assert not any(name.startswith("zentoria-") for name in names)


COMMON = """\
[project]
name = "zt-common"
version = "3"
dependencies = ["dep-pure"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/zt_common"]
"""


def with_common(workshop: Workshop) -> Path:
    """The service needs another of ours, in the folder beside it; returns a file of that."""
    package = workshop.service.parent / "common/src/zt_common"
    package.mkdir(parents=True)
    (package.parents[1] / "pyproject.toml").write_text(COMMON)
    (package / "__init__.py").write_text("SHARED = 1\n")
    project = workshop.service / "pyproject.toml"
    project.write_text(PYPROJECT.replace('"dep-pure"', '"zt-common"'))
    return package / "__init__.py"


def test_what_services_share_is_a_wheel_of_ours_that_no_lock_names(workshop: Workshop) -> None:
    source = with_common(workshop)
    first, sources = workshop.build(), wheels.sources_hash(workshop.service)
    assert [wheel.name.partition("-")[0] for wheel in first.content.wheels] == [
        "zt_sample",
        "zt_common",
        "dep_fast",
        "dep_pure",
    ]
    assert "zt-common==3 --hash=sha256:" in first.content.requirements
    assert workshop.build() == first
    assert wheels.sources_hash(workshop.service) == sources
    source.write_text("SHARED = 2\n")
    second = workshop.build()
    assert second.version != first.version
    assert wheels.sources_hash(workshop.service) != sources
    assert [a == b for a, b in zip(first.content.wheels, second.content.wheels, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


def test_a_lock_holds_also_what_the_shared_wheel_asks_for(workshop: Workshop) -> None:
    with_common(workshop)
    del workshop.lock["dep-pure==1.0"]
    with pytest.raises(ArtifactError, match="dep-pure") as caught:
        workshop.build()
    assert "zt_common" in str(caught.value)


def test_two_of_ours_that_need_each_other_are_built_once(workshop: Workshop) -> None:
    with_common(workshop)
    common = workshop.service.parent / "common/pyproject.toml"
    common.write_text(COMMON.replace('"dep-pure"', '"dep-pure", "zt-sample"'))
    assert wheels.ours(workshop.service) == (common.parent,)
    assert len(workshop.build().content.wheels) == 4
