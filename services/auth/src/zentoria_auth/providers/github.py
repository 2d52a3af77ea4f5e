"""GitHub, which speaks OAuth 2.0 and not OpenID Connect: its API says who the user is."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr
from zentoria_common.outbound import Outbound, OutboundError

from zentoria_auth.providers.claims import Claim, ProviderError, plain_address
from zentoria_auth.providers.oidc import Attempt, ask, send
from zentoria_auth.providers.settings import GITHUB, Provider

API = "https://api.github.com"
_VERSION = "2022-11-28"


class GitHub:
    """Sign-in with GitHub.

    Args:
        provider: its settings.
        secret: that it gave us.
        outbound: asks it.
        base: of its pages.
        api: of its API.
    """

    def __init__(
        self, provider: Provider, secret: SecretStr, outbound: Outbound, *, base: str = GITHUB, api: str = API
    ) -> None:
        self.provider = provider
        self._secret = secret
        self._outbound = outbound
        self._base, self._api = base, api

    async def authorization_url(self, attempt: Attempt, state: str, challenge: str) -> str:
        """Where the browser is sent."""
        parameters = {
            "client_id": self.provider.client_id,
            "redirect_uri": attempt.redirect_uri,
            "scope": self.provider.asked_scopes,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "allow_signup": "false",
        }
        return f"{self._base}/login/oauth/authorize?{urlencode(parameters)}"

    async def claim(self, attempt: Attempt, code: str, issuer: str | None) -> Claim:
        """Exchange the code, and ask who the user is; of the addresses the primary one, if GitHub has verified it.

        Raises:
            ProviderError: GitHub does not say.
        """
        if issuer is not None and issuer != f"{self._base}/login/oauth":
            raise ProviderError("the answer is from another issuer")
        form = {
            "client_id": self.provider.client_id,
            "client_secret": self._secret.get_secret_value(),
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        tokens = await ask(
            self._outbound, "POST", f"{self._base}/login/oauth/access_token", {"accept": "application/json"}, form
        )
        token = tokens.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ProviderError("GitHub gave no access token")
        headers = {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {token}",
            "user-agent": "zentoria-auth",
            "x-github-api-version": _VERSION,
        }
        user = await ask(self._outbound, "GET", f"{self._api}/user", headers)
        if not isinstance(user.get("id"), int):
            raise ProviderError("GitHub does not say who the user is")
        email = await self._primary(headers)
        name = user.get("name") or user.get("login")
        return Claim(
            provider=self.provider.name,
            issuer=GITHUB,
            # the number: a login name can be given up, and taken by somebody else
            subject=str(user["id"]),
            email=email,
            email_verified=email is not None,
            name=name[:200] if isinstance(name, str) else "",
        )

    async def _primary(self, headers: dict[str, str]) -> str | None:
        answer = await send(self._outbound, "GET", f"{self._api}/user/emails?per_page=100", headers)
        try:
            found: Any = answer.json() if answer.status == 200 else []
        except OutboundError:
            found = []
        for each in found if isinstance(found, list) else []:
            if isinstance(each, dict) and each.get("primary") is True and each.get("verified") is True:
                return plain_address(each.get("email"))
        return None
