"""Verifies an exported trail without the database. Pure.

An export is lines of JSON, oldest first, as ``EXPORT`` makes them, every value as text. A row's hash is SHA-256 of the
hash before it (32 bytes) and of the row's fields, each its length in bytes, a colon and itself, with commas between; a
null is a minus. The function ``audit_canonical`` of the database does the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable

FIELDS = (
    "id",
    "timestamp",
    "user_id",
    "action",
    "resource_type",
    "resource_id",
    "ip_address",
    "user_agent",
    "details",
    "severity",
    "actor",
    "request_id",
)
"""What the hash covers, in this order."""
START = "00" * 32
"""The hash before the first row."""
LINE = """json_build_object(
    'id', id::text,
    'timestamp', to_char(timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'user_id', user_id::text,
    'action', action,
    'resource_type', resource_type,
    'resource_id', resource_id,
    'ip_address', ip_address::text,
    'user_agent', user_agent,
    'details', details::text,
    'severity', severity,
    'actor', actor,
    'request_id', request_id,
    'prev_hash', encode(prev_hash, 'hex'),
    'hash', encode(hash, 'hex')
)::text"""
"""SQL of one line of an export, for a row of ``audit_log`` or of ``audit_page(after, most)``."""
EXPORT = f"select {LINE} from audit_log order by id"  # noqa: S608 - of constants
"""The query that makes an export, one line a row, for who sees all rows."""
_HASH = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Broken:
    """Where the chain does not hold.

    Args:
        line: number of the line in the export, from 1.
        id: the row's id as the line has it, or None.
        reason: what is wrong with it.
    """

    line: int
    id: str | None
    reason: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an export proves.

    Args:
        rows: how many rows hold, from the first line on.
        first: id of the first row, or None in an empty export.
        last: id of the last row that holds.
        hash: its hash: who knows it from elsewhere knows that nothing is cut off or was written anew.
        broken: the first line that does not hold, or None.
    """

    rows: int
    first: int | None
    last: int | None
    hash: str
    broken: Broken | None


def verify(lines: Iterable[str], *, after: str = START, whole: bool = True) -> Verdict:
    """Go through an export until its end, or the first line that does not hold.

    Args:
        lines: lines of JSON.
        after: the hash before the first row, 64 hexadecimal digits.
        whole: the export begins with the trail's first row. Otherwise the first line's ``prev_hash`` is believed.
    """
    before: str | None = after if whole else None
    first: int | None = None
    last: int | None = 0 if whole else None
    rows = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line)
        if isinstance(row, str):
            return Verdict(rows, first, last if rows else None, before or after, Broken(number, None, row))
        reason = _reason(row, before, last)
        if reason is not None:
            return Verdict(rows, first, last if rows else None, before or after, Broken(number, row["id"], reason))
        before, last, rows = str(row["hash"]), int(str(row["id"])), rows + 1
        first = last if first is None else first
    return Verdict(rows, first, last if rows else None, before or after, None)


def digest(before: str, row: dict[str, str | None]) -> str:
    """The hash of ``row`` after the hash ``before``, both as hexadecimal digits."""
    canonical = ",".join(_field(row[name]) for name in FIELDS)
    return hashlib.sha256(bytes.fromhex(before) + canonical.encode()).hexdigest()


def _field(value: str | None) -> str:
    return "-" if value is None else f"{len(value.encode())}:{value}"


def _row(line: str) -> dict[str, str | None] | str:
    """The row of a line, or what is wrong with the line."""
    try:
        row = json.loads(line)
        line.encode()
    except (ValueError, RecursionError):
        return "it is not JSON"
    if not isinstance(row, dict) or set(row) != {*FIELDS, "prev_hash", "hash"}:
        return "it does not have a row's fields"
    if not all(value is None or isinstance(value, str) for value in row.values()):
        return "its values are not all text"
    if any(isinstance(value, str) and not _encodes(value) for value in row.values()):
        return "it has half a character"
    if not all(isinstance(row[name], str) and _HASH.fullmatch(row[name]) for name in ("prev_hash", "hash")):
        return "its hashes are not 64 hexadecimal digits"
    if not isinstance(row["id"], str) or not re.fullmatch("[0-9]{1,19}", row["id"]):
        return "its id is not a number"
    return row


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason(row: dict[str, str | None], before: str | None, last: int | None) -> str | None:
    """Why a row does not follow, or None."""
    number = int(str(row["id"]))
    if last is not None and number != last + 1:
        return f"after row {last} comes row {last + 1}: rows are missing, doubled or moved"
    if before is not None and row["prev_hash"] != before:
        return "its prev_hash is not the hash of the row before: that row was changed"
    if digest(str(row["prev_hash"]), row) != row["hash"]:
        return "its hash is not that of what it says: this row was changed"
    return None
