"""Programs of our own services, run once in their containers: as the service's user, with its settings and secrets."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from zentoria_infra.errors import GuestError, InventoryError
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.proxmox.client import Proxmox

USER = "zentoria"
SECONDS = 60.0
OWNER_EXISTS = 3
"""Exit code of ``zentoria-auth users setup-link`` where there is an owner."""


@dataclasses.dataclass(frozen=True)
class ServiceProgram:
    """The program of one component.

    Args:
        proxmox: the way into containers.
        container: the one that the service is in.
        component: its name, as ``auth``.
    """

    proxmox: Proxmox
    container: Container
    component: str

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """The command: systemd starts it as it starts the service, with the same user and the same file of settings."""
        program = f"/opt/zentoria/{self.component}/current/bin/zentoria-{self.component}"
        return (
            "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", f"--uid={USER}",
            f"--property=EnvironmentFile=/etc/zentoria/{self.component}/environment", program, *arguments,
        )  # fmt: skip

    def run(self, *arguments: str, tried: str, nothing: int | None = None, seconds: float = SECONDS) -> str:
        """Run it, and return what it prints.

        Args:
            arguments: its command line.
            tried: what it is for.
            nothing: the exit code that says that there was nothing to do; then it is an empty text.
            seconds: that it may take.

        Raises:
            GuestError: it ended with an error; what it said is in the text.
        """
        result = self.proxmox.pct.exec(self.container.vmid, self.argv(*arguments), timeout=seconds)
        if result.exit and result.exit == nothing:
            return ""
        if result.exit:
            said = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()[-5:]
            refusal = f"zentoria-{self.component}: {' '.join(arguments[:2])}: "
            if len(said) == 1 and said[0].startswith(refusal):  # the program is well, and says why it does not do it
                raise GuestError(tried, got=said[0].removeprefix(refusal))
            raise GuestError(
                tried,
                on=f"{self.container.vmid} ({self.container.name})",
                got="\n  ".join(said) or f"it ended with {result.exit}",
                todo=_see(self.container),
            )
        return result.stdout.decode("utf-8", "replace")

    def json(self, *arguments: str, tried: str, nothing: int | None = None, seconds: float = SECONDS) -> dict[str, Any]:
        """Run it with ``--json`` behind its arguments, and return the object that it prints.

        Raises:
            GuestError: it ended with an error, or printed something else.
        """
        said = self.run(*arguments, "--json", tried=tried, nothing=nothing, seconds=seconds) or "{}"
        try:
            found = json.loads(said)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise GuestError(tried, got=f"{self.container.name} gave no JSON", todo=_see(self.container))
        return found


def program_of(inventory: Inventory, proxmox: Proxmox, component: str, *, tried: str) -> ServiceProgram:
    """The program of the service of a component.

    Raises:
        InventoryError: the inventory has none.
    """
    return ServiceProgram(proxmox, container_with(inventory, component, tried=tried), component)


def container_with(inventory: Inventory, component: str, *, tried: str) -> Container:
    """The container that has a service of a component.

    Raises:
        InventoryError: there is none.
    """
    for container in inventory.containers:
        if any(service.component == component for service in container.services):
            return container
    raise InventoryError(tried, got=f"no container has a service of component '{component}'", todo="add one")


def _see(container: Container) -> str:
    return f"`zentoria status` and `zentoria logs {container.name}` show what it is at"


def setup_link(inventory: Inventory, proxmox: Proxmox) -> dict[str, Any]:
    """The link with which the site's owner makes the account, as ``url`` and ``expires_at``; empty: there is an owner.

    Raises:
        GuestError: the service could not say.
    """
    tried = "ask for the link of the first sign-in"
    return program_of(inventory, proxmox, "auth", tried=tried).json(
        "users", "setup-link", tried=tried, nothing=OWNER_EXISTS
    )
