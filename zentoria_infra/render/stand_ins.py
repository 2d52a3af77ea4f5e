"""Materials that stand in for the real ones where files are only looked at: nothing is fetched, kept or secret."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.artifact import Archive, Artifact, Wheel, Wheels
from zentoria_infra.guest.secrets import Generator, SecretStore, new_ec_keypair, stand_in
from zentoria_infra.inventory.component_model import Component
from zentoria_infra.materials.migrations import newest_migrations
from zentoria_infra.roles.kit.materials import ServerCertificate

_SERVICES = "services"


class StandInSecrets:
    """Passwords that are made of their path and protect nothing."""

    def get_or_create(self, path: str, generator: Generator) -> SecretStr:
        """The stand-in for the secret at ``path``, of the kind and length of a real one."""
        if pair := stand_in(path, generator):
            return SecretStr(pair)
        return SecretStr("stand-in-" + hashlib.sha256(path.encode()).hexdigest()[:34])

    def find(self, path: str) -> SecretStr:
        """The same, as if it were there: what it asks for shall be rendered. Below ``jwt`` are key pairs."""
        if path.startswith("zentoria/jwt/"):
            return self.get_or_create(path, new_ec_keypair)
        return SecretStr("stand-in-" + hashlib.sha256(path.encode()).hexdigest()[:34])


class StandInMaterials:
    """A :class:`~zentoria_infra.roles.kit.materials.Materials` without a network and without a disk.

    Args:
        root: the project folder, for the names of the services in ``services``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @cached_property
    def secrets(self) -> SecretStore:
        """Passwords."""
        return StandInSecrets()

    def release(self, directory: str) -> Artifact:
        """A release with the service's own name and no content.

        Raises:
            InventoryError: ``services/<directory>`` has no pyproject.toml with a name and a version.
        """
        file = self._root / _SERVICES / directory / "pyproject.toml"
        try:
            project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
            name, version = str(project["name"]), str(project["version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InventoryError(
                "read a service",
                on=str(file.relative_to(self._root)),
                got=f"{type(error).__name__}: {error}",
                todo="put the file right: it must be TOML with a name and a version under [project]",
            ) from None
        blob = hashlib.sha256(name.encode()).hexdigest()
        wheel = Wheel(name=f"{name.replace('-', '_')}-{version}-py3-none-any.whl", blob=blob)
        content = Wheels(wheels=(wheel,), requirements=f"{name}=={version} --hash=sha256:{blob}\n")
        return Artifact(f"{version}-stand-in", content)

    def migrations(self, directory: str) -> Mapping[str, str]:
        """As they are: told by the names of files.

        Raises:
            ArtifactError: there are none.
        """
        return newest_migrations(self._root / _SERVICES / directory)

    def archive(self, component: Component, program: str, strip: int = 0) -> Artifact:
        """An archive of nothing."""
        blob = hashlib.sha256(component.model_dump_json().encode()).hexdigest()
        return Artifact(f"{component.version or program}-stand-in", Archive(blob=blob, size=0, entries=0))

    def file(self, url: str, sha256: str) -> str:
        """Nothing is fetched."""
        return sha256

    def certificate(self, server: str, names: Sequence[str], *, public: bool = False) -> ServerCertificate:
        """A certificate that signs itself, made anew and thrown away."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in.invalid")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ServerCertificate(chain, SecretStr(private.decode()))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.IPv4Address(name))
    except ValueError:
        return x509.DNSName(name)
