"""A guest's desired state, made of the inventory and what materials give. Equal inputs make equal states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import GuestState, Packages, Resource, Volume
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.roles import catalog
from zentoria_infra.roles.base import base
from zentoria_infra.roles.kit.fragment import Context, Fragment, health
from zentoria_infra.roles.kit.materials import Materials
from zentoria_infra.roles.kit.rendering import Templates


def compile_guest(
    inventory: Inventory,
    container: Container,
    materials: Materials,
    *,
    nonce: str = "",
    templates: Templates | None = None,
) -> GuestState:
    """The state of one guest, as :func:`compile_with_places` makes it.

    Raises:
        ZentoriaError: the inventory cannot be used for a role, or materials cannot be made.
    """
    return compile_with_places(inventory, container, materials, nonce=nonce, templates=templates)[0]


def compile_with_places(
    inventory: Inventory,
    container: Container,
    materials: Materials,
    *,
    nonce: str = "",
    templates: Templates | None = None,
) -> tuple[GuestState, Mapping[str, str]]:
    """The state of one guest: its base, and the services that have a role, in the order in which they are declared.

    Args:
        inventory: everything.
        container: one of its containers.
        materials: passwords, certificates, releases; asked for what the container's roles need and nothing else.
        nonce: a new value deploys services anew even when nothing changed.
        templates: renders the files; None: the project's ``templates`` folder.

    Returns:
        The state, and file:line:column of what asks for each of its resources, by id.

    Raises:
        ZentoriaError: the inventory cannot be used for a role, or materials cannot be made.
    """
    context = Context(inventory, container, materials, templates or Templates(inventory.root), catalog.installs, nonce)
    chosen = [service for service in container.services if catalog.installs(service)]
    fragments = [base(context), *(catalog.role(service.component).build(context, service) for service in chosen)]
    resources = merge(fragments, _volumes(container))
    repeated = [name for name, count in Counter(one.id for one in resources).items() if count > 1]
    if repeated:
        raise InventoryError(
            f"make the state of {container.name}",
            on=inventory.where(container, "services"),
            got=f"two of its services want the same thing: {', '.join(repeated)}",
            todo="let one service of each component be in a container",
        )
    places = {"packages": inventory.where(container, "services")}
    places |= {f"volume:{one.path}": inventory.where(container, f"volumes.{one.name}") for one in container.volumes}
    for service, fragment in zip(chosen, fragments[1:], strict=True):
        where = inventory.where(container, f"services.{service.name}")
        places |= {one.id: where for one in (*fragment.before, *fragment.users, *fragment.main)}
    state = GuestState(vmid=container.vmid, hostname=container.hostname, resources=resources, whole=True)
    return state, {one.id: places.get(one.id, inventory.where(container)) for one in resources}


def gate(container: Container, seconds: int) -> GuestState:
    """Nothing but the checks of a container's services, each with so many seconds at least."""
    left_out = catalog.unbuilt(container)
    services = [service for service in container.services if service.name not in left_out]
    checks = [one for service in services for one in health(container, service)]
    later = (one.model_copy(update={"timeout": max(one.timeout, seconds)}) for one in checks)
    return GuestState(vmid=container.vmid, hostname=container.hostname, resources=tuple(later))


def merge(fragments: list[Fragment], volumes: tuple[Volume, ...]) -> tuple[Resource, ...]:
    """Put fragments together: what packages need, all packages at once, users, volumes, and the rest in order.

    The same folder may be asked for by two roles; it is made once.
    """
    packages = sorted({name for fragment in fragments for name in fragment.packages})
    found: list[Resource] = [one for fragment in fragments for one in fragment.before]
    found.append(Packages(id="packages", names=tuple(packages)))
    found += dict.fromkeys(user for fragment in fragments for user in fragment.users)
    found += volumes
    found += (one for fragment in fragments for one in fragment.main)
    folders = dict.fromkeys(one for one in found if one.kind == "directory")
    return tuple(one for one in found if one.kind != "directory" or folders.pop(one, True) is None)


def _volumes(container: Container) -> tuple[Volume, ...]:
    return tuple(
        Volume(
            id=f"volume:{volume.path}",
            path=volume.path,
            owner=(owner := _owner(container, volume.owner)),
            group=owner,
            mode="0755" if owner == "root" else "0750",
        )
        for volume in container.volumes
    )


def _owner(container: Container, user: str) -> str:
    """Who owns a volume: root, as long as the site leaves out what would bring the user."""
    his = [one.installed for one in container.services if one.component.startswith(user)]
    return user if not his or any(his) else "root"
