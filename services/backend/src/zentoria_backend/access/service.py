"""From a request to a principal, and from a principal to a decision."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

import sqlalchemy
import structlog
from starlette.requests import HTTPConnection
from zentoria_common.database import Database
from zentoria_common.problems import Problem
from zentoria_common.scopes import ADMIN, ROLES, SCOPES, Role
from zentoria_common.siblings import Siblings
from zentoria_common.statements import Statement

from zentoria_backend.access.context import current_client
from zentoria_backend.access.credentials import (
    Credential,
    KeyCredential,
    TokenCredential,
    extract,
    insufficient,
    unauthorized,
)
from zentoria_backend.access.expiring import Expiring
from zentoria_backend.access.principal import Principal
from zentoria_backend.access.rule import Audience, Rule
from zentoria_backend.access.rules import TABLE
from zentoria_backend.access.tokens import WEB_CLIENT, TokenVerifier

KEY_SECONDS = 2.0
"""For how long a key that was found good is not looked up again. One that is revoked here is refused at once."""
SESSION_SECONDS = 5.0
"""The same for a session; longer than this no ended session goes on."""
USED_SECONDS = 60.0
"""How exact ``last_used_at`` of a key is."""
KEYS, SESSIONS = "keys changed", "sessions changed"
"""What workers tell each other."""

_log = structlog.stdlib.get_logger("zentoria_backend.access")
_FIND_KEY = Statement(sqlalchemy.text("SELECT * FROM find_api_key(:prefix)"))
_KEY_GOOD = Statement(
    sqlalchemy.text(
        "SELECT EXISTS (SELECT FROM api_keys k JOIN users u ON u.id = k.user_id"
        " WHERE k.id = CAST(:id AS uuid) AND k.revoked_at IS NULL AND u.disabled_at IS NULL)"
    )
)
_LIVE = Statement(sqlalchemy.text("SELECT session_live(:sid)"))
_USED = Statement(sqlalchemy.text("SELECT touch_api_key(CAST(:id AS uuid), CAST(:ip AS inet))"))


class Access:
    """Authenticates and authorizes.

    Args:
        database: where keys and sessions are.
        tokens: verifies bearer tokens.
        public_url: of the site; audiences are below it.
        rules: the permission table.
        siblings: the other workers, which forget what this one has changed.
    """

    def __init__(
        self,
        database: Database,
        tokens: TokenVerifier,
        public_url: str,
        rules: Mapping[tuple[str, str], Rule] = TABLE,
        siblings: Siblings | None = None,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._audiences: dict[Audience, str] = {"api": f"{public_url}/api", "mcp": f"{public_url}/mcp"}
        self._rules = rules
        self._keys: Expiring[Principal] = Expiring(KEY_SECONDS)
        self._live: Expiring[bool] = Expiring(SESSION_SECONDS)
        self._used: Expiring[bool] = Expiring(USED_SECONDS)
        self._marking: set[asyncio.Task[None]] = set()
        self._siblings = siblings or Siblings()
        self._siblings.on(KEYS, self._keys_changed)
        self._siblings.on(SESSIONS, self._sessions_changed)

    async def authenticate(self, connection: HTTPConnection, *, audience: Audience = "api") -> Principal:
        """Who asks. The answer is kept with the request: a second question costs nothing.

        Raises:
            Problem: 400 for two credentials, 401 for none or one that is not good.
            Unavailable: what would tell is away.
        """
        kept = getattr(connection.state, "principal", None)
        if isinstance(kept, Principal):
            return kept
        credential = extract(cast("dict[str, Any]", connection.scope))
        if credential is None:
            raise unauthorized("the request has no credential", error="")
        principal = await self.identify(credential, audience)
        connection.state.principal = principal
        return principal

    async def identify(self, credential: Credential, audience: Audience) -> Principal:
        """The principal of a credential.

        Raises:
            Problem: 401, it is not good.
            Unavailable: what would tell is away.
        """
        if isinstance(credential, KeyCredential):
            return await self._by_key(credential)
        return await self._by_token(credential, audience)

    def authorize(self, principal: Principal | None, rule: Rule) -> None:
        """Hold a principal against a line of the table.

        Raises:
            Problem: 403 with what is missing.
        """
        if rule.scope is None:
            return
        if principal is None:
            raise unauthorized("the request has no credential", error="")
        if principal.kind not in rule.kinds:
            raise Problem(
                403,
                f"this takes {' or '.join(rule.kinds)}, not {principal.kind}",
                kind="wrong-credential",
                kinds=list(rule.kinds),
            )
        if rule.scope and rule.scope not in principal.scopes:
            raise insufficient(rule.scope)

    def rule(self, method: str, path: str) -> Rule:
        """The line of a route.

        Raises:
            Problem: 403, the table has none: what nobody thought of is closed.
        """
        found = self._rules.get((method, path))
        if found is None:
            _log.error("route without a rule", method=method, route=path)
            raise Problem(403, "nobody may use this route")
        return found

    def allow_tool(self, principal: Principal, name: str) -> None:
        """Hold a principal against the line of an MCP tool.

        Raises:
            Problem: 403 with the scope that is missing.
        """
        self.authorize(principal, self.rule("TOOL", name))

    def tool_allowed(self, principal: Principal, name: str) -> bool:
        """Whether a list of tools shows it."""
        rule = self._rules.get(("TOOL", name))
        return rule is not None and principal.kind in rule.kinds and (not rule.scope or rule.scope in principal.scopes)

    async def forget_keys(self) -> None:
        """A key was revoked: look all of them up again, in all workers before this returns."""
        await self._keys_changed()
        await self._siblings.ask(KEYS)

    async def forget_sessions(self) -> None:
        """A session was ended: ask about all of them again, in all workers before this returns."""
        await self._sessions_changed()
        await self._siblings.ask(SESSIONS)

    async def _keys_changed(self) -> bytes:
        self._keys.clear()
        return b""

    async def _sessions_changed(self) -> bytes:
        self._live.clear()
        return b""

    async def holds(self, user_id: int, sid: str | None, key_id: str | None) -> bool:
        """Whether a session or a key that was good is so still: for what stays open after it was let in.

        Args:
            user_id: whose it is.
            sid: the session that it belongs to.
            key_id: the API key; None where it is none.

        Raises:
            Unavailable: the database does not answer.
        """
        if sid is not None:
            return await self._session_live(UUID(sid))
        if key_id is None:
            return True
        ((good,),) = await self._database.rows(_KEY_GOOD, user_id, id=key_id)
        return bool(good)

    async def close(self) -> None:
        """Finish what is being written."""
        if self._marking:
            await asyncio.wait(self._marking)

    async def _by_key(self, credential: KeyCredential) -> Principal:
        digest = hashlib.sha256(credential.text.encode()).digest()
        if (kept := self._keys.get(digest.hex())) is not None:
            return kept
        seen = self._keys.cleared
        row = next(iter(await self._database.rows(_FIND_KEY, prefix=credential.prefix)), None)
        # The comparison comes first, and the same text goes to whoever has no right secret: nobody learns of a key.
        if row is None or not hmac.compare_digest(bytes(row.key_hash), digest):
            raise unauthorized("there is no such API key")
        now = datetime.datetime.now(datetime.UTC)
        if row.revoked_at is not None:
            raise unauthorized("the API key was revoked")
        if row.expires_at is not None and row.expires_at <= now:
            raise unauthorized("the API key has expired")
        if row.user_disabled_at is not None:
            raise unauthorized("the account of the API key is disabled")
        role = cast(Role, row.user_role)
        scopes = frozenset(row.scopes) & ROLES[role] & SCOPES.keys()
        ends = row.expires_at.timestamp() if row.expires_at else None
        principal = Principal(int(row.user_id), role, scopes, "api_key", str(row.id), expires_at=ends)
        if self._keys.cleared == seen:  # else it may have been revoked after it was read
            self._keys.put(digest.hex(), principal)
        self._mark_used(principal)
        return principal

    async def _by_token(self, credential: TokenCredential, audience: Audience) -> Principal:
        claims = await self._tokens.verify(credential.text, self._audiences[audience])
        web = claims.client_id == WEB_CLIENT
        if web and claims.sid is None:
            raise unauthorized("the token names no session")
        if claims.sid is not None and not await self._session_live(claims.sid):
            raise unauthorized("the session has ended")
        allowed = ROLES[claims.role] if web else ROLES[claims.role] - {ADMIN}
        return Principal(
            user_id=int(claims.sub),
            role=claims.role,
            scopes=frozenset(claims.scope.split()) & allowed,
            kind="session" if web else "oauth",
            credential_id=str(claims.sid) if web else claims.client_id,
            sid=str(claims.sid) if claims.sid else None,
            client_id=claims.client_id,
            expires_at=float(claims.exp),
        )

    async def _session_live(self, sid: UUID) -> bool:
        kept = self._live.get(str(sid))
        if kept is None:
            seen = self._live.cleared
            ((live,),) = await self._database.rows(_LIVE, sid=sid)
            kept = bool(live)
            if self._live.cleared == seen:
                self._live.put(str(sid), kept)
        return kept

    def _mark_used(self, principal: Principal) -> None:
        """Note that a key was used: not more often than each minute, and nobody waits for it."""
        if self._used.get(principal.credential_id):
            return
        self._used.put(principal.credential_id, value=True)
        address = current_client().address
        task = asyncio.create_task(self._mark(principal, str(address) if address else None), name="key-used")
        self._marking.add(task)
        task.add_done_callback(self._marking.discard)

    async def _mark(self, principal: Principal, address: str | None) -> None:
        try:
            await self._database.rows(_USED, writes=True, id=principal.credential_id, ip=address)
        except Exception as error:  # only a date; the request it belongs to goes on without it
            self._used.drop(principal.credential_id)
            _log.warning("use of a key not noted", error=type(error).__qualname__)
