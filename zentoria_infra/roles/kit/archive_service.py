"""A program that its makers release as one archive: fetched by URL and SHA-256, unpacked in a folder of its own.

Each archive has its folder, named by its hash, and ``current`` leads to the one that runs: a new one is unpacked beside
the old one and takes its place at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import File, Resource, Step, Symlink, Unit, User
from zentoria_infra.inventory.component_model import UrlComponent
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids
from zentoria_infra.roles.kit.role import Role

FORMATS: Mapping[str, tuple[str, ...]] = {
    ".tar.gz": ("tar", "--extract", "--gzip", "--no-same-owner", "--file"),
    ".tgz": ("tar", "--extract", "--gzip", "--no-same-owner", "--file"),
    ".tar.xz": ("tar", "--extract", "--xz", "--no-same-owner", "--file"),
}
"""What unpacks an archive, by the end of its URL. Debian's base has these programs."""


@dataclasses.dataclass(frozen=True)
class Unpacked:
    """An archive in a guest.

    Args:
        resources: the archive, its folder, and the link to it, in this order.
        current: the link; programs are started through it.
    """

    resources: tuple[Resource, ...]
    current: str


def unpacked(context: Context, service: Service, *, strip: int = 0) -> Unpacked:
    """Bring the archive of a service's source into ``/opt/zentoria/<component>``.

    Args:
        context: the container's.
        service: its source is a URL with a SHA-256.
        strip: leading folders of its files that are left out (tar's ``--strip-components``).

    Raises:
        InventoryError: its source is another one, or an archive of a kind that nobody here unpacks.
    """
    component = context.inventory.component(service)
    where = context.inventory.where(context.container, f"services.{service.name}.source")
    if not isinstance(component, UrlComponent):
        raise InventoryError(
            f"make the state of {context.container.name}",
            on=where,
            got=f"component '{service.component}' comes from '{component.kind if component else 'nothing'}', and its "
            "role takes an archive",
            todo="set its source to {kind: url, url: ..., sha256: ...}",
        )
    ending = next((end for end in FORMATS if component.url.endswith(end)), None)
    if ending is None:
        raise InventoryError(
            f"make the state of {context.container.name}",
            on=where,
            got=f"{PurePosixPath(component.url).name} is no archive that can be unpacked",
            todo=f"give the URL of one that ends with {', '.join(FORMATS)}",
        )
    root = f"/opt/zentoria/{service.component}"
    short = component.sha256[:12]
    archive, folder = f"{root}/archives/{short}{ending}", f"{root}/releases/{short}"
    part = f"{folder}.part"
    # a run that was killed leaves a part behind, which the next one removes; a whole folder appears by its name
    script = 'set -e; rm -rf "$1"; mkdir -p "$1"; shift; "$@"; mv "$PART" "$FOLDER"'
    unpack = (*FORMATS[ending], archive, "--directory", part, f"--strip-components={strip}")
    return Unpacked(
        (
            *(directory(path) for path in (root, f"{root}/archives", f"{root}/releases")),
            File(id=f"file:{archive}", path=archive, blob=context.materials.file(component.url, component.sha256)),
            Step(
                id=f"{service.component}:unpack {short}",
                check=("test", "-d", folder),
                apply=("env", f"PART={part}", f"FOLDER={folder}", "sh", "-c", script, "unpack", part, *unpack),
                timeout=600,
            ),
            Symlink(id=f"link:{root}/current", path=f"{root}/current", target=folder),
        ),
        f"{root}/current",
    )


def archive_service(
    component: str,
    *,
    title: str,
    command: Callable[[Context, Service], Sequence[str]],
    files: Callable[[Context, Service], Sequence[Resource]] = lambda context, service: (),
    ports: tuple[str, ...] = ("http",),
    volumes: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
    metrics_path: str | None = "/metrics",
    strip: int = 0,
) -> Role:
    """The role of a program that is released as one archive, run by a unit ``<component>.service`` of ours.

    Args:
        component: its name; the system user is called so too.
        title: what it is, for the unit's description.
        command: what the unit runs, its first part below the archive's folder.
        files: what it reads.
        ports: names of its ports.
        volumes: folders that it writes to; they must be on a volume.
        packages: Debian packages that it wants.
        metrics_path: where its metrics are.
        strip: leading folders in the archive that are left out.
    """
    unit = f"{component}.service"

    def build(context: Context, service: Service) -> Fragment:
        archive = unpacked(context, service, strip=strip)
        program, *arguments = command(context, service)
        text = context.render(
            "archive_service/unit.service",
            title=title,
            command=" ".join((f"{archive.current}/{program}", *arguments)),
            user=component,
            writes=volumes,
        )
        reads = (*files(context, service), file(f"/etc/systemd/system/{unit}", text))
        link = archive.resources[-1]
        return Fragment(
            packages=packages,
            users=(User(id=f"user:{component}", name=component),),
            main=(
                directory("/opt/zentoria"),
                *archive.resources,
                *reads,
                Unit(id=f"unit:{unit}", name=unit, reads=(link.id, *ids(reads))),
                *context.health(service),
            ),
        )

    return Role(
        component, build, sources=frozenset({"url"}), unit=unit, ports=ports, volumes=volumes, metrics_path=metrics_path
    )
