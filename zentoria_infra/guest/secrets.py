"""Secrets as guests see them: where they come from, and what may be derived from them. Nothing here does I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCRAM_ITERATIONS = 4096
"""PostgreSQL's ``scram_iterations`` default; RFC 7677, section 4 asks for 4096 at least."""
SCRAM_SALT_BYTES = 16
"""``SCRAM_DEFAULT_SALT_LEN`` of PostgreSQL."""

Generator = Callable[[], str]
"""Makes a new secret."""
Kind = Literal["password", "hex32", "keypair", "ec-keypair"]
"""What can be made. What somebody else gives out, as a client secret of Google's, is only ever supplied."""


class SecretStore(Protocol):
    """Where secrets are kept. Paths are those of the architecture's Vault layout, as ``zentoria/db/password``."""

    def get_or_create(self, path: str, generator: Generator) -> SecretStr:
        """The secret at ``path``; made with ``generator`` and kept when there is none.

        Raises:
            ZentoriaError: the store cannot be read or written.
        """
        ...

    def find(self, path: str) -> SecretStr | None:
        """The secret at ``path``; None when there is none. Nothing is made.

        Raises:
            ZentoriaError: the store cannot be read.
        """
        ...


def generator(kind: Kind) -> Generator:
    """What makes a new secret of that kind."""
    made: dict[Kind, Generator] = {
        "password": new_password, "hex32": new_hex32, "keypair": new_keypair, "ec-keypair": new_ec_keypair,
    }  # fmt: skip
    return made[kind]


def new_password() -> str:
    """256 bits from the operating system, as 43 characters that need no quoting in a URL."""
    return secrets.token_urlsafe(32)


def new_hex32() -> str:
    """256 bits from the operating system, as 64 hexadecimal digits: what programs take as a key."""
    return secrets.token_hex(32)


def new_keypair() -> str:
    """A private key of Ed25519 (RFC 8032) in PEM form (PKCS #8); :func:`public_key` has the other half."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _pem(Ed25519PrivateKey.generate())


def new_ec_keypair() -> str:
    """A private key on the curve P-256 in PEM form (PKCS #8): for ES256, which every JWT library knows (RFC 7518)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _pem(ec.generate_private_key(ec.SECP256R1()))


def stand_in(path: str, generator: Generator) -> str | None:
    """A key pair that is made of a path and protects nothing, for where states are only looked at.

    None: ``generator`` makes no key pair. Whoever looks wants the public half, which no other text has.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = hashlib.sha256(path.encode()).digest()
    if generator is new_keypair:
        return _pem(Ed25519PrivateKey.from_private_bytes(seed))
    if generator is new_ec_keypair:
        return _pem(ec.derive_private_key(int.from_bytes(seed[:31], "big"), ec.SECP256R1()))
    return None


def _pem(key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    made = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.decode("ascii")


def public_jwk(pair: SecretStr, name: str) -> dict[str, str]:
    """The public half of an Ed25519 key pair as a JWK (RFC 8037), with ``name`` as its id.

    Raises:
        ValueError: it is no private key of Ed25519 in PEM form.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = serialization.load_pem_private_key(pair.get_secret_value().encode(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("a private key of another kind")
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": name}


def public_key(pair: SecretStr) -> str:
    """The public half of a key pair, in PEM form: whoever only checks signatures gets this one.

    Raises:
        ValueError: it is no private key in PEM form.
    """
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(pair.get_secret_value().encode(), None)
    made = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return made.decode("ascii")


def scram_salt(password: SecretStr, user: str) -> bytes:
    """A salt that is the same every time, and different for each user and password.

    A verifier with a random salt would differ at each run, and so would never be "already right". The password is
    256 random bits: the salt's usual task (that equal passwords do not show, no tables made in advance) is
    done by the password itself, and an HMAC tells nothing of its key.
    """
    key = password.get_secret_value().encode()
    return hmac.digest(key, b"zentoria scram salt\0" + user.encode(), "sha256")[:SCRAM_SALT_BYTES]


def scram_verifier(password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> str:
    """What PostgreSQL keeps of a password in ``pg_authid.rolpassword`` (RFC 5802 and 7677).

    The password must be ASCII: SASLprep (RFC 4013) leaves it as it is then.

    Raises:
        ValueError: it is not printable ASCII.
    """
    if not (password.isascii() and password.isprintable()):
        raise ValueError("only printable ASCII can be used without SASLprep")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_b64(salt)}${_b64(stored)}:{_b64(server)}"


def role_verifier(password: SecretStr, user: str) -> str:
    """The verifier of one user, the same every time. It lets nobody log in who does not know the password."""
    return scram_verifier(password.get_secret_value(), scram_salt(password, user))


def redis_hash(password: SecretStr) -> str:
    """A password as Redis takes it in an ACL file: ``#`` and the SHA-256 in lower case.

    Not salted, but of 256 random bits: there is nothing to guess.
    """
    return "#" + hashlib.sha256(password.get_secret_value().encode()).hexdigest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
