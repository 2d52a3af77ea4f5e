"""The administrator of a server, whose secret is asked for and never kept."""

from __future__ import annotations

import os
import sys

import typer

from zentoria_infra.cli.context import node_title
from zentoria_infra.errors import AuthError
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.proxmox.connection import ApiToken, Credentials, Password
from zentoria_infra.proxmox.secret import Secret

SECRET_VARIABLE = "ZENTORIA_PVE_ADMIN_SECRET"  # noqa: S105 - the variable's name
"""Environment variable with the administrator's password or token secret."""


def administrator(inventory: Inventory, name: str, from_stdin: bool) -> Credentials:
    """Who does it, with a secret that was never on a command line.

    Args:
        inventory: of the site.
        name: as ``root@pam``, or a token as ``root@pam!name``.
        from_stdin: the secret is the first line of standard input; else it is in the environment, or asked for.

    Raises:
        AuthError: there is no secret.
    """
    user, bang, token = name.partition("!")
    what = f"the secret of {name}" if bang else f"the password of {name}"
    where = node_title(inventory.site)
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    elif (found := os.environ.get(SECRET_VARIABLE)) is not None:
        text = found.strip()
    elif sys.stdin.isatty():
        text = typer.prompt(f"{what} on {where}", hide_input=True, err=True)
    else:
        text = ""
    if not text:
        raise AuthError(
            f"log in as {name}",
            on=where,
            got=f"there is no secret: {what} was not given, and there is no terminal to ask on",
            todo=f"give it on standard input with --secret-stdin, or in {SECRET_VARIABLE}",
        )
    return ApiToken(user, token, Secret(text)) if bang else Password(user, Secret(text))
