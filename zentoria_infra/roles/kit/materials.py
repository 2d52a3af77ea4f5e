"""What a guest's state is made of besides the inventory. ``execute`` fetches and makes it; roles only ask for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import SecretStr

from zentoria_infra.guest.artifact import Artifact
from zentoria_infra.guest.secrets import SecretStore
from zentoria_infra.inventory.component_model import Component


@dataclasses.dataclass(frozen=True)
class ServerCertificate:
    """A server's certificate and key, both PEM.

    Args:
        chain: the server's certificate first, then those between it and the CA.
        key: the private key, not encrypted.
    """

    chain: str
    key: SecretStr


class Materials(Protocol):
    """Everything that a role may ask for. Asked twice, it answers the same: a second run changes nothing."""

    @property
    def secrets(self) -> SecretStore:
        """Passwords."""
        ...

    def release(self, directory: str) -> Artifact:
        """The release of ``services/<directory>``, its wheels at hand as blobs.

        Raises:
            ZentoriaError: it cannot be built.
        """
        ...

    def migrations(self, directory: str) -> Mapping[str, str]:
        """The newest migration of each database that ``services/<directory>`` has the tables of, by its name.

        Raises:
            ZentoriaError: there are none.
        """
        ...

    def archive(self, component: Component, program: str, strip: int = 0) -> Artifact:
        """What others release, as an archive whose blob is at hand.

        Args:
            component: where it comes from: a URL, or a wheel with its hash.
            program: what it is called, where it is a single file.
            strip: leading folders of its files that are left out, where the component says no path.

        Raises:
            ZentoriaError: it cannot be fetched or made.
        """
        ...

    def file(self, url: str, sha256: str) -> str:
        """Have the file at ``url`` at hand as a blob; returns the blob's name, which is ``sha256``.

        Raises:
            ZentoriaError: it cannot be fetched, or has another hash.
        """
        ...

    def certificate(self, server: str, names: Sequence[str], *, public: bool = False) -> ServerCertificate:
        """A server's certificate for these DNS names and IPv4 addresses, the first one being its common name.

        Each server has its own, kept by its name. For the ``public`` one it is that which was supplied when the
        site's certificate mode is ``supplied``; else it is one of the site's own CA.

        Raises:
            ZentoriaError: it cannot be read or made.
        """
        ...
