"""``zentoria users``: accounts of the site, from the workstation. Nobody's password is asked for or shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, YesOption, connect, inventory_of
from zentoria_infra.execute.service_program import OWNER_EXISTS, ServiceProgram, program_of

users_app = typer.Typer(no_args_is_help=True, help="Accounts: who may sign in. Links for first and new passwords.")
EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The account's e-mail address.")]


@users_app.command("list")
def list_(
    context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """List the accounts. Changes nothing."""
    with _auth(context, root, site, tried := "list the accounts") as auth:
        found = auth.json("users", "list", tried=tried)
    if as_json:
        output.document(found)
        return
    users = found.get("items", [])
    if not users:
        output.note("There are none yet: `zentoria users setup-link` prints the link for the first one.")
    width = max((len(str(one.get("email", ""))) for one in users), default=0)
    output.lines(
        f"{one.get('id', ''):>4}  {one.get('email', ''):<{width}}  {one.get('role', ''):<6}  "
        f"{'disabled' if one.get('disabled') else 'enabled':<8}  {one.get('name') or ''}".rstrip()
        for one in users
    )


@users_app.command("create")
def create(
    context: typer.Context,
    email: EmailArgument,
    name: Annotated[str, typer.Option("--name", help="What they are called.")] = "",
    owner: Annotated[bool, typer.Option("--owner", help="May do everything, also to other accounts.")] = False,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account, and print a link, good once and for an hour, with which its person chooses a password."""
    arguments = ["create", email, "--role", "owner" if owner else "member", *(["--name", name] if name else [])]
    with _auth(context, root, site, tried := "make an account") as auth:
        _told(auth.json("users", *arguments, tried=tried), f"{email} is made.", as_json=as_json)


@users_app.command("disable")
def disable(
    context: typer.Context,
    email: EmailArgument,
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let an account in no more, and end its sessions. Its files and keys stay; `enable` undoes it."""
    with _auth(context, root, site, tried := "disable an account") as auth:
        output.confirm(f"Disable {email}, and end its sessions?", yes)
        _told(auth.json("users", "disable", email, tried=tried), f"{email} is disabled.", as_json=as_json)


@users_app.command("enable")
def enable(
    context: typer.Context,
    email: EmailArgument,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a disabled account in again."""
    with _auth(context, root, site, tried := "enable an account") as auth:
        _told(auth.json("users", "enable", email, tried=tried), f"{email} is enabled.", as_json=as_json)


@users_app.command("reset")
def reset(
    context: typer.Context,
    email: EmailArgument,
    root: RootOption = None,
    site: SiteOption = None,
    second_factors: Annotated[
        bool, typer.Option("--second-factors", help="Also take its authenticator app and passkeys away.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take password and sessions from an account, and print a link, good once and for an hour, for a new password."""
    more = ["--second-factors"] if second_factors else []
    with _auth(context, root, site, tried := "reset an account") as auth:
        output.confirm(f"Take password{', second factors' if more else ''} and sessions from {email}?", yes)
        _told(auth.json("users", "reset", email, *more, tried=tried), f"{email} has no password now.", as_json=as_json)


@users_app.command("setup-link")
def setup_link(
    context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """Print the link, good once and for an hour, with which the first account is made; none once there is an owner."""
    with _auth(context, root, site, tried := "ask for the link of the first sign-in") as auth:
        found = auth.json("users", "setup-link", tried=tried, nothing=OWNER_EXISTS)
    _told(found, "" if found else "There is an owner already: `zentoria users list`.", as_json=as_json)


@contextmanager
def _auth(context: typer.Context, root: RootOption, site: SiteOption, tried: str) -> Iterator[ServiceProgram]:
    inventory = inventory_of(context, root, site)
    with connect(inventory.site) as proxmox:
        auth = program_of(inventory, proxmox, "auth", tried=tried)
        deployment_of(inventory, proxmox, firewall=False).require_ours(auth.container.vmid)
        yield auth


def _told(found: dict[str, Any], said: str, *, as_json: bool) -> None:
    if as_json:
        output.document(found)
        return
    if said:
        output.note(said)
    if found.get("url"):
        output.lines([str(found["url"])])
