"""A certificate that the user brings, checked before it reaches the proxy."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pydantic import SecretStr

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.roles.kit.materials import ServerCertificate


class CertificateError(ZentoriaError):
    """A supplied certificate or key cannot be used."""


def read_supplied(certificate_file: Path, key_file: Path, *, now: datetime.datetime | None = None) -> ServerCertificate:
    """Read a PEM chain (the server's certificate first) and its key.

    Raises:
        CertificateError: a file cannot be read, others may read the key, they do not belong together, or it has
            expired.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    chain = _read(certificate_file, "certificate")
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise _bad(certificate_file, "it is no certificate chain in PEM form") from None
    mode = stat.S_IMODE(key_file.stat().st_mode) if key_file.exists() else 0
    if mode & 0o077:
        raise CertificateError(
            "use the supplied key", on=str(key_file), got=f"its mode is {mode:04o}", todo=f"chmod 600 {key_file}"
        )
    content = _read(key_file, "key")
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad(key_file, "it is no private key in PEM form without a password") from None
    if _encoded(key.public_key()) != _encoded(certificates[0].public_key()):
        raise _bad(key_file, f"it does not belong to the first certificate in {certificate_file}")
    if certificates[0].not_valid_after_utc <= now:
        raise _bad(certificate_file, f"it expired on {certificates[0].not_valid_after_utc:%Y-%m-%d}")
    text = "".join(one.public_bytes(serialization.Encoding.PEM).decode("ascii") for one in certificates)
    return ServerCertificate(text, SecretStr(content.decode("ascii")))


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"read the supplied {what}", on=str(path), got=error.strerror or str(error),
            todo="put the file there, or set `certificate.mode` to site-ca",
        ) from error  # fmt: skip


def _bad(path: Path, what: str) -> CertificateError:
    return CertificateError("use the supplied certificate", on=str(path), got=what, todo="supply another one")
