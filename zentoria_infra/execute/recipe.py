"""What the inventory wants inside a guest, as a hash without any secret: made without keys, network, wheels or files.

Passwords are in it by their path alone, releases by the sources that they would be built from, and a supplied
certificate not at all. So two recipes are equal when the inventory, the templates and the services are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from zentoria_infra.guest.artifact import Archive, Artifact, Wheels
from zentoria_infra.guest.secrets import Generator, stand_in
from zentoria_infra.inventory.component_model import Component, NpmComponent, WorkspaceComponent
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.materials.artifacts.npm import FOLDER, tree_hash
from zentoria_infra.materials.artifacts.npm_build import PICTURES
from zentoria_infra.materials.artifacts.origin import SERVICES
from zentoria_infra.materials.artifacts.wheels import sources_hash
from zentoria_infra.materials.migrations import newest_migrations
from zentoria_infra.roles.compile import compile_guest
from zentoria_infra.roles.kit.materials import ServerCertificate


class NamedSecrets:
    """In place of each secret stands its path."""

    def get_or_create(self, path: str, generator: Generator) -> SecretStr:
        """The path between angle brackets; of a key pair one that is made of the path."""
        return SecretStr(stand_in(path, generator) or f"<{path}>")

    def find(self, path: str) -> SecretStr:
        """The path between angle brackets, as if it were there."""
        return SecretStr(f"<{path}>")


class SourceMaterials:
    """Materials of a recipe. Nothing is made, fetched or written.

    Args:
        root: the project folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._releases: dict[str, Artifact] = {}
        self.secrets = NamedSecrets()

    def release(self, directory: str) -> Artifact:
        """``services/<directory>``, not built: its version is the hash of its sources."""
        if directory not in self._releases:
            folder = self._root / SERVICES / directory
            version = sources_hash(folder) if folder.is_dir() else "no sources"
            self._releases[directory] = Artifact(version, Wheels(wheels=(), requirements=""))
        return self._releases[directory]

    def migrations(self, directory: str) -> Mapping[str, str]:
        """As they are: told by the names of files.

        Raises:
            ArtifactError: there are none.
        """
        return newest_migrations(self._root / SERVICES / directory)

    def archive(self, component: Component, program: str, strip: int = 0) -> Artifact:
        """What is not fetched: its version is the hash of where it comes from."""
        parts = [component.model_dump_json(), program, str(strip)]
        if isinstance(component, NpmComponent) and component.lock:
            parts.append(tree_hash(self._root / FOLDER / component.lock))
        if isinstance(component, WorkspaceComponent):
            parts.append(tree_hash(self._root / SERVICES / component.directory, PICTURES))
        version = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return Artifact(version, Archive(blob=version, size=0, entries=0))

    def file(self, url: str, sha256: str) -> str:
        """The hash that the file must have."""
        return sha256

    def certificate(self, server: str, names: Sequence[str], *, public: bool = False) -> ServerCertificate:
        """The names that the certificate must have."""
        return ServerCertificate(f"<certificate of {', '.join(names)}>\n", SecretStr("<key>\n"))


def recipes(inventory: Inventory, vmids: Iterable[int]) -> Mapping[int, str]:
    """The hashes of what is wanted inside some containers, by VMID.

    Raises:
        ZentoriaError: the inventory cannot be used for a role.
    """
    site = inventory.site.model_copy(update={"proxy": bare_url(inventory.site.proxy)})
    bare = inventory.model_copy(update={"site": site})
    materials = SourceMaterials(inventory.root)
    wanted = set(vmids)
    return {
        one.vmid: hashlib.sha256(compile_guest(bare, one, materials).model_dump_json().encode()).hexdigest()
        for one in bare.containers
        if one.vmid in wanted
    }


def bare_url(url: str | None) -> str | None:
    """A URL without the user and password that may be in it."""
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
