"""The site's prepared template: what every container has, installed once and not in each of them.

Its name holds the hash of what is in it, so one that does not fit the inventory any more is not found, and does no
harm. Nothing of one container is in it: no keys, addresses or names. What the common packages bring is enabled, and
does not start in a container before the agent has been there: until then it would listen at every address.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

from zentoria_infra.guest.state import GuestState, Packages, Resource, Unit
from zentoria_infra.inventory.component_model import AptComponent, Component
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.roles import catalog
from zentoria_infra.roles.base import alike, base_packages, package_sources
from zentoria_infra.roles.kit.fragment import Context, drop_in, file
from zentoria_infra.roles.kit.materials import Materials
from zentoria_infra.roles.kit.rendering import Templates

FORMAT = 1
"""Of how it is made: another one makes another name."""

ALWAYS = ("ca-certificates", "python3", "python3-venv", "zstd")
"""Besides what all containers ask for: the agent's Python, what each service of ours asks for (most containers have
one), certificates, and the program that packs the template itself."""

_SLEEPS = """\
# Made by Zentoria. The container began with the site's prepared template: this waits until its settings are there.
[Unit]
ConditionPathExists=/var/lib/zentoria
"""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What is in a prepared template.

    Args:
        base: volume id of the template that it is made from.
        packages: Debian packages, sorted.
        state: the hash of all that it holds.
    """

    base: str
    packages: tuple[str, ...]
    state: str

    @property
    def storage(self) -> str:
        """The storage of both templates."""
        return self.base.partition(":")[0]

    def volid(self, size: int) -> str:
        """Its volume id, beside its base.

        Args:
            size: of the base, in bytes: Proxmox tells no hash of a template, and another build of it has another size.
        """
        digest = hashlib.sha256(json.dumps([FORMAT, self.base, size, self.state]).encode()).hexdigest()[:12]
        name = self.base.partition("/")[2].partition(".tar")[0]
        return f"{self.storage}:vztmpl/zentoria-{name}-{digest}.tar.zst"


def prepared(inventory: Inventory, materials: Materials) -> Prepared:
    """What the template of a site holds.

    Args:
        inventory: of the site.
        materials: nothing is asked of them.
    """
    # The size of the journal is that of most containers: the others write theirs.
    container = _usual(inventory)
    resources = _resources(inventory, container, materials)
    packages = next(one.names for one in resources if isinstance(one, Packages))
    # A proxy is how packages come, and not what is in them; there may be a password in it.
    kept = [one.model_dump_json() for one in resources if one.id != _PROXY]
    return Prepared(inventory.site.template, packages, hashlib.sha256("\n".join(kept).encode()).hexdigest())


def prepared_state(inventory: Inventory, container: Container, materials: Materials) -> GuestState:
    """The state of the container that a template is made in, whichever of the inventory it is."""
    resources = _resources(inventory, _usual(inventory), materials)
    return GuestState(vmid=container.vmid, hostname=container.hostname, resources=resources)


_PROXY = "file:/etc/apt/apt.conf.d/80zentoria"


def _usual(inventory: Inventory) -> Container:
    """A container with the size that most have."""
    sizes = [one.resources.rootfs for one in inventory.containers]
    usual = max(sorted(set(sizes)), key=sizes.count)
    return next(one for one in inventory.containers if one.resources.rootfs == usual)


def _resources(inventory: Inventory, container: Container, materials: Materials) -> tuple[Resource, ...]:
    context = Context(inventory, container, materials, Templates(inventory.root), catalog.installs)
    common = _common(inventory, container)
    packages = {*ALWAYS, *base_packages(inventory), *(name for one in common for name in context.apt(one).packages)}
    return (
        *package_sources(context),
        Packages(id="packages", names=tuple(sorted(packages))),
        *alike(context),
        *(one for service in common for one in _asleep(context, service)),
    )


def _asleep(context: Context, service: Service) -> tuple[Resource, ...]:
    """The unit of a service that all containers have: enabled, with its drop-in, and waiting for the agent."""
    unit = catalog.role(service.component).unit
    if unit is None:
        return ()
    waits = file(f"/etc/systemd/system/{unit}.d/00-prepared.conf", _SLEEPS)
    return waits, drop_in(context, unit), Unit(id=f"unit:{unit}", name=unit, running=False)


def _common(inventory: Inventory, container: Container) -> tuple[Service, ...]:
    """Services of a container that all others have too: of the same component, from the same Debian packages."""
    common: dict[str, Component | None] = {}
    for number, one in enumerate(inventory.containers):
        here = {service.component: inventory.component(service) for service in one.services}
        common = here if not number else {name: found for name, found in common.items() if here.get(name) == found}
    return tuple(
        service
        for service in container.services
        if catalog.installs(service)
        and isinstance(found := common.get(service.component), AptComponent)
        and found.repository is None
    )
