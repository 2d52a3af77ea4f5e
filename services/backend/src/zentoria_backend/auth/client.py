"""What the gateway asks the auth service (container 409)."""

from __future__ import annotations

from typing import Any

from zentoria_backend.access.context import current_client
from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import Callees, Model, parsed, passed_on

CONTAINER = "auth"


class AuthClient:
    """Its internal API."""

    def __init__(self, callees: Callees) -> None:
        self._callees = callees

    async def jwks(self) -> bytes:
        """The public keys of access tokens."""
        answer = await self._callees.call(CONTAINER, "GET", "/.well-known/jwks.json")
        answer.raise_for_status()
        return answer.content

    async def ask(
        self,
        model: type[Model],
        method: str,
        path: str,
        *,
        user: Principal | None = None,
        json: dict[str, Any] | None = None,
    ) -> Model:
        """Ask ``/internal/v1<path>``; the answer, read as ``model``.

        Raises:
            Problem: what it refuses; 502 for an answer of another form; 503 while it is away.
        """
        return parsed(model, await self._ask(method, path, user, json), CONTAINER)

    async def tell(
        self, method: str, path: str, *, user: Principal | None = None, json: dict[str, Any] | None = None
    ) -> None:
        """The same where the answer says nothing."""
        await self._ask(method, path, user, json)

    async def _ask(self, method: str, path: str, user: Principal | None, json: dict[str, Any] | None) -> Any:
        answer = await self._callees.call(CONTAINER, method, f"/internal/v1{path}", user=user, json=json)
        return passed_on(answer, CONTAINER)

    @staticmethod
    def client() -> dict[str, Any]:
        """Who signs in, as the auth service wants to know it."""
        info = current_client()
        return {"ip": str(info.address) if info.address else None, "user_agent": info.user_agent}
