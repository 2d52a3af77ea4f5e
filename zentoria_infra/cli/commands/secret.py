"""``zentoria secret``: give the site a secret that others gave out, and see which are there. None is ever shown."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_of
from zentoria_infra.errors import InventoryError, RefusedError
from zentoria_infra.guest.secrets import Kind, generator
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.inventory.wording import nearest
from zentoria_infra.materials.secret_file import SecretFile
from zentoria_infra.roles.auth import JWT_KEY, JWT_PREVIOUS_KEY
from zentoria_infra.roles.kit.clients import identity_key

secret_app = typer.Typer(no_args_is_help=True, help="Secrets of the site's file: which are there, and supplying one.")
MAX_CHARACTERS = 64 * 1024


@secret_app.command("list")
def list_(
    context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """List the secrets that services declare: which services, and whether it is there. Changes nothing."""
    inventory = inventory_of(context, root, site)
    store = _store(inventory)
    rows = [(path, store.find(path) is not None, users) for path, users in sorted(_declared(inventory).items())]
    if as_json:
        rows_as_data = [{"path": path, "there": there, "services": users} for path, there, users in rows]
        output.document({"secrets": rows_as_data})
        return
    width = max((len(path) for path, _, _ in rows), default=0)
    output.lines(f"{path:<{width}}  {'there' if there else '-':<5}  {', '.join(users)}" for path, there, users in rows)


@secret_app.command("set")
def set_(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="As a service declares it: zentoria/oauth/google_client_secret.")],
    replace: Annotated[bool, typer.Option("--replace", help="Also where there is one already.")] = False,
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Supply a secret: it is asked for, or read from standard input where that is no terminal.

    Services get it at the next `up`. A generated password needs none of this.
    """
    inventory = inventory_of(context, root, site)
    declared = _declared(inventory)
    if path not in declared:
        raise InventoryError(
            "supply a secret",
            on=path,
            got=f"no service declares it{nearest(path, declared)}",
            todo="put it under 'secrets' of the service that needs it; `zentoria secret list` shows all",
        )
    store = _store(inventory)
    if not replace and store.find(path) is not None:
        raise RefusedError(
            "supply a secret", on=path, got="there is one already", todo="say --replace to put another in its place"
        )
    store.put(path, _value(path))
    output.note(f"{path} is kept; it goes to {', '.join(declared[path])} at the next `zentoria up`.")


@secret_app.command("renew")
def renew(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="zentoria/jwt/secret_key, or zentoria/identity/NAME of a container.")],
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Make a key pair of the site anew; services get it at the next `up`.

    Tokens that the old signing key has signed stay good: it is kept beside the new one until it is renewed again.
    """
    inventory = inventory_of(context, root, site)
    declared = _declared(inventory)
    pairs = {one: "" for one in declared if one.startswith(identity_key(""))} | {JWT_KEY: JWT_PREVIOUS_KEY}
    if path not in declared or path not in pairs:
        raise RefusedError(
            "renew a secret",
            on=path,
            got="only key pairs of the site are made anew",
            todo=f"name one of {', '.join(sorted(pairs))}",
        )
    kind: Kind = "ec-keypair" if path == JWT_KEY else "keypair"
    _store(inventory).renew(path, generator(kind), pairs[path])
    output.note(f"{path} is another one; it goes to {', '.join(declared[path])} at the next `zentoria up`.")


def _value(path: str) -> str:
    asked = sys.stdin.isatty()
    text = (str(typer.prompt(path, hide_input=True)) if asked else sys.stdin.read(MAX_CHARACTERS + 1)).rstrip("\r\n")
    if not text or len(text) > MAX_CHARACTERS or "\0" in text:
        raise RefusedError(
            "supply a secret",
            on=path,
            got="nothing was given" if not text else f"it is longer than {MAX_CHARACTERS} characters, or binary",
            todo="type it when asked, or give it on standard input",
        )
    return text


def _declared(inventory: Inventory) -> dict[str, list[str]]:
    """Services by the path of the secret that they declare."""
    found: dict[str, list[str]] = {}
    for container in inventory.containers:
        for service in container.services:
            for path in service.secrets:
                found.setdefault(path, []).append(f"{container.name}.{service.name}")
    return found


def _store(inventory: Inventory) -> SecretFile:
    return SecretFile(inventory.site.secrets_path, outside=inventory.root)
