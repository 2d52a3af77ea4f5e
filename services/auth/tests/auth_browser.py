"""A browser, as far as our pages need one, and a device with a passkey."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import cbor2
import httpx2
from auth_servers import PUBLIC_URL, Site
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")


class Device:
    """Makes one passkey, and shows it."""

    def __init__(self, origin: str = PUBLIC_URL, host: str = "zentoria.test", flags: int = 0x05) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.identifier = os.urandom(32)
        self.origin, self.host, self.flags = origin, host, flags
        self.handle = b""
        self.count = 0

    def _data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _authenticator(self, flags: int, more: bytes = b"") -> bytes:
        return hashlib.sha256(self.host.encode()).digest() + struct.pack(">BI", flags, self.count) + more

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        self.handle = unb64(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        credential = bytes(16) + struct.pack(">H", len(self.identifier)) + self.identifier + cose
        data = self._authenticator(self.flags | 0x40, credential)
        return {
            "id": b64(self.identifier),
            "rawId": b64(self.identifier),
            "type": "public-key",
            "response": {
                "clientDataJSON": b64(self._data("webauthn.create", options["challenge"])),
                "attestationObject": b64(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
                "transports": ["internal", "nonsense"],
            },
        }

    def show(self, options: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        client = self._data("webauthn.get", options["challenge"])
        data = self._authenticator(self.flags)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return {
            "id": b64(self.identifier),
            "rawId": b64(self.identifier),
            "type": "public-key",
            "response": {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signature),
                "userHandle": b64(self.handle),
            },
        }


class Browser:
    """Keeps cookies, follows redirects, sends forms."""

    def __init__(self, site: Site) -> None:
        self.site = site
        transport = site.client._transport
        self.client = httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, follow_redirects=True)
        self.at = httpx2.Response(200)

    async def get(self, path: str) -> httpx2.Response:
        self.at = await self.client.get(path)
        return self.at

    @property
    def text(self) -> str:
        return self.at.text

    @property
    def path(self) -> str:
        return self.at.request.url.raw_path.decode()

    @property
    def title(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.text, re.DOTALL)
        return html.unescape(re.sub("<.*?>", "", found[1])).strip() if found else ""

    def token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.text)
        assert found, self.text
        return found[1]

    def hidden(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        return html.unescape(found[1]) if found else ""

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx2.Response:
        body = {"form_token": self.token()} | fields
        whole = {"origin": PUBLIC_URL, "sec-fetch-site": "same-origin"} | (headers or {})
        self.at = await self.client.post(path, data=body, headers=whole)
        return self.at

    async def ask(self, path: str) -> dict[str, Any]:
        answer = await self.client.post(path, headers={"x-form-token": self.token(), "origin": PUBLIC_URL})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def sign_in(self, password: str, email: str = "anna@example.org", next: str = "") -> httpx2.Response:
        await self.get(f"/auth/sign-in?next={next}")
        return await self.post("/auth/sign-in", email=email, password=password, next=self.hidden("next"))
