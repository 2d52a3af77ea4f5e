"""New containers begin with the site's prepared template, where the node has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

from zentoria_infra.execute.recipe import SourceMaterials
from zentoria_infra.guest.state import Packages
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.roles.compile import compile_guest
from zentoria_infra.roles.prepared import Prepared, prepared


class FromTemplate:
    """Chooses the template of each container that is made.

    Args:
        inventory: says what is in the site's template, and what each container wants.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._materials = SourceMaterials(inventory.root)

    def __call__(self, desired: DesiredContainer, templates: Mapping[str, int]) -> DesiredContainer:
        """A container, made from the prepared template if there is one.

        Args:
            desired: the container.
            templates: of its node: sizes in bytes by volume id.
        """
        size = templates.get(desired.ostemplate)
        if size is None or (volid := self.site.volid(size)) not in templates:
            return desired
        has = self._wants(desired.vmid) <= set(self.site.packages)
        return dataclasses.replace(desired, ostemplate=volid, prepared=True, packaged=has)

    @cached_property
    def site(self) -> Prepared:
        """What is in the site's template."""
        return prepared(self._inventory, self._materials)

    def _wants(self, vmid: int) -> set[str]:
        """The Debian packages that a container's state has. Made without keys, network, wheels or files."""
        state = compile_guest(self._inventory, self._inventory.by_vmid(vmid), self._materials)
        return {name for one in state.resources if isinstance(one, Packages) for name in one.names}
