"""What every command needs: the options that all share, the inventory, and the way to the node."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zentoria_infra.errors import AuthError, InventoryError

# What is loaded here is loaded by every command, and by each press of the tab key; the functions load the rest.
if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory, Site
    from zentoria_infra.proxmox.client import Proxmox
    from zentoria_infra.proxmox.connection import Endpoint
    from zentoria_infra.proxmox.secret import Secret
    from zentoria_infra.proxmox.shell.ssh import SshTarget

DEFAULT_SITE = "lab"
"""The embedded default: a node on this machine."""


def complete_container(incomplete: str) -> list[str]:
    """Names of containers that begin so, for shell completion: read from the file names, which is quick."""
    files = (_nearest(Path.cwd()) / "inventory/containers").glob("*-*.yaml")
    names = sorted(file.stem.partition("-")[2] for file in files)
    return [name for name in names if name.startswith(incomplete)]


def complete_party(incomplete: str) -> list[str]:
    """Names of containers, and of who else can send or receive, that begin so."""
    others = ("gateway", "internet", "node", "private", "stranger")
    return [*complete_container(incomplete), *(name for name in others if name.startswith(incomplete))]


def complete_zone(incomplete: str) -> list[str]:
    """Names of zones that begin so, for shell completion; read without checking anything."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        zones = YAML(typ="safe").load(_nearest(Path.cwd()) / "zones.yaml")["zones"]
        names = sorted(str(name) for name in zones)
    except (OSError, YAMLError, LookupError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_site(incomplete: str) -> list[str]:
    """Names of sites that begin so, for shell completion."""
    names = sorted(file.stem for file in (_nearest(Path.cwd()) / "inventory/sites").glob("*.yaml"))
    return [name for name in names if name.startswith(incomplete)]


def _nearest(start: Path) -> Path:
    """The nearest folder upward that holds a zones.yaml; ``start`` when there is none."""
    return next((folder for folder in (start, *start.parents) if (folder / "zones.yaml").is_file()), start)


RootOption = Annotated[
    Path | None,
    typer.Option("--root", metavar="FOLDER", help="Project folder (default: the nearest one with a zones.yaml)."),
]
SiteOption = Annotated[
    str | None,
    typer.Option(
        "--site",
        metavar="NAME",
        help="Which inventory/sites/NAME.yaml to lay over inventory/site.yaml. 'lab:NAME' is a lab of another name. "
        "Default: $ZENTORIA_SITE, else lab.",
        autocompletion=complete_site,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclasses.dataclass
class Shared:
    """Options given before the command; a command's own win over them."""

    root: Path | None = None
    site: str | None = None


def shared(context: typer.Context) -> Shared:
    """The options of the command line's beginning."""
    found = context.find_object(Shared)
    return found if found is not None else Shared()


def project_root(context: typer.Context, root: Path | None) -> Path:
    """The project folder.

    Raises:
        InventoryError: no folder upward of here holds a zones.yaml.
    """
    wanted = root or shared(context).root
    start = (wanted or Path.cwd()).resolve()
    folder = start if wanted else _nearest(start)
    if (folder / "zones.yaml").is_file():
        return folder
    raise InventoryError(
        "find the inventory",
        got=f"no zones.yaml in {start}" + ("" if wanted else " or above it"),
        todo="run zentoria in the project's folder, or name it with --root",
    )


def site_name(context: typer.Context, site: str | None) -> str:
    """The chosen site, as ``lab``, ``lab:other`` or ``home``."""
    return site or shared(context).site or os.environ.get("ZENTORIA_SITE") or DEFAULT_SITE


def inventory_of(context: typer.Context, root: Path | None, site: str | None) -> Inventory:
    """Read the inventory with the chosen site laid over it. What a running lab has to say is laid over that.

    Raises:
        InventoryError: it has errors; all of them are in it.
    """
    from zentoria_infra.inventory.load import load
    from zentoria_infra.roles.checks import check_roles

    name, overlay = layers_of(context, site)
    return load(project_root(context, root), site=name, overlay_files=overlay, more=check_roles)


def inventory_offline(context: typer.Context, root: Path | None, site: str | None) -> Inventory:
    """Read the inventory as it is on every machine: a lab's own values only where a lab is named, as ``lab:other``.

    Raises:
        InventoryError: it has errors; all of them are in it.
    """
    from zentoria_infra.inventory.load import load
    from zentoria_infra.roles.checks import check_roles

    name, _, instance = site_name(context, site).partition(":")
    overlay = _of_a_lab(name, instance) if instance else ()
    return load(project_root(context, root), site=name, overlay_files=overlay, more=check_roles)


def layers_of(context: typer.Context, site: str | None) -> tuple[str, Sequence[Path]]:
    """The name of the chosen site, and the files that a running lab of that name lays over it."""
    name, _, instance = site_name(context, site).partition(":")
    return name, _of_a_lab(name, instance)


def _of_a_lab(name: str, instance: str) -> Sequence[Path]:
    from zentoria_infra.lab import site_overlay

    return site_overlay.for_site(name, instance)


def connect(site: Site) -> Proxmox:
    """The client for a site's node. Nothing is sent yet.

    Raises:
        AuthError: there is no token, or its file may be read by others.
    """
    from zentoria_infra.proxmox.client import Proxmox
    from zentoria_infra.proxmox.connection import ApiToken

    user, _, token_id = site.proxmox.token_id.partition("!")
    return Proxmox(
        endpoint_of(site),
        ApiToken(user, token_id, _token(site)),
        ssh_of(site),
        creates_per_storage=site.parallel.creates,
        site=site.id,
    )


def endpoint_of(site: Site) -> Endpoint:
    """Where a site's API is."""
    from zentoria_infra.proxmox.connection import Endpoint

    pve = site.proxmox
    return Endpoint(
        host=pve.host,
        node=pve.node,
        port=pve.port,
        ca_file=pve.ca_file,
        fingerprint=pve.fingerprint,
        connect_timeout=pve.connect_timeout,
        read_timeout=pve.read_timeout,
    )


def ssh_of(site: Site) -> SshTarget | None:
    """Where a site's SSH is; None when the site pins no host key. The key is the site's, else that of bootstrap."""
    from zentoria_infra.bootstrap.files import SiteFiles
    from zentoria_infra.proxmox.shell.ssh import SshTarget

    ssh = site.proxmox.ssh
    if ssh.host_key is None:
        return None
    own = SiteFiles(site).key
    return SshTarget(
        host=site.ssh_host,
        host_key=ssh.host_key,
        port=ssh.port,
        user=ssh.user,
        key_file=ssh.key_file or (own if own.exists() else None),
        inside=ssh.inside,
    )


def _token(site: Site) -> Secret:
    from zentoria_infra.bootstrap.files import SiteFiles
    from zentoria_infra.proxmox.secret import Secret

    name = site.proxmox.token_id
    if found := os.environ.get("ZENTORIA_PVE_TOKEN"):
        return Secret(found.strip())
    file = SiteFiles(site).token
    if site.proxmox.token_secret_file is None and not file.exists():
        raise AuthError(
            f"log in as {name}",
            on=f"{site.proxmox.host}:{site.proxmox.port}",
            got="there is no token secret",
            todo="`zentoria bootstrap` makes one; or set `proxmox.token_secret_file` in the site's file, or "
            "ZENTORIA_PVE_TOKEN; for the lab: `zentoria lab up`",
        )
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text().strip()
    except OSError as error:
        raise AuthError(
            f"read the token secret of {name}",
            on=str(file),
            got=error.strerror or str(error),
            todo="make the file readable for you, or set `token_secret_file` in the site file",
        ) from None
    if mode & 0o077:
        raise AuthError(
            f"read the token secret of {name}",
            on=str(file),
            got=f"others may read it (mode {mode:04o})",
            todo=f"chmod 600 {file}",
        )
    return Secret(text)


def node_title(site: Site) -> str:
    """``pve (127.0.0.1:8006)``, for headings."""
    return f"{site.proxmox.node} ({site.proxmox.host}:{site.proxmox.port})"
