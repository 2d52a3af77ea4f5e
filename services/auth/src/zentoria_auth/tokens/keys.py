"""The keys that sign access tokens: one signs, and those before it still verify.

A key's ``kid`` is its RFC 7638 thumbprint: nobody has to number keys, and two services agree on it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

ALGORITHM = "ES256"
CURVE = "P-256"


class UnusableKey(Exception):
    """A key cannot be used. The text never holds key material."""


@dataclasses.dataclass(frozen=True)
class SigningKeys:
    """The key that signs, and the set that verifies.

    Args:
        current: signs.
        verifying: all whose signatures are still taken, ``current`` first.
    """

    current: ECKey
    verifying: KeySet

    @classmethod
    def read(cls, current: str, *previous: str) -> SigningKeys:
        """Make them of PEM texts.

        Args:
            current: private key on P-256.
            previous: private or public keys whose tokens may still be about: each token lives for 15 minutes.

        Raises:
            UnusableKey: one is no such key.
        """
        signing = _read(current)
        if not signing.is_private:
            raise UnusableKey("the signing key is not a private key")
        keys = [signing]
        for text in previous:
            older = _read(text)
            if all(older.kid != key.kid for key in keys):
                keys.append(older)
        return cls(signing, KeySet([_public(key) for key in keys]))

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517), for ``/.well-known/jwks.json``."""
        return {"keys": [key.as_dict(private=False) for key in self.verifying.keys]}


def _read(pem: str) -> ECKey:
    try:
        key = ECKey.import_key(pem)
    except (JoseError, ValueError, TypeError):
        raise UnusableKey("not a PEM text with an EC key") from None
    if key.curve_name != CURVE:
        raise UnusableKey(f"the key is on {key.curve_name}, and {ALGORITHM} takes {CURVE}")
    return _labelled(key, private=key.is_private)


def _public(key: ECKey) -> ECKey:
    return _labelled(key, private=False)


def _labelled(key: ECKey, *, private: bool) -> ECKey:
    parts = {
        name: value for name, value in key.as_dict(private=private).items() if name in ("kty", "crv", "x", "y", "d")
    }
    return ECKey.import_key(parts, {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM})
