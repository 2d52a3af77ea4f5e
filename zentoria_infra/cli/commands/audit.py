"""``zentoria audit``: who did what, read where it is kept; and whether an export is whole, which needs nobody."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, connect, inventory_of
from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.service_program import ServiceProgram, program_of

audit_app = typer.Typer(no_args_is_help=True, help="The audit trail: who did what. Reads; changes nothing.")
PAGE = 5000
"""Rows of an export that are asked for at once."""
PATIENCE = 7 * 24 * 3600
"""Seconds that the trail may be silent while it is followed: the user is there to end it."""
_COLUMNS = ("timestamp", "severity", "actor", "user_id", "ip_address", "action", "resource_type", "resource_id")


def _time(text: str) -> str:
    """See that a time is one, before anybody is asked.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        datetime.datetime.fromisoformat(text or "2026-11-29")
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no time: write 2026-11-29 or 2026-11-29T20:00:00Z") from None
    return text


def _severity(text: str) -> str:
    """See that a severity is one.

    Raises:
        typer.BadParameter: it is none.
    """
    if text not in ("", "debug", "info", "notice", "warning", "error", "critical"):
        raise typer.BadParameter(f"'{text}' is none: info, notice, warning, error or critical")
    return text


UserOption = Annotated[
    int | None, typer.Option("--user", min=1, help="Of this account: its number, as `zentoria users list` has it.")
]
SeverityOption = Annotated[
    str, typer.Option("--severity", help="info, notice, warning, error or critical.", callback=_severity)
]
ActionOption = Annotated[str, typer.Option("--action", help="Whose name begins so, as `auth.` or `files.delete`.")]


@audit_app.command("search")
def search(
    context: typer.Context,
    user: UserOption = None,
    action: ActionOption = "",
    severity: SeverityOption = "",
    since: Annotated[
        str, typer.Option("--since", help="A time, as 2026-11-29 or 2026-11-29T20:00:00Z.", callback=_time)
    ] = "",
    until: Annotated[str, typer.Option("--until", help="The same.", callback=_time)] = "",
    count: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many of the last.")] = 100,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show rows of the trail, oldest first; with --json each as a line of JSON."""
    wanted = {"user": user, "action": action, "severity": severity, "since": since, "until": until, "limit": count}
    with _gateway(context, root, site, tried := "search the audit trail") as gateway:
        said = gateway.run("audit", "search", *_options(wanted), tried=tried)
    _print(said.splitlines(), as_json=as_json)


@audit_app.command("tail")
def tail(
    context: typer.Context,
    user: UserOption = None,
    action: ActionOption = "",
    severity: SeverityOption = "",
    count: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many of the last.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new rows come, until Ctrl-C.")] = False,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last rows of the trail."""
    arguments = ("audit", "tail", *_options({"user": user, "action": action, "severity": severity, "limit": count}))
    with _gateway(context, root, site, tried := "read the audit trail") as gateway:
        if not follow:
            _print(gateway.run(*arguments, tried=tried).splitlines(), as_json=as_json)
            return
        argv = gateway.argv(*arguments, "--follow")
        with gateway.proxmox.pct.session(gateway.container.vmid, argv, PATIENCE) as session:
            try:
                while line := session.read_line(PATIENCE):
                    _print([line.decode("utf-8", "replace").rstrip("\n")], as_json=as_json)
            except KeyboardInterrupt:
                return


@audit_app.command("export")
def export(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file; it must not be there yet.")],
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Write the whole trail to a file, a row a line, for `zentoria audit verify` anywhere."""
    with _gateway(context, root, site, "export the audit trail") as gateway:
        rows = _written(gateway, out)
    output.note(f"{rows} rows; `zentoria audit verify {out}` holds them against each other.")


@audit_app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `zentoria audit export` wrote.")],
    expect: Annotated[
        str, typer.Option("--hash", help="The last row's hash as you know it from before: nothing was cut off.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Check the chain of an export, without the site and without a network: nothing was changed, added or left out."""
    chain = _chain()
    try:
        with file.open(encoding="utf-8") as lines:
            verdict = chain.verify(lines)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise RefusedError("verify an export", on=str(file), got=str(reason), todo="name another file") from None
    broken = verdict.broken
    cut = bool(expect) and broken is None and not _has(file, expect, chain)
    if as_json:
        place = {"line": broken.line, "id": broken.id, "reason": broken.reason} if broken else None
        output.document({"rows": verdict.rows, "last": verdict.last, "hash": verdict.hash, "broken": place,
                         "missing_hash": expect if cut else None})  # fmt: skip
    elif broken is not None:
        output.problem(f"{file}:{broken.line}: {broken.reason} (row {broken.id}); {verdict.rows} rows before it hold")
    elif cut:
        output.problem(f"{file}: no row has the hash {expect}: the end of the trail is missing, or was written anew")
    else:
        output.lines([f"{verdict.rows} rows hold. The last one, {verdict.last}, has the hash {verdict.hash}"])
    if broken is not None or cut:
        raise typer.Exit(ExitCode.FAILED)


def _has(file: Path, expect: str, chain: Any) -> bool:
    """Whether a row has that hash, or nothing came before the first one."""
    if expect == chain.START:
        return True
    with file.open(encoding="utf-8") as lines:
        return any(json.loads(line)["hash"] == expect for line in lines if line.strip())


def _written(gateway: ServiceProgram, out: Path) -> int:
    """Write the trail to a new file that only its owner reads; all of it, or no file: a part would verify as well."""
    try:
        with open(out, "x", encoding="utf-8", opener=_private) as file:
            try:
                return _write(gateway, file)
            except BaseException:
                out.unlink()
                raise
    except OSError as error:
        raise RefusedError(
            "export the audit trail", on=str(out), got=error.strerror or str(error), todo="name another file"
        ) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(gateway: ServiceProgram, file: IO[str]) -> int:
    """Write page after page, until one is not full: what comes meanwhile is for the next export."""
    rows, after, more = 0, "0", True
    asked = ("audit", "search", "--limit", str(PAGE), "--after")
    while more:
        lines = gateway.run(*asked, after, tried="export the audit trail").splitlines()
        file.writelines(f"{line}\n" for line in lines)
        rows, more = rows + len(lines), len(lines) == PAGE
        after = str(json.loads(lines[-1])["id"]) if lines else after
    return rows


def _options(wanted: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in wanted.items() if value]


def _print(lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        output.lines(lines)
        return
    output.lines("  ".join(_fields(json.loads(line))) for line in lines)


def _fields(row: Mapping[str, Any]) -> Iterator[str]:
    for name in _COLUMNS:
        text = "".join(one if one.isprintable() else "?" for one in str(row.get(name) or "-"))
        yield f"{text:<8}" if name == "severity" else text


@contextmanager
def _gateway(context: typer.Context, root: RootOption, site: SiteOption, tried: str) -> Iterator[ServiceProgram]:
    inventory = inventory_of(context, root, site)
    with connect(inventory.site) as proxmox:
        gateway = program_of(inventory, proxmox, "backend", tried=tried)
        deployment_of(inventory, proxmox, firewall=False).require_ours(gateway.container.vmid)
        yield gateway


def _chain() -> Any:
    """The chain's own module, which `make setup` installs beside this one; it needs no database."""
    try:
        from zentoria_schema import audit_chain
    except ImportError:
        raise RefusedError(
            "read the audit trail", got="the package zentoria-schema is not installed", todo="run `make setup`"
        ) from None
    return audit_chain
