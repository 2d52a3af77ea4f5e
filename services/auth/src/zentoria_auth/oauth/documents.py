"""Client ID metadata documents: fetched from the URL that is the client's id, and kept for a while."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import redis.asyncio
from zentoria_common.outbound import Outbound, OutboundError

from zentoria_auth.oauth.clients import Client, document, is_document_url
from zentoria_auth.oauth.errors import OAuthError

KEEP_SECONDS = (300, 86_400)
"""Shortest and longest time that a document is kept, whatever its headers say."""
TIMEOUT = 5.0
"""Seconds for one of them."""
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])")
_NO_STORE = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])")


class Documents:
    """Clients that describe themselves.

    Args:
        outbound: gets the documents: whoever calls the authorization endpoint chooses their addresses.
        client: Redis, answering with text.
        prefix: of the keys, as ``auth:oauth``.
    """

    def __init__(self, outbound: Outbound, client: redis.asyncio.Redis, prefix: str) -> None:
        self._outbound, self._redis, self._prefix = outbound, client, prefix

    async def find(self, url: str) -> Client:
        """The client with this id.

        Raises:
            OAuthError: ``invalid_client``: the URL is not one for such a document, or what is there is none. Nothing of
                that is kept.
        """
        if not is_document_url(url):
            raise OAuthError("invalid_client", "client_id is not the https URL of a metadata document")
        if (kept := await self.kept(url)) is not None:
            return kept
        try:
            answer = await self._outbound.get(url, {"accept": "application/json"})
        except OutboundError as error:
            raise OAuthError("invalid_client", f"the metadata document cannot be fetched: {error.reason}") from None
        if answer.status != 200:
            raise OAuthError("invalid_client", f"the metadata document cannot be fetched: status {answer.status}")
        found = document(url, _object(answer.headers, answer.content))
        await self._redis.set(
            self._key(url), found.model_dump_json(), ex=keep_seconds(answer.headers.get("cache-control", ""))
        )
        return found

    async def kept(self, url: str) -> Client | None:
        """The client with this id, if its document was fetched not long ago. Asks nobody."""
        text = await self._redis.get(self._key(url))
        return None if text is None else Client.model_validate_json(text)

    def _key(self, url: str) -> str:
        return f"{self._prefix}:document:{hashlib.sha256(url.encode()).hexdigest()}"


def keep_seconds(cache_control: str) -> int:
    """How long to keep an answer: as its ``Cache-Control`` says, within :data:`KEEP_SECONDS`."""
    shortest, longest = KEEP_SECONDS
    text = cache_control.lower()
    if _NO_STORE.search(text):
        return shortest
    found = _MAX_AGE.search(text)
    return min(max(int(found[1]), shortest), longest) if found else 3600


def _object(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise OAuthError("invalid_client", "the metadata document is not application/json")
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise OAuthError("invalid_client", "the metadata document is not JSON") from None
    if not isinstance(found, dict):
        raise OAuthError("invalid_client", "the metadata document is not a JSON object")
    return found
