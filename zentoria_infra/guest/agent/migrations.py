"""Tables of databases: forward to the migration that a release needs, and back to the dump that was made before."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from . import common, rollback
from .common import SAME, Failed, Outcome, Resource

if TYPE_CHECKING:
    from .run import Run

_QUERY = r"""
select to_regclass('public.alembic_version') is not null as there \gset
\if :there
select version_num from public.alembic_version;
\endif
"""


def migration(resource: Resource, run: Run) -> Outcome:
    """A database at the migration that it shall have. One that is there costs a look, and no dump."""
    name, head = resource["database"], resource["head"]
    try:
        before = _current(resource)
    except Failed:
        if run.apply or not run.pending:
            raise
        before = ""  # the server may not be there yet, or the database
    if before == head:
        return SAME
    if before > head:
        detail = f"{name} is at migration {before}, and this release has none after {head}: a newer one was here"
        raise Failed(detail + "; deploy that one, or go back with it: `zentoria rollback` of this container")
    outcome = Outcome(True, f"migrate {name} {before or 'from nothing'} -> {head}", "", before, head)
    if run.apply:
        run.will_change(resource)
        run.progress(("dump and " if before else "") + outcome.detail)
        argv = [_program(resource), "migrate", "--database", name, "--dumps", resource["dumps"]]
        code, output = _run(argv, resource, run)
        after = before if code == 127 else _current(resource)
        if code:
            detail = f"{name} is not migrated, and is as it was, at {after or 'nothing'}"
            if after not in (before, head):
                detail = f"{name} is at {after or 'nothing'}, not {head}"
            raise Failed(detail, " ".join(argv), output)
        if after != head:
            raise Failed(f"the migration ended well, and {name} is at {after or 'nothing'}, not {head}")
    return outcome


def restore(resource: Resource, run: Run) -> Outcome:
    """A database at the migration that an earlier release needs: where it is at another one, from the newest dump."""
    one = resource["migration"]
    name = one["database"]
    version = rollback.target(resource["release"], resource["back"])
    program = os.path.join(one["root"], "releases", version, "bin", one["program"])
    heads = json.loads(common.must([program, "heads"], f"release {version} does not say which migrations it needs",
                                   user=one["user"]))  # fmt: skip
    head, before = str(heads.get(name, "")), _current(one)
    if not head or head == before:
        return SAME
    dump = _newest(one, head)
    detail = f"{name} {before or 'nothing'} -> {head}, as it was dumped at {dump}: what was written since is lost"
    if run.apply:
        run.will_change(resource)
        run.progress(f"restore {name} from the dump of {dump}")
        argv = [_program(one), "restore", "--database", name, "--dumps", one["dumps"], "--head", head]
        code, output = _run(argv, one, run)
        if code:
            detail = f"{name} is not restored, and is as it was; the release of now goes on"
            raise Failed(detail, " ".join(argv), output)
    return Outcome(True, detail, "", before, head)


def _newest(one: Resource, head: str) -> str:
    """The time of the newest dump at that migration, as its name has it. Raises Failed."""
    start = "{}-{}-".format(one["database"], head)
    names = os.listdir(one["dumps"]) if os.path.isdir(one["dumps"]) else []
    found = sorted(name for name in names if name.startswith(start) and name.endswith(".dump"))
    if not found:
        kept = ", ".join(sorted(name for name in names if name.startswith(one["database"] + "-"))) or "none"
        raise Failed(f"there is no dump of {one['database']} at migration {head} in {one['dumps']}; there are: {kept}")
    return found[-1][len(start) : -len(".dump")]


def _program(one: Resource) -> str:
    return os.path.join(one["root"], "current", "bin", one["program"])


def _run(argv: list[str], one: Resource, run: Run) -> tuple[int, str]:
    # A killed agent leaves it at work: it keeps the lock.
    env = {"PGPORT": str(one["port"])}
    return common.run(argv, user=one["user"], timeout=one["timeout"], env=env, hold=run.hold)


def _current(one: Resource) -> str:
    """The migration that the database has; empty where it never had one. Raises Failed."""
    argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", one["database"]]
    env = {"PGPORT": str(one["port"])}
    code, output, errors = common.run_apart(argv, stdin=_QUERY, user=one["user"], timeout=60, env=env)
    if code:
        raise Failed(f"{one['database']} does not say which migration it has", " ".join(argv), output + errors)
    return output.strip()
