"""Our own web application: built once for a content by the pinned Node, into what the guest needs and nothing else."""

import json
import os
from pathlib import Path

import pytest

from tests.artifacts.test_archive import unpacked
from tests.artifacts.test_npm import Application, app, with_npm
from zentoria_infra.inventory.component_model import NodePin
from zentoria_infra.materials.artifacts import npm, npm_build
from zentoria_infra.materials.artifacts.cache import ArtifactError

__all__ = ["app"]
PIN = NodePin(version="22.0.0", sha256="0" * 64)
NEXT = """
const fs = require("fs");
if (fs.existsSync("broken")) { console.error("it does not compile"); process.exit(1); }
for (const folder of [".next/standalone", ".next/static/chunks"]) fs.mkdirSync(folder, { recursive: true });
fs.writeFileSync(".next/standalone/server.js", process.env.BUILD_ID.length + " " + process.env.ZENTORIA_TOKEN);
fs.writeFileSync(".next/static/chunks/a.js", "a");
fs.appendFileSync(process.env.BUILDS, "built\\n");
"""


@pytest.fixture
def builds(app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which each build writes a line. A small program stands for Next.js, and this machine's Node."""
    monkeypatch.setattr(npm, "unpacked_node", lambda *_: app.node)
    monkeypatch.setattr(npm, "check_machine", lambda *_: None)
    monkeypatch.setattr(npm_build, "_NEXT", "next.js")
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    monkeypatch.setenv("ZENTORIA_TOKEN", "secret")
    (app.folder / "next.js").write_text(NEXT)
    (app.folder / "serve.mjs").write_text("served")
    (app.folder / "public").mkdir()
    (app.folder / "public/robots.txt").write_text("robots")
    (app.folder / "pictures").mkdir()
    return tmp_path / "builds"


@with_npm
def test_one_build_for_a_content(app: Application, builds: Path, tmp_path: Path) -> None:
    first = npm_build.built_archive(app.folder, app.cache, PIN)
    (app.folder / "pictures/chat.png").write_text("for the README")
    (app.folder / "node_modules").mkdir()
    (app.folder / "node_modules/own").write_text("somebody's own try")
    assert npm_build.built_archive(app.folder, app.cache, PIN) == first
    assert builds.read_text() == "built\n"
    files = unpacked(first, app.cache, tmp_path / "out")
    assert set(files) == {"server.js", "serve.mjs", ".next/static/chunks/a.js", "public/robots.txt", "bin/node"}
    assert files["server.js"][0] == "16 undefined", "our own settings are not told to what others wrote"
    (app.folder / "page.tsx").write_text("changed")
    npm_build.built_archive(app.folder, app.cache, PIN)
    assert builds.read_text() == "built\n" * 2


@with_npm
def test_what_does_not_compile(app: Application, builds: Path) -> None:
    (app.folder / "broken").touch()
    with pytest.raises(ArtifactError, match=r"(?s)next build ended with 1.*it does not compile"):
        npm_build.built_archive(app.folder, app.cache, PIN)


def test_a_lock_without_a_hash(app: Application) -> None:
    lock = json.loads((app.folder / "package-lock.json").read_text())
    del lock["packages"]["node_modules/tool"]["integrity"]
    (app.folder / "package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(ArtifactError, match="no hash for node_modules/tool"):
        npm_build.built_archive(app.folder, app.cache, PIN)
    assert not os.listdir(app.cache.root) if app.cache.root.exists() else True
