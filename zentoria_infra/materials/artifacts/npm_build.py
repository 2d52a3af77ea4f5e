"""A web application of ours as an archive: Next.js' standalone output, built on the workstation once for a content.

Its folder has a lock with hashes. No package's install script runs; the Node that builds is that which runs it in the
guest, as ``bin/node``.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.inventory.component_model import NodePin
from zentoria_infra.materials.artifacts import archive, npm
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.materials.artifacts.target import Target

LAUNCHER = "serve.mjs"
"""What the guest runs: it takes systemd's socket, and starts Next.js' own server."""
PICTURES = "pictures"
"""For the README: not part of the application."""
_NEXT = "node_modules/next/dist/bin/next"


def built_archive(folder: Path, cache: BlobCache, pin: NodePin) -> Artifact:
    """The archive of the application in ``folder``, in the cache: built once for a content and a Node.

    Two processes that want it at the same time build it once.

    Args:
        folder: with its package.json and package-lock.json.
        cache: where what is fetched and made is kept.
        pin: which Node.

    Raises:
        ArtifactError: the lock cannot be used, or something cannot be fetched or built.
    """
    npm.locked_packages(folder)
    target = Target()
    key = archive.key("next", npm.tree_hash(folder, PICTURES), pin.model_dump_json(), target.machine)

    def make() -> Artifact:
        npm.check_machine(folder, target)
        with tempfile.TemporaryDirectory(dir=cache.scratch()) as place:
            node = npm.unpacked_node(Path(place) / "node", cache, pin, target)
            return _built(folder, Path(place) / "tree", cache, node, key[:16])

    with (cache.scratch() / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return archive.noted_archive(cache, key, make)


def _built(folder: Path, tree: Path, cache: BlobCache, node: npm.Node, build: str) -> Artifact:
    shutil.copytree(folder, tree, symlinks=True, ignore=lambda _, names: {PICTURES, *npm.left_out(_, names)})
    npm.npm(node, tree, cache, folder, "ci", "--ignore-scripts")
    variables = {"NEXT_TELEMETRY_DISABLED": "1", "NODE_ENV": "production", "BUILD_ID": build}
    npm.run(node, (_NEXT, "build"), tree, cache, folder, "next build", variables)
    made = tree / ".next/standalone"
    if not (made / "server.js").is_file():
        raise npm.failed(folder, "the build has no server.js", 'set `output: "standalone"` in next.config.ts')
    shutil.copytree(tree / ".next/static", made / ".next/static")
    if (tree / "public").is_dir():
        shutil.copytree(tree / "public", made / "public", dirs_exist_ok=True)
    shutil.copyfile(tree / LAUNCHER, made / LAUNCHER)
    npm.put_node(node, made)
    return archive.pack(made, cache)
