"""What must be read again and yet not lie in the database as it is: sealed with AES-256-GCM.

The key is the service's own secret, which no dump of the database has. What belongs to whom is bound in: a sealed
value that was copied into another row does not open.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

_VERSION = b"\x01"
_NONCE_BYTES = 12


class CannotOpen(Exception):
    """It was sealed with another key, for another use, or was changed."""


class Sealer:
    """Seals and opens.

    Args:
        secret: at least 128 bits of randomness as text; the key is derived from it (HKDF, RFC 5869).
    """

    def __init__(self, secret: SecretStr) -> None:
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"zentoria auth seal v1")
        self._cipher = AESGCM(derived.derive(secret.get_secret_value().encode()))

    def seal(self, plain: bytes, use: str) -> bytes:
        """Seal ``plain``; it opens for the same ``use`` (as ``totp:12``) only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, use.encode())

    def open(self, sealed: bytes, use: str) -> bytes:
        """Open what :meth:`seal` made.

        Raises:
            CannotOpen: it was sealed with another key, for another use, or was changed.
        """
        if sealed[:1] != _VERSION:
            raise CannotOpen("sealed in a way that this release does not know")
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, use.encode())
        except (InvalidTag, ValueError):
            raise CannotOpen("sealed with another key, for another use, or changed") from None
