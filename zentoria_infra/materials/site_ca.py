"""The site's own certificate authority, for the proxy's certificate where no other is wished for."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr

from zentoria_infra.materials import private_file
from zentoria_infra.materials.private_file import PrivateFileError
from zentoria_infra.roles.kit.materials import ServerCertificate

CA_DAYS = 3650
SERVER_DAYS = 397
"""Browsers take no server certificate that is valid for more than 398 days (CA/Browser Forum, ballot SC31)."""
RENEW_DAYS = 30
"""A server certificate with less than this left is replaced."""
_SERVER = re.compile(r"[a-z0-9][a-z0-9-]*")
_SKEW = datetime.timedelta(hours=1)
"""Certificates are valid from a little before now: the clocks of clients differ."""


class SiteCa:
    """A CA in a folder: ``ca.key``, ``ca.crt``, and ``server-<name>.key`` and ``.crt`` of each server, all 0600.

    Made at its first use.

    Args:
        folder: private, outside the project.
        name: of the site; it is in the CA's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    @property
    def certificate_path(self) -> Path:
        """The CA's certificate: what a browser or ``curl --cacert`` is given to trust the site."""
        return self._folder / "ca.crt"

    def server_certificate(
        self, server: str, names: Sequence[str], *, now: datetime.datetime | None = None
    ) -> ServerCertificate:
        """A server's certificate for DNS names and IPv4 addresses.

        The same one is returned until the names or the CA change or it has less than 30 days left.

        Args:
            server: its name, as a container's; each server has a key and certificate of its own.
            names: the first one is the common name.
            now: in place of the clock.

        Raises:
            PrivateFileError: the folder or a file in it cannot be used; nothing is replaced then.
            ValueError: ``server`` is no name of a server.
        """
        if not _SERVER.fullmatch(server):
            raise ValueError(f"not a name of a server: {server!r}")
        key_file, certificate_file = f"server-{server}.key", f"server-{server}.crt"
        now = now or datetime.datetime.now(datetime.UTC)
        with private_file.locked(self._folder):
            ca_key, ca = self._authority(now)
            key = self._key(key_file)
            found = self._certificate(certificate_file)
            if key is None or found is None or not _still_good(found, key, ca, names, now):
                key = ec.generate_private_key(ec.SECP256R1())
                found = _server(names, key, ca_key, ca, now)
                # the certificate last: without its key it is found wrong, and made again
                self._keep(key_file, _pem(key))
                self._keep(certificate_file, found.public_bytes(serialization.Encoding.PEM))
            chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (found, ca))
        return ServerCertificate(chain.decode("ascii"), SecretStr(_pem(key).decode("ascii")))

    def _authority(self, now: datetime.datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = self._key("ca.key")
        found = self._certificate("ca.crt")
        if key is not None and found is not None:
            if _public(found) != key.public_key():
                raise self._damaged("ca.crt", "it does not belong to ca.key")
            if found.not_valid_after_utc - now > datetime.timedelta(days=SERVER_DAYS):
                return key, found
            # the key stays, so that a new certificate of it is all that clients have to be given
            found = None
        if found is not None:
            raise self._damaged("ca.key", "it is missing, and ca.crt is there: people trust that CA")
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
            self._keep("ca.key", _pem(key))
        found = _authority(f"Zentoria {self._name}", key, now)
        self._keep("ca.crt", found.public_bytes(serialization.Encoding.PEM))
        return key, found

    def _key(self, name: str) -> ec.EllipticCurvePrivateKey | None:
        content = private_file.read(self._folder / name)
        if content is None:
            return None
        try:
            key = serialization.load_pem_private_key(content, None)
        except (ValueError, TypeError):
            raise self._damaged(name, "it is no private key in PEM form") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise self._damaged(name, "it is another kind of key than ours")
        return key

    def _certificate(self, name: str) -> x509.Certificate | None:
        content = private_file.read(self._folder / name)
        if content is None:
            return None
        try:
            return x509.load_pem_x509_certificate(content)
        except ValueError:
            raise self._damaged(name, "it is no certificate in PEM form") from None

    def _keep(self, name: str, content: bytes) -> None:
        private_file.write(self._folder / name, content)

    def _damaged(self, name: str, what: str) -> PrivateFileError:
        return PrivateFileError(
            "use the site's own CA",
            on=str(self._folder / name),
            got=f"{what}; it was left as it is",
            todo="put a backup of it in its place, or move the whole folder away: then a new CA is made, "
            "which clients must be told to trust",
        )


def _still_good(
    found: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    names: Sequence[str],
    now: datetime.datetime,
) -> bool:
    left = found.not_valid_after_utc - now
    wanted = x509.SubjectAlternativeName(_general_names(names))
    try:
        found.verify_directly_issued_by(ca)
        has = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return has == wanted and _public(found) == key.public_key() and left > datetime.timedelta(days=RENEW_DAYS)


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Names for a subjectAltName; an address must be in it as an address (RFC 9525, section 6)."""
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.IPv4Address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _authority(name: str, key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    names: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    now: datetime.datetime,
) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    end = min(now + datetime.timedelta(days=SERVER_DAYS), ca.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public(certificate: x509.Certificate) -> object:
    return certificate.public_key()
