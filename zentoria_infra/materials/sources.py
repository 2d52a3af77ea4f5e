"""The real materials of guests' states: passwords in a file, releases and downloads in the cache, certificates."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.inventory.component_model import Component
from zentoria_infra.inventory.model import Inventory, Site
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.materials.artifacts.fetch import fetch
from zentoria_infra.materials.artifacts.origin import SERVICES, archive_of
from zentoria_infra.materials.artifacts.wheels import build_release
from zentoria_infra.materials.migrations import newest_migrations
from zentoria_infra.materials.once import Once
from zentoria_infra.materials.secret_file import SecretFile
from zentoria_infra.materials.site_ca import SiteCa
from zentoria_infra.materials.supplied_certificate import read_supplied
from zentoria_infra.roles.kit.materials import ServerCertificate


def ca_of(site: Site) -> SiteCa:
    """The site's own CA: a folder beside the file of its secrets."""
    return SiteCa(site.secrets_path.parent / "ca", site.name)


class Materials:
    """A :class:`~zentoria_infra.roles.kit.materials.Materials` for one site. Each thing is made once a run.

    Safe from several threads: two that want the same artifact wait for one build, and for no other.

    Args:
        inventory: the site, and the folder of the services.
        cache: where wheels and downloads are.
    """

    def __init__(self, inventory: Inventory, cache: BlobCache) -> None:
        self._root: Path = inventory.root
        self._site = inventory.site
        self._cache = cache
        self._releases: Once[str, Artifact] = Once(
            lambda directory: build_release(self._root / SERVICES / directory, self._cache)
        )
        self._archives: Once[tuple[Component, str, int], Artifact] = Once(self._archive)
        self._guard = threading.Lock()

    @property
    def secrets(self) -> SecretFile:
        """Passwords.

        Raises:
            PrivateFileError: the file would be inside the project.
        """
        with self._guard:
            return self._secret_file

    @cached_property
    def _secret_file(self) -> SecretFile:
        return SecretFile(self._site.secrets_path, outside=self._root)

    def release(self, directory: str) -> Artifact:
        """The release of ``services/<directory>``; its wheels are in the cache.

        Raises:
            ArtifactError: it cannot be built.
        """
        return self._releases(directory)

    def migrations(self, directory: str) -> dict[str, str]:
        """The newest migration of each database that ``services/<directory>`` has the tables of, by its name.

        Raises:
            ArtifactError: there are none.
        """
        return newest_migrations(self._root / SERVICES / directory)

    def archive(self, component: Component, program: str, strip: int = 0) -> Artifact:
        """What others release, or a web application of ours, as an archive in the cache.

        Raises:
            ArtifactError: it cannot be fetched or made.
        """
        return self._archives((component, program, strip))

    def _archive(self, what: tuple[Component, str, int]) -> Artifact:
        component, program, strip = what
        return archive_of(component, self._cache, root=self._root, program=program, strip=strip)

    def file(self, url: str, sha256: str) -> str:
        """Have a file in the cache.

        Raises:
            ArtifactError: it cannot be fetched, or has another hash.
        """
        return fetch(url, sha256, self._cache)

    def certificate(self, server: str, names: Sequence[str], *, public: bool = False) -> ServerCertificate:
        """The supplied certificate for the public server, else one of the site's own CA, kept by the server's name.

        Raises:
            CertificateError: the supplied one cannot be used.
            PrivateFileError: the CA's folder cannot be used.
        """
        wanted = self._site.certificate
        if public and wanted.mode == "supplied" and wanted.certificate_file and wanted.key_file:
            return read_supplied(wanted.certificate_file, wanted.key_file)
        return ca_of(self._site).server_certificate(server, names)
