from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from zentoria_infra.materials.artifacts.cache import ArtifactError
from zentoria_infra.materials.artifacts.lock import Pin, read_lock
from zentoria_infra.materials.artifacts.target import Target

HASH = "a" * 64
TRIXIE = Target()


def read(folder: Path, text: str, target: Target = TRIXIE) -> tuple[Pin, ...]:
    path = folder / "requirements.lock"
    path.write_text(text)
    return read_lock(path, target)


@pytest.mark.parametrize(
    ("marker", "wanted"),
    [
        ("python_version < '3.13'", False),
        ("python_full_version >= '3.13'", True),
        ("python_full_version < '3.11.3'", False),
        ("sys_platform == 'win32'", False),
        ("platform_machine == 'x86_64' and platform_system == 'Linux'", True),
        ("implementation_name != 'pypy'", True),
        ("os_name == 'nt' or platform_python_implementation == 'CPython'", True),
        ("extra == 'dev'", False),
    ],
)
def test_markers_are_those_of_the_guest(tmp_path: Path, marker: str, wanted: bool) -> None:
    pins = read(tmp_path, f"Some.Thing==1.0 ; {marker} --hash=sha256:{HASH}\n")
    assert [pin.name for pin in pins] == (["some-thing"] if wanted else [])


def test_extras_of_a_marker() -> None:
    requirement = Requirement("a ; extra == 'speed'")
    assert not TRIXIE.wants(requirement)
    assert TRIXIE.wants(requirement, frozenset({"speed"}))


def test_two_pins_for_two_pythons(tmp_path: Path) -> None:
    text = f"""\
# a comment
a==1 ; python_version < '3.12' \\
    --hash=sha256:{HASH}
a==2 ; python_version >= '3.12' \\
    --hash=sha256:{HASH} \\
    --hash=sha256:{"b" * 64}
    # via something
"""
    assert [(pin.version, len(pin.hashes)) for pin in read(tmp_path, text)] == [("2", 2)]
    assert [pin.version for pin in read(tmp_path, text, Target(python="3.11.2"))] == ["1"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a==1", "no SHA-256"),
        (f"a>=1 --hash=sha256:{HASH}", "exact version"),
        (f"a==1.* --hash=sha256:{HASH}", "exact version"),
        (f"a==1,==1 --hash=sha256:{HASH}", "exact version"),
        (f"a @ https://host.test/a.whl --hash=sha256:{HASH}", "exact version"),
        (f"a==1 --hash=md5:{HASH}", "no SHA-256"),
        ("-e .", "not a requirement"),
        (f"a==1 --hash=sha256:{HASH}\nA==2 --hash=sha256:{HASH}", "pinned twice"),
    ],
)
def test_a_lock_that_does_not_pin_is_refused(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(ArtifactError, match=complaint):
        read(tmp_path, line + "\n")


def test_no_lock(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="make lock"):
        read_lock(tmp_path / "requirements.lock", TRIXIE)


names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?", fullmatch=True)
versions = st.builds("{}.{}.{}".format, *(st.integers(0, 99),) * 3)
hashes = st.frozensets(st.integers(0, 2**256 - 1).map("{:064x}".format), min_size=1, max_size=3)


@given(st.dictionaries(names, st.tuples(versions, hashes), max_size=6))
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, tuple[str, frozenset[str]]]
) -> None:
    pins = tuple(Pin(name, *found[name]) for name in sorted(found))
    folder = tmp_path_factory.mktemp("lock")
    assert read(folder, "".join(f"{pin.line()}\n" for pin in pins)) == pins


@pytest.mark.parametrize(
    ("name", "installs"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-cp313-cp313-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp311-abi3-manylinux2014_x86_64.whl", True),
        ("a-1-cp313-cp313-manylinux_2_42_x86_64.whl", False),
        ("a-1-cp312-cp312-manylinux2014_x86_64.whl", False),
        ("a-1-cp313-cp313t-manylinux2014_x86_64.whl", False),
        ("a-1-cp313-cp313-manylinux2014_aarch64.whl", False),
        ("a-1-cp313-cp313-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp313-cp313-win_amd64.whl", False),
    ],
)
def test_which_wheels_install_on_a_guest(name: str, installs: bool) -> None:
    assert bool(parse_wheel_filename(name)[3] & TRIXIE.tags) is installs
