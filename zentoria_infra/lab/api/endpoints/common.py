"""What several endpoints need."""

from __future__ import annotations

import re

from zentoria_infra.lab.api.auth.rights import TOP_PATHS
from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.formats import split_list as items
from zentoria_infra.lab.api.routing import Call

__all__ = ["TOP_PATHS", "check_userid", "items"]


def check_userid(call: Call) -> str:
    """The user that a call is about; a name that is none is status 500, since this comes before the schema."""
    userid = str(call.raw.get("userid") or "")
    if not re.fullmatch(r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+", userid):
        raise internal(f"value '{userid}' does not look like a valid user name")
    return userid
