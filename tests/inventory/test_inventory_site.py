"""A site's layers: its file, its overlay, files that a lab writes, values of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inventory.inventory_project import copy_project, problems, replace
from zentoria_infra.bootstrap.files import SiteFiles
from zentoria_infra.errors import InventoryError
from zentoria_infra.inventory.load import load

FINGERPRINT = ":".join(["ab"] * 32)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return copy_project(folder)


def test_layers_in_their_order(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    overlay = state / "site.yaml"
    overlay.write_text(
        f"proxmox:\n  port: 18006\n  fingerprint: {FINGERPRINT}\n  token_secret_file: secrets/token\n"
        "  ssh: {port: 12222, key_file: secrets/key, "
        f"host_key: {KEY}}}\n"
        "containers: {db: {resources: {memory: 900}}}\n"
    )
    site = load(root, "lab", overlay_files=[overlay], overrides={"proxmox": {"port": 28006}}).site
    assert site.proxmox.port == 28006
    assert site.proxmox.fingerprint == FINGERPRINT.upper()
    assert site.proxmox.ssh.port == 12222 and site.ssh_host == "127.0.0.1"
    assert site.proxmox.token_secret_file == state / "secrets/token"
    assert site.proxmox.ssh.key_file == state / "secrets/key"
    inventory = load(root, "lab", overlay_files=[overlay])
    db = inventory.by_name("db")
    assert (db.resources.memory, db.resources.rootfs) == (900, 4)
    assert inventory.where(db, "resources.memory") == f"{overlay}:6:39"


def test_paths_belong_to_their_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    replace(root, "inventory/site.yaml", "  pool: zentoria", "  ca_file: keys/ca.pem\n  pool: zentoria")
    replace(root, "inventory/site.yaml", "    user: root", "    user: root\n    key_file: ~/keys/zentoria")
    site = load(root, overrides={"secrets_file": "s.json"}).site
    assert site.proxmox.ca_file == root / "inventory/keys/ca.pem"
    assert site.proxmox.ssh.key_file == Path("/home/somebody/keys/zentoria")
    assert site.secrets_path == root / "s.json"
    assert load(root).site.secrets_path == Path("/home/somebody/.config/zentoria/home/secrets.json")


@pytest.mark.parametrize("name", ["home", "lab"])
def test_no_key_of_the_workstations_own_is_taken_unasked(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    site = load(root, name).site
    files = SiteFiles(site)
    assert files.key == Path(f"/home/somebody/.config/zentoria/{site.id}/ssh_key")
    assert files.token == Path(f"/home/somebody/.config/zentoria/{site.id}/token")


def test_the_sites_own_id_means_the_file_alone(root: Path) -> None:
    assert load(root, "home").site == load(root).site
    assert load(root, "lab").site.id == "lab"


def test_a_container_file_wins_over_defaults_and_every_container_wins_over_it(root: Path) -> None:
    replace(root, "inventory/site.yaml", "  onboot: true", "  onboot: true\n  resources: {cores: 1, swap: 7}")
    docs = load(root).by_name("docs")
    assert (docs.resources.swap, docs.resources.memory) == (7, 512)
    assert load(root).by_name("db").resources.swap == 1024
    every = load(
        root, overrides={"every_container": {"resources": {"swap": 9}}, "containers": {"db": {"onboot": False}}}
    )
    assert {c.resources.swap for c in every.containers} == {9}
    assert [c.name for c in every.containers if not c.onboot] == ["db"]


def test_a_component_of_another_kind_takes_the_place_of_the_first(root: Path) -> None:
    inventory = load(
        root, overrides={"components": {"postgresql": {"kind": "url", "url": "https://x.test/pg", "sha256": "0" * 64}}}
    )
    source = inventory.component(inventory.by_name("db").service("postgresql"))
    assert source is not None and source.model_dump() == {
        "kind": "url", "url": "https://x.test/pg", "sha256": "0" * 64, "version": None, "path": None,
    }  # fmt: skip


def test_placement(root: Path) -> None:
    inventory = load(root, overrides={"proxmox": {"nodes": {"db": "pve2", 401: "pve3"}}})
    nodes = {c.name: inventory.node_of(c) for c in inventory.containers}
    assert (nodes["db"], nodes["backend"], nodes["redis"]) == ("pve2", "pve3", "pve")


@pytest.mark.parametrize(("text", "size"), [("100M", 104857600), ("1G", 1073741824), ("512k", 524288)])
def test_upload_size(root: Path, text: str, size: int) -> None:
    assert load(root, overrides={"upload_max": text}).site.upload_max_bytes == size


def test_an_overlay_file_that_is_not_there(root: Path, tmp_path: Path) -> None:
    assert problems(root, overlay_files=[tmp_path / "none.yaml"]) == [f"{tmp_path}/none.yaml: there is no such file"]
    assert problems(root, overrides={"upload_max": "big"}) == [
        "overrides: 'upload_max' must be a size as 100M, not 'big'"
    ]


def test_links(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A site's file may be kept elsewhere; a link to itself is a file that cannot be read."""
    elsewhere = tmp_path_factory.mktemp("private") / "home.yaml"
    elsewhere.write_text("name: Elsewhere\n")
    (root / "inventory/sites/home.yaml").symlink_to(elsewhere)
    assert load(root, site="home").site.name == "Elsewhere"
    elsewhere.write_text("name: 1\n")
    assert "inventory/sites/home.yaml:1:7: " in problems(root, site="home")[0]
    elsewhere.unlink()
    elsewhere.symlink_to(elsewhere)
    (problem,) = problems(root, site="home")
    assert "inventory/sites/home.yaml" in problem


def test_models_are_frozen_and_compare_by_value(root: Path) -> None:
    first, second = load(root, "lab"), load(root, "lab")
    assert first == second
    assert first != load(root)
    with pytest.raises(ValueError, match="frozen"):
        first.containers[0].name = "other"  # type: ignore[misc]  # that is what is tested


def test_a_host_key_may_be_a_fingerprint_and_nothing_else(root: Path) -> None:
    key = "SHA256:" + "a/+9" * 10 + "abc"
    assert load(root, overrides={"proxmox": {"ssh": {"host_key": key}}}).site.proxmox.ssh.host_key == key
    with pytest.raises(InventoryError, match="or its fingerprint as"):
        load(root, overrides={"proxmox": {"ssh": {"host_key": key[:-1]}}})


def test_a_container_whose_inside_cannot_be_reached_is_refused(root: Path) -> None:
    ssh = {"host_key": KEY}
    with pytest.raises(InventoryError, match="'db' is placed on pve2, and its inside can only"):
        load(root, overrides={"proxmox": {"nodes": {"db": "pve2"}, "ssh": ssh}})


@pytest.mark.parametrize("name", ["br-lan", "0lan", "vmbr40", "br_a.40", "a" * 15])
def test_bridges_are_called_as_proxmox_lets_them(root: Path, name: str) -> None:
    assert load(root, "lab", overrides={"bridges": {"internal": name}}).site.bridges.internal == name


@pytest.mark.parametrize("name", ["", "a", "br lan", "-lan", "..", "br/lan", "a" * 16, "brücke"])
def test_what_no_bridge_is_called(root: Path, name: str) -> None:
    with pytest.raises(InventoryError, match="the name of a bridge"):
        load(root, "lab", overrides={"bridges": {"internal": name}})
