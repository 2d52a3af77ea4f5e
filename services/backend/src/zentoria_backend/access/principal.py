"""Who asks: a user, by which credential, with which scopes."""

from __future__ import annotations

import dataclasses
from typing import Literal

Kind = Literal["session", "api_key", "oauth"]


@dataclasses.dataclass(frozen=True)
class Principal:
    """One caller, after its credential was found good.

    Args:
        user_id: ``users.id``.
        role: ``owner`` or ``member``.
        scopes: what this credential may do; never more than what its user may.
        kind: of the credential.
        credential_id: the session's, the key's, or the OAuth client's id; public.
        sid: the session or grant that a token belongs to.
        client_id: the OAuth client that got the token.
        expires_at: when the credential ends, in seconds since 1970; None: never.
    """

    user_id: int
    role: str
    scopes: frozenset[str]
    kind: Kind
    credential_id: str
    sid: str | None = None
    client_id: str | None = None
    expires_at: float | None = None

    @property
    def actor(self) -> str:
        """How audit rows and approvals name the credential, as ``api_key:0198...``."""
        return f"{self.kind}:{self.credential_id}"
