"""Inventories, materials and states for the tests of roles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from zentoria_infra.guest.artifact import Archive, Artifact, Wheel, Wheels
from zentoria_infra.guest.secrets import Generator, stand_in
from zentoria_infra.guest.state import File, GuestState, Unit
from zentoria_infra.inventory.component_model import Component
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.roles import catalog
from zentoria_infra.roles.compile import compile_guest
from zentoria_infra.roles.kit.fragment import Context
from zentoria_infra.roles.kit.materials import ServerCertificate
from zentoria_infra.roles.kit.rendering import Templates

ROOT = Path(__file__).resolve().parents[2]
CANARY = "Canary-"


class FixedSecrets:
    """Secrets that are made of their path, each with the canary in it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.supplied: dict[str, SecretStr] = {}

    def get_or_create(self, path: str, generator: Generator) -> SecretStr:
        self.asked.add(path)
        assert len(generator()) >= 32
        if pair := stand_in(path, generator):
            return SecretStr(f"{CANARY}\n{pair}")  # text before a key in PEM form is passed over
        return SecretStr(CANARY + hashlib.sha256(path.encode()).hexdigest()[:36])

    def find(self, path: str) -> SecretStr | None:
        self.asked.add(path)
        return self.supplied.get(path)


def fixed_release(directory: str) -> Artifact:
    wheel = Wheel(name=f"zentoria_{directory}-0.1.0-py3-none-any.whl", blob="a" * 64)
    requirements = f"zentoria-{directory}==0.1.0 --hash=sha256:" + "a" * 64 + "\n"
    return Artifact("0.1.0-abc", Wheels(wheels=(wheel,), requirements=requirements))


class FixedMaterials:
    """Materials that need no network and no disk."""

    def __init__(self, certificate: ServerCertificate | None = None) -> None:
        self.secrets = FixedSecrets()
        self.files: list[tuple[str, str]] = []
        self.archives: list[tuple[Component, str, int]] = []
        self.names: tuple[str, ...] = ()
        self._certificate = certificate or ServerCertificate("CHAIN\n", SecretStr(f"{CANARY}key\n"))

    def release(self, directory: str) -> Artifact:
        return fixed_release(directory)

    def migrations(self, directory: str) -> dict[str, str]:
        return {"zentoria_core": "0003", "zentoria_vectors": "0002"}

    def archive(self, component: Component, program: str, strip: int = 0) -> Artifact:
        self.archives.append((component, program, strip))
        return Artifact("1-abc", Archive(blob="b" * 64, size=1, entries=1))

    def file(self, url: str, sha256: str) -> str:
        self.files.append((url, sha256))
        return sha256

    def certificate(self, server: str, names: Sequence[str], *, public: bool = False) -> ServerCertificate:
        self.names = tuple(names)
        return self._certificate


@cache
def _cached(site: str | None) -> Inventory:
    return load(ROOT, site)


def inventory(site: str | None = "lab", overrides: Mapping[str, Any] | None = None) -> Inventory:
    return load(ROOT, site, overrides) if overrides else _cached(site)


def state(
    name: str,
    site: str | None = "lab",
    overrides: Mapping[str, Any] | None = None,
    materials: FixedMaterials | None = None,
    nonce: str = "",
) -> GuestState:
    found = inventory(site, overrides)
    return compile_guest(found, found.by_name(name), materials or FixedMaterials(), nonce=nonce)


def context(name: str, site: str | None = "lab", overrides: Mapping[str, Any] | None = None) -> Context:
    found = inventory(site, overrides)
    return Context(found, found.by_name(name), FixedMaterials(), Templates(found.root), catalog.installs)


def files(guest: GuestState) -> dict[str, File]:
    return {one.path: one for one in guest.resources if isinstance(one, File)}


def text(guest: GuestState, path: str) -> str:
    found = files(guest)[path].text
    assert found is not None
    return found


def units(guest: GuestState) -> dict[str, Unit]:
    return {one.name: one for one in guest.resources if isinstance(one, Unit)}


def settings(content: str) -> dict[str, str]:
    """``key = value`` or ``key value`` lines of a configuration file."""
    found: dict[str, str] = {}
    for line in content.splitlines():
        if line.strip() and line.strip()[0] not in "#;[":
            key, _, value = line.replace(" = ", " ", 1).partition(" ")
            found[key] = value.strip("'")
    return found
