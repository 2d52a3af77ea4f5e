"""Every mistake is told with its place, in the user's words, all of them at once, and never as a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml

from tests.inventory.inventory_project import copy_project, problems, replace
from zentoria_infra.errors import ExitCode, InventoryError
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.problems import InvalidInventoryError
from zentoria_infra.inventory.yaml.positions import MAX_BYTES

CASES: list[dict[str, Any]] = ruamel.yaml.YAML(typ="safe", pure=True).load(
    (Path(__file__).parent / "bad_input.yaml").read_text()
)
FRONTEND = "inventory/containers/400-frontend.yaml"
DB = "inventory/containers/404-db.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=[case["what"] for case in CASES])
def test_one_mistake(root: Path, case: dict[str, Any]) -> None:
    replace(root, case["file"], case["old"], case["new"])
    assert problems(root) == case["problems"]
    assert case["problems"], "a case that finds nothing shows nothing"


def test_all_problems_come_at_once_and_sorted(root: Path) -> None:
    replace(root, DB, "zone: data", "zone: dta")
    replace(root, DB, "cores: 4", "cores: 9")
    replace(root, FRONTEND, "kind: ui\n", "kind: u\n")
    replace(root, "inventory/site.yaml", "port: 8006", "port: many")
    replace(root, "zones.yaml", "cidr: 10.10.32.0/20", "cidr: wide")
    assert problems(root) == [
        f"{FRONTEND}:23:15: 'kind' must be one of data, api, ui, metrics, not 'u'; did you mean 'ui'?",
        "inventory/site.yaml:10:9: 'port' must be a whole number, not 'many'",
        "zones.yaml:7:11: 'cidr' must be an IPv4 network as 10.10.32.0/20 (no host bits set), not 'wide'",
    ]
    replace(root, "inventory/site.yaml", "port: many", "port: 8006")
    replace(root, "zones.yaml", "cidr: wide", "cidr: 10.10.32.0/20")
    assert problems(root) == [
        f"{FRONTEND}:23:15: 'kind' must be one of data, api, ui, metrics, not 'u'; did you mean 'ui'?",
        f"{DB}:4:7: there is no zone 'dta'; did you mean 'data'?",
        f"{DB}:6:20: 9 cores are over the maximum of 'db', 8 cores",
    ]


def test_the_error_holds_the_list_and_the_exit_code(root: Path) -> None:
    replace(root, DB, "zone: data", "zone: dta")
    with pytest.raises(InventoryError) as caught:
        load(root)
    assert isinstance(caught.value, InvalidInventoryError)
    (found,) = caught.value.problems
    assert (found.file, found.line, found.column) == (DB, 4, 7)
    assert caught.value.exit_code == ExitCode.INVALID
    assert str(found) in caught.value.got and "zentoria validate" in caught.value.todo


def test_a_broken_file_is_not_blamed_on_those_who_need_it(root: Path) -> None:
    (root / DB).write_text("vmid: [\n")
    assert problems(root) == [
        f"{DB}:2:1: this is not YAML: while parsing a flow node expected the node content, but found '<stream end>'"
    ]


def test_circles_through_several_containers_are_named(root: Path) -> None:
    containers = "inventory/containers"
    replace(root, f"{containers}/405-ai.yaml", "embeddings.qdrant, start: false", "embeddings.qdrant")
    replace(root, f"{containers}/419-embeddings.yaml", "ai.ollama, start: false", "ai.ollama")
    assert problems(root) == [
        f"{containers}/405-ai.yaml:24:9: these need each other to start: ai -> embeddings -> ai; "
        "mark one need with 'start: false'"
    ]


@pytest.mark.parametrize("vmid", [411, 414, 415, 417, 420, 421, 422])
def test_reserved_vmids_are_refused_unless_claimed(root: Path, vmid: int) -> None:
    old = root / "inventory/containers/418-docs.yaml"
    new = root / f"inventory/containers/{vmid}-docs.yaml"
    new.write_text(old.read_text().replace("vmid: 418", f"vmid: {vmid}"))
    old.unlink()
    assert problems(root) == [
        f"inventory/containers/{vmid}-docs.yaml:1:7: VMID {vmid} is kept free for growth; "
        "to claim it, write 'reserved: true' in this file"
    ]
    new.write_text(f"reserved: true\n{new.read_text()}")
    assert problems(root) == []


def test_vmid_name_and_host_name_of_another_container(root: Path) -> None:
    text = (root / DB).read_text()
    copy = "inventory/containers/430-db.yaml"
    (root / copy).write_text(text.replace("vmid: 404", "vmid: 430").replace("10.10.40.4", "10.10.43.0"))
    assert problems(root) == [f"{copy}:2:7: name db is used twice; also in {DB}:2:7"]


def test_file_names(root: Path) -> None:
    folder = root / "inventory/containers"
    (folder / "404-db.yaml").rename(folder / "db.yaml")
    (folder / "notes.txt").write_text("x")
    (folder / ".404-db.yaml.swp").write_text("x")
    (folder / "418-docs.yaml").rename(folder / "418-dogs.yaml")
    found = problems(root)
    name_rule = "the file's name must be VMID-NAME.yaml, as 404-db.yaml"
    assert "inventory/containers/418-dogs.yaml:2:7: 'name' is docs, and the file's name says dogs" in found
    assert f"inventory/containers/db.yaml: {name_rule}" in found
    assert f"inventory/containers/notes.txt: {name_rule}" in found
    assert not [line for line in found if ".swp" in line]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"{DB}: the file is empty"),
        (b"# nothing\n", f"{DB}: the file is empty"),
        (b"- a\n", f"{DB}:1:1: the file must hold a mapping (key: value)"),
        (b"text\n", f"{DB}:1:1: the file must hold a mapping (key: value)"),
        (b"a: b\nc: \xff\n", f"{DB}:2:4: the file is not UTF-8 text"),
        ("vmid: 404\n".encode("utf-16"), f"{DB}:1:1: the file is not UTF-8 text"),
        (b"a: \x07\n", f"{DB}: this is not YAML: character #x0007 is not allowed in YAML"),
        (b"a: {" * 5000, f"{DB}:1:93: nested more than 24 deep"),
        (b"[" * 100_000, f"{DB}:1:25: nested more than 24 deep"),
        (b"- " * 30, f"{DB}:1:49: nested more than 24 deep"),
        (b"a" * (MAX_BYTES + 1), f"{DB}: the file is larger than 8192 KiB"),
        (
            b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
            f"{DB}:1:4: anchors and aliases (& and *) are not used here: write the value out",
        ),
        (b"a: 1\n---\nb: 2\n", f"{DB}:2:1: the file holds more than one YAML document"),
        (b"a: !!python/name:os.x y\n", f"{DB}:1:4: the tag tag:yaml.org,2002:python/name:os.x is not used here"),
        (b"%YAML 1.1\n---\na: yes\n", f"{DB}:2:1: YAML directives (%YAML, %TAG) are not used here"),
        (b"a: " + b"9" * 5000, f"{DB}:1:4: the number has too many digits"),
        (
            b"a: b\n\tc: d\n",
            f"{DB}:2:1: this is not YAML: while scanning for the next token "
            "found character '\\t' that cannot start any token",
        ),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_unreadable_files(root: Path, content: bytes, message: str) -> None:
    (root / DB).write_bytes(content)
    assert problems(root) == [message]


def test_missing_files_and_folders(root: Path) -> None:
    (root / "zones.yaml").unlink()
    assert problems(root) == ["zones.yaml: there is no such file"]
    (root / "inventory/site.yaml").unlink()
    assert problems(root) == ["inventory/site.yaml: there is no such file", "zones.yaml: there is no such file"]
    empty = root / "empty"
    empty.mkdir()
    assert problems(empty) == [
        "inventory/containers: the folder cannot be read: No such file or directory",
        "inventory/site.yaml: there is no such file",
        "zones.yaml: there is no such file",
    ]


def test_a_folder_in_place_of_a_file(root: Path) -> None:
    (root / DB).unlink()
    (root / DB).mkdir()
    assert problems(root) == [f"{DB}: the file cannot be read: Is a directory"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(root: Path) -> None:
    (root / DB).chmod(0)
    assert problems(root) == [f"{DB}: the file cannot be read: Permission denied"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lap", "inventory/sites/lap.yaml: there is no site 'lap'; did you mean 'lab'?"),
        ("work", "inventory/sites/work.yaml: there is no site 'work'; there are: lab, home"),
        ("../site", "inventory/sites/../site.yaml: there is no site '../site'; there are: lab, home"),
    ],
)
def test_unknown_sites(root: Path, name: str, message: str) -> None:
    assert problems(root, site=name) == [message]


def test_mistakes_in_an_overlay_are_told_there(root: Path) -> None:
    replace(root, "inventory/sites/lab.yaml", "memory: 1024}\n    volumes: {data: {size: 2}}", "memory: 99999}")
    (line,) = problems(root, site="lab")
    assert line.startswith("inventory/sites/lab.yaml:") and line.endswith(
        "99999 MiB are over the maximum of 'db', 32768 MiB"
    )


def test_mistakes_in_overrides_are_told_as_such(root: Path) -> None:
    assert problems(root, overrides={"proxmox": {"port": "x"}}) == ["overrides: 'port' must be a whole number, not 'x'"]


def test_a_site_cannot_make_a_container_another_one(root: Path) -> None:
    replace(root, "inventory/sites/lab.yaml", "  db:\n", "  db:\n    vmid: 999\n")
    (found,) = [one for one in problems(root, site="lab") if "one container" in one]
    assert found.startswith("inventory/sites/lab.yaml:") and f"'vmid' is 999, and {DB} is the file of 404" in found


@pytest.mark.parametrize("sign", ["\\e", "\\x9b", "\\u202e", "\\u2028"])
def test_what_a_terminal_would_act_on_is_shown_and_not_done(root: Path, sign: str) -> None:
    replace(root, DB, "zone: data", f'zone: data\n"a{sign}[31m": 1')
    (found,) = problems(root)
    assert found.isprintable() and "unknown key" in found
