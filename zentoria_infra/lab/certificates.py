"""The lab's own CA and its API server's certificate; SSH keys. All in files of mode 0600."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_LIFE = datetime.timedelta(days=3650)
_LIFE = datetime.timedelta(days=397)
_RENEW = datetime.timedelta(days=30)
_SKEW = datetime.timedelta(minutes=10)


@dataclasses.dataclass(frozen=True)
class Pki:
    """The files of a CA and of one certificate that it signed."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The CA's certificate; what clients verify with."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The CA's key."""
        return self.folder / "ca.key"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """The server's key."""
        return self.folder / "server.key"


def write_secret(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, whole or not at all; its folder is 0700."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    partial.replace(path)


def ensure_pki(pki: Pki, title: str, names: tuple[str, ...], now: datetime.datetime | None = None) -> None:
    """Have a CA and a server certificate for ``names`` (host names and addresses) that holds for a month more.

    What is there and good stays, the CA always: clients have been told to trust it.
    """
    moment = now or datetime.datetime.now(datetime.UTC)
    if not (pki.ca.exists() and pki.ca_key.exists()):
        _make_ca(pki, title, moment)
        pki.certificate.unlink(missing_ok=True)
    if not _good(pki, names, moment):
        _make_certificate(pki, names, moment)


def server_context(pki: Pki) -> ssl.SSLContext:
    """What an HTTPS server with this certificate listens with; TLS 1.2 and newer."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki.certificate, pki.key)
    return context


def fingerprint(pki: Pki) -> str:
    """SHA-256 of the server's certificate as Proxmox prints it: ``AA:BB:...``."""
    return x509.load_pem_x509_certificate(pki.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()


def ensure_ssh_key(path: Path, comment: str) -> str:
    """Have an Ed25519 key pair (``path`` and ``path.pub``); gives back the public line without the comment."""
    if not path.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        write_secret(path, private)
    loaded = serialization.load_ssh_private_key(path.read_bytes(), None)
    line = (
        loaded.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode("ascii")
    )
    write_secret(path.with_name(f"{path.name}.pub"), f"{line} {comment}\n".encode())
    return line


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _make_ca(pki: Pki, title: str, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(title))
        .issuer_name(_name(title))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_secret(pki.ca_key, _pem(key))
    write_secret(pki.ca, built.public_bytes(serialization.Encoding.PEM))


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _make_certificate(pki: Pki, names: tuple[str, ...], now: datetime.datetime) -> None:
    ca = x509.load_pem_x509_certificate(pki.ca.read_bytes())
    ca_key = serialization.load_pem_private_key(pki.ca_key.read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{pki.ca_key} holds no elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(names[0]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(now + _LIFE, ca.not_valid_after_utc))
        .add_extension(_alternatives(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_secret(pki.key, _pem(key))
    write_secret(pki.certificate, built.public_bytes(serialization.Encoding.PEM))


def _good(pki: Pki, names: tuple[str, ...], now: datetime.datetime) -> bool:
    if not (pki.certificate.exists() and pki.key.exists()):
        return False
    try:
        certificate = x509.load_pem_x509_certificate(pki.certificate.read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca.read_bytes()))
        key = serialization.load_pem_private_key(pki.key.read_bytes(), None)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # whatever is wrong with the files (cut off, another CA's): they are made anew
        return False
    return (
        certificate.not_valid_after_utc - now > _RENEW
        and held == _alternatives(names)
        and isinstance(key, ec.EllipticCurvePrivateKey)
        and key.public_key() == certificate.public_key()
    )
