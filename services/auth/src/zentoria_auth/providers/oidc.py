"""OpenID Connect, from this site's side: discovery, the request, the exchange of the code, the ID token."""

from __future__ import annotations

import dataclasses
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from zentoria_common.outbound import Answer, Outbound, OutboundError

from zentoria_auth.providers.claims import Claim, ProviderError, plain_address
from zentoria_auth.providers.settings import Provider

KEEP_SECONDS = 3600
"""How long a provider's metadata and keys are kept."""
KEYS_AGAIN_SECONDS = 30
"""At the earliest after this its keys are fetched anew for a token with a key that we do not have."""
LEEWAY = 60
"""Seconds that clocks may be apart."""
# Signatures alone: with "none" anybody, and with HMAC whoever knows the client's secret, could make an ID token.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
MAX_ID_TOKEN = 16 * 1024


class Metadata(BaseModel):
    """What is needed of a provider's discovery document (OpenID Connect Discovery section 3)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What one sign-in's answer is held to."""

    redirect_uri: str
    nonce: str
    verifier: str


class OpenIdProvider:
    """One provider.

    Args:
        provider: its settings.
        secret: that it gave us.
        outbound: asks it.
        clock: seconds since the epoch.
    """

    def __init__(
        self, provider: Provider, secret: SecretStr | None, outbound: Outbound, clock: Callable[[], float] = time.time
    ) -> None:
        self.provider = provider
        self._secret = secret
        self._outbound = outbound
        self._clock = clock
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def authorization_url(self, attempt: Attempt, state: str, challenge: str) -> str:
        """Where the browser is sent (OpenID Connect Core section 3.1.2.1).

        Raises:
            ProviderError: the provider's metadata cannot be had.
        """
        metadata = await self._discover()
        parameters = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": attempt.redirect_uri,
            "scope": self.provider.asked_scopes,
            "state": state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{separator}{urlencode(parameters)}"

    async def claim(self, attempt: Attempt, code: str, issuer: str | None) -> Claim:
        """Exchange the code, and believe the ID token if it is what it should be.

        Args:
            attempt: of this sign-in.
            code: that the browser brought.
            issuer: the answer's ``iss`` (RFC 9207), which tells a mix-up.

        Raises:
            ProviderError: it is not.
        """
        metadata = await self._discover()
        if issuer is None and metadata.authorization_response_iss_parameter_supported:
            raise ProviderError("the answer lacks the iss that the provider promises")
        if issuer is not None and issuer != metadata.issuer:
            raise ProviderError("the answer is from another issuer")
        tokens = await self._exchange(metadata, attempt, code)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str) or len(id_token) > MAX_ID_TOKEN:
            raise ProviderError("the token endpoint gave no ID token")
        claims = await self._verified(metadata, attempt, id_token, access_token)
        if "email" not in claims and metadata.userinfo_endpoint and isinstance(access_token, str):
            claims = {**await self._userinfo(metadata.userinfo_endpoint, access_token, claims["sub"]), **claims}
        return self._read(metadata, claims)

    async def _discover(self) -> Metadata:
        if self._metadata is not None and self._clock() - self._metadata[0] < KEEP_SECONDS:
            return self._metadata[1]
        issuer = self.provider.issuer_url
        body = await self._json("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            metadata = Metadata.model_validate(body)
            for url in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
                self._outbound.check(url)
        except ValidationError:
            raise ProviderError("the discovery document lacks something, or has it in another form") from None
        except OutboundError as error:
            raise ProviderError(f"an endpoint of the discovery document is refused: {error}") from None
        if metadata.issuer != issuer:
            raise ProviderError("the discovery document is another issuer's")
        self._metadata = (self._clock(), metadata)
        return metadata

    async def _exchange(self, metadata: Metadata, attempt: Attempt, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = {"accept": "application/json"}
        client_id = self.provider.client_id
        if self._secret is None:
            form["client_id"] = client_id
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(client_id)}:{quote_plus(self._secret.get_secret_value())}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client_id, "client_secret": self._secret.get_secret_value()}
        return await self._json("POST", metadata.token_endpoint, headers, form)

    async def _verified(
        self, metadata: Metadata, attempt: Attempt, id_token: str, access_token: object
    ) -> dict[str, Any]:
        """Verify an ID token (OpenID Connect Core section 3.1.3.7)."""
        try:
            token = jwt.decode(id_token, await self._key_set(metadata, id_token), algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": metadata.issuer},
                    "aud": {"essential": True, "value": self.provider.client_id},
                },
                {"nonce": attempt.nonce, "client_id": self.provider.client_id, "access_token": access_token},
            )
            claims.validate(now=int(self._clock()), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderError(f"the ID token is refused: {type(error).__name__}") from None
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            raise ProviderError("the ID token has no subject that could be kept")
        return dict(claims)

    async def _key_set(self, metadata: Metadata, id_token: str) -> KeySet:
        """The provider's keys, fetched anew where the token names one that we do not have."""
        kid = jws.extract_compact(id_token.encode()).headers().get("kid")
        now = self._clock()
        if self._keys is not None:
            age = now - self._keys[0]
            known = kid is None or any(key.kid == kid for key in self._keys[1].keys)
            if age < KEEP_SECONDS and (known or age < KEYS_AGAIN_SECONDS):
                return self._keys[1]
        body = await self._json("GET", metadata.jwks_uri)
        try:
            # keys of kinds that we do not know are passed over (RFC 7517 section 5)
            keys = [key for key in body["keys"] if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")]
            found = KeySet.import_key_set({"keys": [key for key in keys if key.get("use", "sig") == "sig"]})
        except (JoseError, ValueError, TypeError, KeyError):
            raise ProviderError("the provider's keys are not a JWK set") from None
        self._keys = (now, found)
        return found

    async def _userinfo(self, url: str, access_token: str, subject: str) -> dict[str, Any]:
        body = await self._json("GET", url, {"authorization": f"Bearer {access_token}", "accept": "application/json"})
        if body.get("sub") != subject:
            # OpenID Connect Core section 5.3.2: a token for another user could have been slipped in
            raise ProviderError("the user info is another subject's")
        return body

    def _read(self, metadata: Metadata, claims: Mapping[str, Any]) -> Claim:
        name, amr = claims.get("name"), claims.get("amr")
        return Claim(
            provider=self.provider.name,
            issuer=metadata.issuer,
            subject=claims["sub"],
            email=plain_address(claims.get("email")),
            email_verified=self._is_verified(claims),
            name=name[:200] if isinstance(name, str) else "",
            amr=tuple(each for each in amr if isinstance(each, str))[:10] if isinstance(amr, list) else (),
        )

    def _is_verified(self, claims: Mapping[str, Any]) -> bool:
        if self.provider.kind == "microsoft":
            # Any administrator of a tenant can write any address into "email"; only this claim says that the
            # address's domain was proven. It comes where the application has asked for it.
            return str(claims.get("xms_edov")).lower() in ("true", "1")
        return claims.get("email_verified") is True or (self.provider.trust_email and "email_verified" not in claims)

    async def _json(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return await ask(self._outbound, method, url, headers, form)


async def ask(
    outbound: Outbound,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Ask a provider for a JSON object.

    Raises:
        ProviderError: there is none.
    """
    answer = await send(outbound, method, url, headers, form)
    try:
        body = answer.json()
    except OutboundError:
        body = None
    if not isinstance(body, dict):
        raise ProviderError(f"the provider's answer (status {answer.status}) is not a JSON object")
    if answer.status != 200 or "error" in body:
        code = body.get("error")
        shown = code if isinstance(code, str) and code.isidentifier() and len(code) < 60 else "no reason"
        raise ProviderError(f"the provider refuses: status {answer.status}, {shown}")
    return body


async def send(
    outbound: Outbound,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> Answer:
    """Send a provider a request.

    Raises:
        ProviderError: it does not answer.
    """
    try:
        return await outbound.request(method, url, headers=headers or {"accept": "application/json"}, form=form)
    except OutboundError as error:
        raise ProviderError(f"{error.reason}: {error}") from None
