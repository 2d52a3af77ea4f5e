"""``zentoria-backend audit search|export|tail``: rows of everybody, as lines of JSON, for the workstation.

Every value of a line is a text, as the chain's hashes cover it: ``zentoria audit verify`` reads what ``export`` writes.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import datetime
import sys
from collections.abc import AsyncGenerator
from typing import Any

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.database import Database, make_engine
from zentoria_common.problems import Unavailable
from zentoria_common.program import Command

from zentoria_backend.audit.service import LINE
from zentoria_backend.settings import Secrets, Settings

PAGE = 1000
FOLLOW_SECONDS = 1.0
_MOST = 2**62

_NEXT = sqlalchemy.text("SELECT id FROM audit_page(:after, 1)")
_ROWS = sqlalchemy.text(
    f"""
    SELECT {LINE} FROM audit_page(:after, :most)
    WHERE id < :before
      AND (CAST(:user AS bigint) IS NULL OR user_id = :user)
      AND (CAST(:action AS text) IS NULL OR starts_with(action, :action))
      AND (CAST(:severity AS text) IS NULL OR severity = :severity)
      AND (CAST(:since AS timestamptz) IS NULL OR timestamp >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR timestamp < :until)
    ORDER BY id
    """  # noqa: S608 - a constant
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    ways = parser.add_subparsers(dest="way", metavar="WAY", required=True)
    search = ways.add_parser(
        "search", help="rows that fit, oldest first: the newest --limit, or the first behind --after"
    )
    export = ways.add_parser("export", help="the same without a limit")
    tail = ways.add_parser("tail", help="the newest rows, and those to come")
    for each in (search, export, tail):
        _filters(each)
    for each in (search, export):
        each.add_argument("--after", type=_number, metavar="ID", help="only rows behind this one")
        each.add_argument("--before", type=_number, metavar="ID", help="only rows before this one")
    search.add_argument("--limit", type=_number, default=100, metavar="N", help="rows at most (default 100)")
    tail.add_argument("--limit", type=_number, default=20, metavar="N", help="rows to begin with (default 20)")
    tail.add_argument("--follow", action="store_true", help="go on until interrupted")


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=_moment, metavar="TIME", help="RFC 3339, as 2026-11-29T00:00:00Z")
    parser.add_argument("--until", type=_moment, metavar="TIME")
    parser.add_argument("--user", type=_number, metavar="ID")
    parser.add_argument("--action", metavar="PREFIX", help="as keys. or auth.failed")
    parser.add_argument("--severity", choices=("debug", "info", "notice", "warning", "error", "critical"))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"not a number: {text!r}")
    return int(text)


def _moment(text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time of RFC 3339: {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


async def run(settings: Settings, secrets: Secrets, options: argparse.Namespace) -> int:
    """Print the rows; 1 where the database does not answer."""
    database = Database(make_engine(settings, secrets.database_password, application="zentoria-audit", pool_size=1))
    try:
        await _print(database, options)
    except Unavailable:
        sys.stderr.write(
            f"audit: the database at {settings.database_host} port {settings.database_port} does not answer\n"
        )
        return 1
    except BrokenPipeError:  # whoever reads has enough
        sys.stdout = None
        return 0
    finally:
        await database.close()
    return 0


async def _print(database: Database, options: argparse.Namespace) -> None:
    asked = {
        "before": getattr(options, "before", None) or _MOST,
        "user": options.user,
        "action": options.action,
        "severity": options.severity,
        "since": options.since,
        "until": options.until,
    }
    end = await _last(database)
    after = getattr(options, "after", None)
    limit = None if options.way == "export" else options.limit
    if limit is None or after is not None:
        count = 0
        async for line in _rows(database, after or 0, end, asked):
            if limit is not None and count >= limit:
                return
            sys.stdout.write(f"{line}\n")
            count += 1
        return
    start = 0
    if all(value is None for name, value in asked.items() if name != "before"):
        start = max(0, min(end, asked["before"] - 1) - limit)  # ids have no gaps
    newest: collections.deque[str] = collections.deque(maxlen=limit)
    async for line in _rows(database, start, end, asked):
        newest.append(line)
    sys.stdout.writelines(f"{line}\n" for line in newest)
    sys.stdout.flush()
    while options.way == "tail" and options.follow:
        await asyncio.sleep(FOLLOW_SECONDS)
        start, end = end, await _last(database, end)
        async for line in _rows(database, start, end, asked):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


async def _rows(database: Database, after: int, end: int, asked: dict[str, Any]) -> AsyncGenerator[str]:
    """Lines of the rows behind ``after``, up to ``end``: a page and a transaction at a time."""
    while after < end:
        most = min(PAGE, end - after)
        async with database.session() as session:
            lines = (await session.scalars(_ROWS, {"after": after, "most": most, **asked})).all()
        for line in lines:
            yield line
        after += most  # ids have no gaps


async def _last(database: Database, known: int = 0) -> int:
    """The id of the newest row; ids have no gaps, so that halving finds it."""
    async with database.session() as session:
        step = 1
        while await _is_one_behind(session, known + step - 1):
            known, step = known + step, step * 2
        while step > 1:
            step //= 2
            if await _is_one_behind(session, known + step - 1):
                known += step
        return known


async def _is_one_behind(session: AsyncSession, number: int) -> bool:
    return await session.scalar(_NEXT, {"after": number}) is not None


COMMAND = Command("audit", "print rows of the audit trail as lines of JSON", configure, run)
