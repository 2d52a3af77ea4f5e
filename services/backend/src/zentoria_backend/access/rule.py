"""What one line of the permission table says."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zentoria_common.scopes import ADMIN, SCOPES

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS", "TOOL"]

PUBLIC = None
"""In place of a scope: the route asks for no credential."""

ANY = ""
"""In place of a scope: the route asks for a credential, and judges for itself what its scopes let it see."""

Owner = Literal["none", "own", "all"]
NONE: Owner = "none"
"""What it works on belongs to nobody, or to the caller by definition (there is no id to forge)."""
OWN: Owner = "own"
"""It names a thing that somebody owns: another user's is as if it were not there (404)."""
ALL: Owner = "all"
"""It shows what everybody owns, to role ``owner``; to others what is theirs."""

Audience = Literal["api", "mcp"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """Who may use one route, WebSocket or MCP tool.

    Args:
        method: of HTTP; ``WS`` for a WebSocket, ``TOOL`` for an MCP tool.
        path: the template of the route, or the tool's name.
        scope: which the credential must have; ``ANY``: whichever it has; ``PUBLIC``: no credential is looked at.
        owner: how far the caller sees.
        kinds: of credentials that are taken.
    """

    method: Method
    path: str
    scope: str | None
    owner: Owner = NONE
    kinds: tuple[str, ...] = ("session", "api_key", "oauth")

    def __post_init__(self) -> None:
        """Refuse a scope that there is not: a slip of the pen would lock everybody out, or nobody."""
        if self.scope and self.scope not in SCOPES and self.scope != ADMIN:
            raise ValueError(f"{self.method} {self.path}: there is no scope {self.scope!r}")
