"""``zentoria bootstrap``: what an administrator lets Zentoria make, once, on a Proxmox server."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from zentoria_infra.bootstrap import api as bootstrap
from zentoria_infra.bootstrap import look
from zentoria_infra.bootstrap import nat as bootstrap_nat
from zentoria_infra.bootstrap import ssh as bootstrap_ssh
from zentoria_infra.bootstrap.api import Wanted
from zentoria_infra.bootstrap.files import Action, SiteFiles
from zentoria_infra.bootstrap.look import Door
from zentoria_infra.bootstrap.nat import Do
from zentoria_infra.cli import output
from zentoria_infra.cli.administrator import SECRET_VARIABLE, administrator
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    YesOption,
    endpoint_of,
    inventory_of,
    node_title,
    ssh_of,
)
from zentoria_infra.errors import AuthError, ExitCode, RefusedError, ZentoriaError
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.privileges import ZONE
from zentoria_infra.proxmox.access import Access
from zentoria_infra.proxmox.connection import ApiToken, Connection
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget
from zentoria_infra.site.run_lock import LockedError, described
from zentoria_infra.site.site_state import memory


def bootstrap_(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    yes: YesOption = False,
    admin: Annotated[
        str, typer.Option("--as", metavar="USER", help="The administrator: `root@pam`, or a token as `root@pam!name`.")
    ] = "root@pam",
    from_stdin: Annotated[
        bool,
        typer.Option(
            "--secret-stdin",
            help=f"Read the administrator's password or token secret from standard input (else ${SECRET_VARIABLE}, "
            "else it is asked for).",
        ),
    ] = False,
    root_key: Annotated[
        Path | None,
        typer.Option("--root-key", metavar="FILE", help="Private key for root's SSH on the node (else the SSH agent)."),
    ] = None,
    with_ssh: Annotated[
        bool, typer.Option("--ssh/--no-ssh", help="Also put Zentoria's restricted SSH key on the node.")
    ] = True,
    dry: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Make the token anew, when its secret is lost; the old one ends.")
    ] = False,
    nat: Annotated[
        bool, typer.Option("--nat", help="Also make NAT on the node, where guests get out only through it.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Undo what was made from this machine.")] = False,
) -> None:
    """Make pool, roles, user, token and SSH key for Zentoria on a Proxmox server, with the least rights that do."""
    inventory = inventory_of(context, root, site)
    files = SiteFiles(inventory.site)
    root_key = root_key.expanduser().absolute() if root_key is not None else None
    with (
        closing(Connection(endpoint_of(inventory.site), administrator(inventory, admin, from_stdin))) as connection,
        contextlib.ExitStack() as stack,
    ):
        access = Access(connection)
        what = _wanted(inventory, connection)
        seen = bootstrap.look(access, what)
        kept: tuple[str, ...] = ()
        if remove:
            todo = bootstrap.removal(what, seen, files.made())
            kept = bootstrap.kept(seen, files.made(), todo)
            _require_empty(connection, inventory, todo)
            if todo:
                _require_no_run(inventory, with_ssh=with_ssh)
        else:
            # Of a run that was lost in the middle: nobody has that secret.
            lost = bootstrap.is_lost(what, seen, files)
            todo = bootstrap.steps(what, seen, new_secret=new_secret or lost)
        if not as_json:
            output.lines(f"  {_MARKS[step.verb]} {step.says}" for step in todo)
        # All that can be wrong on this machine and with SSH is told before the first write.
        look.require_usable(files, root_key, with_ssh=with_ssh)
        target = ssh_of(inventory.site)
        door = look.door(inventory, target, files, root_key, remove=remove) if with_ssh else None
        if door is not None:
            stack.callback(door.close)
        if remove and todo and not dry:
            output.confirm(f"Remove this from {node_title(inventory.site)}?", yes)
        # SSH goes first when all is taken away: the record says what is left until the end.
        ssh = _ssh(inventory, files, door, dry=dry, remove=True) if remove else {}
        if not dry:
            bootstrap.carry_out(access, what, todo, files)
        if remove and not dry and any(step.kind == "token" for step in todo):
            files.forget_token()
        if not remove:
            if not dry and files.has_token:
                _prove(inventory, what, files)
            ssh = _ssh(inventory, files, door, dry=dry, remove=False, nat=nat)
            if not with_ssh:
                output.note(_NO_SSH)
    _report(inventory, what, files, todo, ssh, as_json=as_json, dry=dry, remove=remove, kept=kept)


def _wanted(inventory: Inventory, connection: Connection) -> Wanted:
    """What the site needs on this server. What is dangerous in it is said aloud."""
    bold = sorted(f"{one.name} ({one.vmid})" for one in inventory.containers if not one.unprivileged)
    major = 9
    if bold:
        major = Observer(connection.reader(), inventory.site.proxmox.node).version().major
        output.note(
            f"ATTENTION: {', '.join(bold)} {'is' if len(bold) == 1 else 'are'} privileged, by the inventory. The gate "
            "lets Zentoria's SSH key in there all the same: whoever has that key is as good as root on the node."
        )
    zones = Access(connection).vnets()
    return bootstrap.wanted(inventory, lambda bridge: zones.get(bridge, ZONE), major)


def _require_no_run(inventory: Inventory, *, with_ssh: bool) -> None:
    """A run at work would lose its rights in the middle.

    Raises:
        LockedError: the site's lock is held.
    """
    site = inventory.site
    target = ssh_of(site) if with_ssh else None
    connection = SshConnection(target) if target is not None and target.key_file is not None else None
    try:
        state = memory(site, connection, lambda text: None)
        holder = state.holder()
    finally:
        if connection is not None:
            connection.close()
    if holder is not None and holder.left > 0:
        raise LockedError(
            "remove what bootstrap made",
            on=state.where,
            got=f"a run is at work: {described(holder)}",
            todo="wait until it has ended; `zentoria lock` shows it; nothing was changed",
            holder=holder,
        )


_NO_SSH = (
    "--no-ssh: nothing is put on the node. With a key of your own there, package sources that a dead workstation has "
    "left open stay so until the next run, and a container starts a whole cycle of pve-firewall after its rules"
)
_MARKS = {"make": "+", "give": "+", "change": "~", "remove": "-", "take": "-"}


def _require_empty(connection: Connection, inventory: Inventory, todo: Sequence[Action]) -> None:
    """A pool with containers cannot be removed: told before anything is taken away."""
    pve = inventory.site.proxmox
    if not any(step.kind == "pool" for step in todo):
        return
    pool = Observer(connection.reader(), pve.node).pool(pve.pool)
    members = [*map(str, pool.guests), *pool.storages] if pool else []
    if members:
        raise RefusedError(
            f"remove pool {pve.pool}",
            on=node_title(inventory.site),
            got=f"{', '.join(members)} are in it",
            todo="remove the containers first (`zentoria down`); nothing was changed",
        )


def _prove(inventory: Inventory, what: Wanted, files: SiteFiles) -> None:
    """Log in with the token, and see that it has every right."""
    token = ApiToken(what.user, what.token, Secret(files.token.read_text().strip()))
    with closing(Connection(endpoint_of(inventory.site), token)) as connection:
        try:
            held = Observer(connection.reader(), inventory.site.proxmox.node).permissions()
        except AuthError as error:
            raise AuthError(
                f"use the token {what.full_token}",
                on=node_title(inventory.site),
                got=error.got,
                todo=f"the secret in {files.token} is not the token's: bring the right one, or make the token anew "
                "with --new-secret (the old secret ends then)",
            ) from None
    privileges = dict(what.roles)
    missing = [
        f"{privilege} on {path}"
        for path, role, _ in what.places
        for privilege in sorted(privileges[role])
        if not held.allows(path, privilege)
    ]
    if missing:
        raise RefusedError(
            f"use the token {what.full_token}",
            on=node_title(inventory.site),
            got=f"it still lacks {', '.join(missing)}",
            todo="look for `NoAccess` or other roles of that user on these paths (Datacenter > Permissions)",
        )


def _ssh(
    inventory: Inventory, files: SiteFiles, door: Door | None, *, dry: bool, remove: bool, nat: bool = False
) -> dict[str, Any]:
    """The SSH part: what was changed, or why nothing could be."""
    if door is None:
        return {}
    if door.login is None or door.own is None:
        if nat:
            return {"error": f"No NAT was made: {door.why_not}", "code": int(ExitCode.FAILED)}
        return {"why_not": door.why_not}
    try:
        do: Do = "remove" if remove else "install" if nat else "look"
        ours = not remove or ("node", inventory.site.ssh_host) in {(step.kind, step.name) for step in files.made()}
        found = _install(door.login, inventory, files, door.own, dry=dry, remove=remove) if ours else {}
        return {**found, **_nat(door.login, inventory, files, dry=dry, do=do)}
    except ZentoriaError as error:
        return {"error": str(error), "code": int(error.exit_code)}


def _install(
    login: SshConnection,
    inventory: Inventory,
    files: SiteFiles,
    own: SshTarget,
    *,
    dry: bool,
    remove: bool,
) -> dict[str, Any]:
    site = inventory.site
    changed: list[str] = []
    key, made = files.key, {(step.kind, step.name) for step in files.made()}
    if not remove and not key.exists():
        changed.append(f"a key pair in {key}")
        if not dry and bootstrap_ssh.ensure_key(key, bootstrap_ssh.mark(site.id)):
            files.remember(Action("key", "make", str(key), f"make an SSH key in {key}"))
    public = bootstrap_ssh.public_line(key) if key.exists() else bootstrap_ssh.NO_KEY
    done = bootstrap_ssh.install(login, inventory, public, dry=dry, remove=remove)
    changed += [f"{path} on {own.host}" for path in done.changed]
    if not dry and remove:
        files.remember(Action("node", "remove", site.ssh_host, ""))
        if ("key", str(key)) in made:
            key.unlink(missing_ok=True)
            key.with_name(f"{key.name}.pub").unlink(missing_ok=True)
            files.remember(Action("key", "remove", str(key), ""))
            changed.append(f"a key pair in {key}")
    elif not dry:
        if done.changed:
            files.remember(Action("node", "make", site.ssh_host, f"put the SSH key on {own.host}"))
        bootstrap_ssh.prove(SshTarget(own.host, own.host_key, port=own.port, user=own.user, key_file=key))
    return {"key": str(key), "changed": changed, "same": [f"{path} on {own.host}" for path in done.same]}


def _nat(login: SshConnection, inventory: Inventory, files: SiteFiles, *, dry: bool, do: Do) -> dict[str, Any]:
    """NAT on the node: what was changed of it, and how it is."""
    where = inventory.site.ssh_host
    if do == "remove" and ("nat", where) not in {(step.kind, step.name) for step in files.made()}:
        return {}
    try:
        found = bootstrap_nat.carry_out(login, inventory, do, dry=dry)
    except ZentoriaError as error:
        if do == "look":
            return {"nat": {"says": [f"NAT for guests was not looked at: {error}"]}}
        return {"error": str(error), "code": int(error.exit_code)}
    if not dry and (do == "remove" or (do == "install" and found.changed)):
        files.remember(Action("nat", "remove" if do == "remove" else "make", where, f"NAT on {where}"))
    answer: dict[str, Any] = {"nat": {**dataclasses.asdict(found), "good": found.good, "says": found.text()}}
    if do == "install" and not dry and not found.good:
        answer |= {"error": f"Guests do not get out yet by NAT on {where}: see above.", "code": int(ExitCode.FAILED)}
    return answer


def _report(
    inventory: Inventory,
    what: Wanted,
    files: SiteFiles,
    todo: Sequence[Action],
    ssh: dict[str, Any],
    *,
    as_json: bool,
    dry: bool,
    remove: bool,
    kept: Sequence[str],
) -> None:
    here = files.has_token
    if as_json:
        output.document(
            {
                "site": inventory.site.id,
                "dry_run": dry,
                "remove": remove,
                "steps": [{"kind": s.kind, "verb": s.verb, "name": s.name, "says": s.says} for s in todo],
                "token": {"id": what.full_token, "file": str(files.token), "here": here},
                "ssh": ssh,
            }
        )
    else:
        sign = "-" if remove else "+"
        nat = ssh.get("nat", {})
        changed = [*ssh.get("changed", ()), *(f"NAT: {text}" for text in nat.get("changed", ()))]
        output.lines(f"  {sign} {text}" for text in changed)
        count = len(todo) + len(changed)
        title = node_title(inventory.site)
        if dry:
            output.note(f"{count} changes would be made on {title}; nothing was changed.")
        elif count:
            output.note(f"Done on {title}: {count} changes.")
        else:
            output.note(
                f"Nothing to do on {title}: {'the rest' if kept else 'all'} is {'gone' if remove else 'there'}."
            )
        if kept:
            output.note(f"Left, since others need it: {', '.join(kept)}.")
        if here and not remove:
            output.note(f"The secret of {what.full_token} is in {files.token}.")
        for text in nat.get("says", ()):
            output.note(text)
        if "why_not" in ssh:
            output.note(f"SSH: {ssh['why_not']}")
    if not here and not dry and not remove:
        output.note(
            f"The secret of {what.full_token} is not on this machine: bring the file {files.token} here, or make the "
            "token anew with --new-secret (the old secret ends then)."
        )
    if "error" in ssh:
        output.problem(str(ssh["error"]))
        raise typer.Exit(ExitCode(ssh["code"]))
