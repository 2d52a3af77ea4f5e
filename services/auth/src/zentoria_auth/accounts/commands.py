"""``zentoria-auth users``: accounts, by who administers the machine. ``zentoria users`` runs it in the guest.

Nothing secret is an argument: a password is set by its person, over a link that works once.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from zentoria_common.problems import Problem
from zentoria_common.program import Command

from zentoria_auth.peer import Peer
from zentoria_auth.services import Services, make_services
from zentoria_auth.settings import Secrets, Settings
from zentoria_auth.setup.service import Link, OwnerExists

EX_OWNER_EXISTS = 3
"""Exit code of ``setup-link`` where there is an owner: nothing is wrong, and nothing to do."""
ACTOR = "service:zentoria-users"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list", json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, *, email: bool = True) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text)
        if email:
            added.add_argument("email", metavar="EMAIL")
        added.add_argument("--json", action="store_true", help="answer in JSON")
        return added

    action("list", "list the accounts", email=False)
    create = action("create", "make an account, and a link with which its person sets a password")
    create.add_argument("--name", default="", help="the person's name")
    create.add_argument("--role", choices=("member", "owner"), default="member")
    action("disable", "let nobody sign in to an account, and end its sessions")
    action("enable", "let an account be signed in to again")
    reset = action("reset", "end an account's password, sessions and delays; make a link for a new password")
    reset.add_argument("--second-factors", action="store_true", help="take its authenticator app and passkeys away too")
    action("setup-link", "make the link for the first account; it works once, for an hour", email=False)


async def _run(settings: Settings, secrets: Secrets, options: argparse.Namespace) -> int:
    services = make_services(settings, secrets)
    try:
        answer, text = await _do(services, options)
    except OwnerExists as error:
        sys.stderr.write(f"zentoria-auth: {error.detail}\n")
        return EX_OWNER_EXISTS
    except Problem as error:
        # What it refuses names the command; a service that is ill names itself alone.
        tried = f"users {options.action}: " if error.status < 500 else ""
        sys.stderr.write(f"zentoria-auth: {tried}{error.detail}\n")
        return 1
    finally:
        services.hasher.close()
        await services.redis.aclose()
        await services.database.close()
    sys.stdout.write(json.dumps(answer) + "\n" if options.json else text)
    return 0


async def _do(services: Services, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    accounts, setup, peer = services.accounts, services.setup, Peer()
    match options.action:
        case "list":
            found = await accounts.listed()
            lines = (
                f"{one.id:>4}  {'disabled' if one.disabled else one.role:<8}  {one.email}  {one.name}\n"
                for one in found
            )
            return {"items": [one.model_dump(mode="json") for one in found]}, "".join(lines)
        case "create":
            made = await accounts.create(options.email, options.name, options.role, peer, ACTOR)
            link = await setup.for_account("invite", made.id, peer, ACTOR)
            return {"user": made.model_dump(mode="json"), **_link(link)}, _told(link)
        case "disable":
            await accounts.disable(options.email, peer, ACTOR)
            return {"email": options.email, "disabled": True}, f"{options.email} is disabled\n"
        case "enable":
            await accounts.enable(options.email, peer, ACTOR)
            return {"email": options.email, "disabled": False}, f"{options.email} is enabled\n"
        case "reset":
            candidate = await accounts.reset(options.email, peer, ACTOR, second_factors=options.second_factors)
            link = await setup.for_account("reset", candidate.id, peer, ACTOR)
            return {"email": candidate.email, **_link(link)}, _told(link)
        case _:
            link = await setup.first_run(peer, ACTOR)
            return _link(link), _told(link)


def _link(link: Link) -> dict[str, Any]:
    return {"url": link.url, "purpose": link.purpose, "expires_at": link.expires_at.isoformat()}


def _told(link: Link) -> str:
    return f"{link.url}\nIt works once, until {link.expires_at:%Y-%m-%d %H:%M} UTC.\n"


USERS: Command[Settings, Secrets] = Command("users", "accounts of this site", _arguments, _run)
