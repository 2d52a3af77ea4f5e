"""Everything that Zentoria would write elsewhere, as text: files of guests, SQL, the firewall. Nothing is contacted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.show.render import Form, render
from zentoria_infra.guest.state import Command, File, GuestState
from zentoria_infra.inventory.model import DebSource, Inventory, Service
from zentoria_infra.render.stand_ins import StandInMaterials
from zentoria_infra.roles.compile import compile_guest
from zentoria_infra.roles.kit.rendering import FOLDER, Templates

FIREWALL = "firewall"
"""In place of a guest's name, for files of the firewall."""
WORKFLOWS = "ci"
"""Folder of templates that are no templates of Jinja's: workflow files for forges, copied as they are."""
FOR_LATER = frozenset({"nginx/static.conf"})
"""Of builders in ``roles/kit`` that no component of today needs; their tests render them."""
_FORMS: tuple[Form, ...] = ("pve", "iptables", "nft")
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKDpZ5qkOJDZuhI+E7Wx6yyUAtVhCA1Q8fWbPFZ4Yz8i stand-in@example.org"
"""A public key whose private one was thrown away."""


@dataclasses.dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file, as it would be.

    Args:
        guest: name of its container, or :data:`FIREWALL`.
        path: where it would be; of SQL, which is no file there, the step that it belongs to.
        text: what is in it.
        template: what it was rendered from, as ``nginx/site.conf``; empty when it has no template.
        mode: octal text.
    """

    guest: str
    path: str
    text: str
    template: str = ""
    mode: str = "0644"

    @property
    def where(self) -> str:
        """``proxy:/etc/nginx/nginx.conf (templates/nginx/nginx.conf)``."""
        source = f" ({FOLDER}/{self.template})" if self.template else ""
        return f"{self.guest}:{self.path}{source}"


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """What was rendered.

    Args:
        files: by guest, in the inventory's order.
        errors: what could not be rendered, in words, with the template's file and line.
        downloads: paths of files that a run would fetch, by guest: they are not looked at.
        extra: templates that this site renders nothing from; rendered with settings that ask for them.
    """

    files: tuple[RenderedFile, ...]
    errors: tuple[str, ...] = ()
    downloads: tuple[tuple[str, str], ...] = ()
    extra: tuple[str, ...] = ()


class _Noting(Templates):
    """Notes which template a text was made of, and which values each one was given."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.made: dict[str, str] = {}
        self.given: dict[str, set[str]] = {}

    def __call__(self, name: str, /, **values: object) -> str:
        """Render ``templates/<name>``."""
        self.given.setdefault(name, set()).update(values)
        text = super().__call__(name, **values)
        self.made[text] = name
        return text


def render_tree(inventory: Inventory) -> Tree:
    """Render everything of an inventory, with stand-ins for what is secret or fetched.

    Templates that the site's own settings do not ask for are rendered with others that do (a certificate by ACME, a
    public key for SSH): none is passed over. Names that a template has and nobody gives it are found also in branches
    that were not taken.
    """
    return _Renderer(inventory).run()


class _Renderer:
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._templates = _Noting(inventory.root)
        self._files: list[RenderedFile] = []
        self._errors: list[str] = []
        self._downloads: list[tuple[str, str]] = []

    @cached_property
    def _materials(self) -> StandInMaterials:
        return StandInMaterials(self._inventory.root)

    def run(self) -> Tree:
        self._guests(self._inventory)
        self._firewall()
        extra: list[str] = []
        if unused := self._unused():
            extra = self._others(unused)
        for name in () if self._errors else self._unused():  # after an error, much is missing
            self._errors.append(f"{FOLDER}/{name}: nothing is rendered from it: remove it, or use it")
        self._errors += self._undeclared()
        return Tree(
            tuple(self._files), tuple(dict.fromkeys(self._errors)), tuple(dict.fromkeys(self._downloads)), tuple(extra)
        )

    def _guests(self, inventory: Inventory, only: Sequence[str] | None = None) -> None:
        for container in inventory.containers:
            try:
                state = compile_guest(inventory, container, self._materials, templates=self._templates)
            except ZentoriaError as error:
                self._errors.append(f"{container.name}: {error}")
                continue
            files = tuple(self._of(container.name, state))
            self._files += [one for one in files if only is None or one.template in only]

    def _of(self, name: str, state: GuestState) -> Iterator[RenderedFile]:
        made = self._templates.made
        for one in state.resources:
            if isinstance(one, File) and one.text is not None:
                yield RenderedFile(name, one.path, one.text, made.get(one.text, ""), one.mode)
            elif isinstance(one, File):
                self._downloads.append((name, one.path))
            elif isinstance(one, Command):
                for kind, text in (("check", one.check_stdin), ("apply", one.apply_stdin)):
                    if text is not None:
                        yield RenderedFile(name, f"{one.id}.{kind}.sql", text, made.get(text, ""), "0600")

    def _firewall(self) -> None:
        compiled, parties = compile_firewall(self._inventory), parties_of(self._inventory)
        for form in _FORMS:
            try:
                files = render(compiled, parties, form, self._templates)
            except ZentoriaError as error:
                self._errors.append(str(error))
                continue
            self._files += [
                RenderedFile(FIREWALL, f"/etc/pve/firewall/{name}" if form == "pve" else name, text,
                             self._templates.made.get(text, "")) for name, text in files.items()
            ]  # fmt: skip

    def _unused(self) -> list[str]:
        """Templates that nothing was rendered from, directly or as a part of another."""
        known = self._templates.names(without=WORKFLOWS)
        used = set(self._templates.given)
        for name in tuple(used):
            used |= self._templates.parts(name)
        return sorted(set(known) - used - FOR_LATER)

    def _others(self, wanted: Sequence[str]) -> list[str]:
        """The same inventory with settings that ask for what this site does not have."""
        site = self._inventory.site
        certificate = site.certificate.model_copy(update={"mode": "acme", "email": "admin@example.org"})
        source = DebSource(uris=("https://deb.example.org/debian",), suites=("trixie",))
        update: dict[str, Any] = {
            "certificate": certificate, "public_name": "stand-in.example.org", "admin_ssh_keys": (_KEY,),
            "package_sources": (source,),
        }  # fmt: skip
        containers = tuple(
            one.model_copy(update={"services": tuple(self._brought_in(service) for service in one.services)})
            for one in self._inventory.containers
        )
        other = self._inventory.model_copy(update={"site": site.model_copy(update=update), "containers": containers})
        self._guests(other, wanted)
        return sorted(set(wanted) - set(self._unused()))

    def _brought_in(self, service: Service) -> Service:
        """A service that the site leaves out, installed, where somebody says where it comes from."""
        known = service.installed or self._inventory.component(service) is not None
        return service.model_copy(update={"installed": known})

    def _undeclared(self) -> Iterator[str]:
        given: Mapping[str, set[str]] = self._templates.given
        for name in sorted(given):
            yield from self._templates.undeclared(name, given[name])
