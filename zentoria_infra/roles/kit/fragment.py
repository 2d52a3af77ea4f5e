"""What a role is given and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pydantic import SecretStr

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest import secrets
from zentoria_infra.guest.state import Absent, Directory, File, Health, Resource, User
from zentoria_infra.inventory.component_model import AptComponent
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.materials import Materials

if TYPE_CHECKING:
    from zentoria_infra.roles.kit.rendering import Templates


@dataclasses.dataclass(frozen=True)
class Fragment:
    """A role's part of a state.

    Args:
        before: what must be there before packages are installed: sources, keys, answers to their scripts.
        packages: Debian packages; those of all roles are installed together.
        users: system users.
        main: everything else, in the order in which it is to be done.
    """

    before: tuple[Resource, ...] = ()
    packages: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    main: tuple[Resource, ...] = ()


@dataclasses.dataclass(frozen=True)
class Context:
    """What a role may look at. Nothing in it changes.

    Args:
        inventory: everything.
        container: the one whose state is made.
        materials: passwords, certificates, releases.
        render: renders a template.
        installs: whether a service, of any container, is installed.
        nonce: a new value asks for a deployment of what is there already.
    """

    inventory: Inventory
    container: Container
    materials: Materials
    render: Templates
    installs: Callable[[Service], bool]
    nonce: str = ""

    @property
    def address(self) -> str:
        """The container's address."""
        return str(self.container.address)

    def apt(self, service: Service) -> AptComponent:
        """The Debian packages of a service.

        Raises:
            InventoryError: its component comes from somewhere else, or nobody says from where.
        """
        component = self.inventory.component(service)
        if isinstance(component, AptComponent):
            return component
        kind = component.kind if component else "nothing"
        raise InventoryError(
            f"make the state of {self.container.name}",
            on=self.inventory.where(self.container, f"services.{service.name}.component"),
            got=f"component '{service.component}' comes from '{kind}', and its role takes Debian packages",
            todo=f"set components.{service.component} in the site's file to 'kind: apt' with its packages",
        )

    def target(self, service: Service, component: str, port: str) -> clients.Target:
        """Where a service of this container reaches the service of a component that it needs: at the port so named.

        Raises:
            InventoryError: it does not say that it needs one, or there is no such port.
        """
        return clients.target(self.inventory, self.container, service, component, port)

    def builds(self, service: Service) -> bool:
        """Whether a service, of any container, is installed: what has no role yet is not there to be asked."""
        return self.installs(service)

    def secret(self, path: str, kind: secrets.Kind = "password") -> SecretStr:
        """A secret of ours, made at its first use."""
        return self.materials.secrets.get_or_create(path, secrets.generator(kind))

    def supplied(self, path: str) -> SecretStr | None:
        """A secret that others give out, as a client secret of Google's; None: nobody supplied it. Never made up."""
        return self.materials.secrets.find(path)

    def health(self, service: Service) -> tuple[Health, ...]:
        """The check that the inventory has for a service."""
        return health(self.container, service)


def health(container: Container, service: Service) -> tuple[Health, ...]:
    """The check that the inventory has for a service of a container; none where it has none."""
    check = service.health
    if check is None:
        return ()
    name, address = f"health:{service.name}", str(container.address)
    if check.path is None:
        return (Health(id=name, tcp=(address, check.port), timeout=check.timeout),)
    url = f"{check.scheme}://{address}:{check.port}{check.path}"
    return (Health(id=name, url=url, timeout=check.timeout),)


def file(path: str, text: str, *, mode: str = "0644", owner: str = "root", group: str = "root") -> File:
    """A file with this text; its id is made of its path."""
    return File(id=f"file:{path}", path=path, text=text, mode=mode, owner=owner, group=group)


def secret_file(path: str, text: str, *, mode: str = "0600", owner: str = "root", group: str = "root") -> File:
    """A file whose text never shows in a diff or a report."""
    return File(id=f"file:{path}", path=path, text=text, mode=mode, owner=owner, group=group, secret=True)


def directory(path: str, *, mode: str = "0755", owner: str = "root", group: str = "root") -> Directory:
    """A folder; its id is made of its path."""
    return Directory(id=f"directory:{path}", path=path, mode=mode, owner=owner, group=group)


def absent(path: str) -> Absent:
    """A path that shall not be; the id is made of it."""
    return Absent(id=f"absent:{path}", path=path)


def ids(resources: Iterable[Resource]) -> tuple[str, ...]:
    """Ids of files and links, for a unit that reads them all."""
    return tuple(one.id for one in resources if one.kind in ("file", "symlink"))


def drop_in(context: Context, unit: str, *lines: str, wants: str = "network-online.target") -> File:
    """A drop-in that starts a unit when the container has its address, and again when it fails.

    Services bind the container's address and no other. A unit that starts before the address is there would fail, and
    systemd gives up after five quick tries (``StartLimitBurst``).

    Args:
        context: the container's.
        unit: name of the unit.
        lines: more settings of its ``[Service]`` section.
        wants: units to start before it, separated by spaces.
    """
    text = context.render("base/drop-in.conf", wants=wants, lines=lines)
    return file(f"/etc/systemd/system/{unit}.d/zentoria.conf", text)
