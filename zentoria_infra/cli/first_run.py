"""The end of the first `up`: the link with which the site's owner makes the first account."""

from __future__ import annotations

from collections.abc import Collection

from zentoria_infra.cli import output
from zentoria_infra.cli.site_run import SiteRun
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.service_program import setup_link
from zentoria_infra.inventory.model import Inventory

NAME = "owner"
"""The document in the site's memory that says whether there is an owner: a run with nothing to do asks nobody."""
_YES, _NO = b"there is one\n", b"there is none\n"


def tell(inventory: Inventory, at_work: SiteRun, result: engine.Result, only: Collection[int] | None) -> None:
    """Print the link where there is no owner yet.

    The service is asked where nobody has yet, where there was none the last time, and where the run has changed the
    container of sign-in or of its database: their data may be other ones now. That it cannot say is no failure of a
    run that has done its work.

    Args:
        inventory: of the site.
        at_work: the run, its lock still held.
        result: what it did.
        only: VMIDs of the containers that it was for; None: all.
    """
    vmids = {
        container.vmid
        for container in inventory.containers
        for service in container.services
        if service.component in ("auth", "postgresql")
    }
    auth = [one.vmid for one in inventory.containers for each in one.services if each.component == "auth"]
    if not auth or not (only is None or auth[0] in only):
        return
    if at_work.lock.get(NAME) == _YES and not any(ended.stage.vmid in vmids for ended in result.ended):
        return
    try:
        found = setup_link(inventory, at_work.proxmox)
    except ZentoriaError as error:
        output.note(f"The link for the first account is not known: {error.got or error}; `zentoria users setup-link`.")
        return
    at_work.lock.put(NAME, _NO if found else _YES)
    if found:
        text = "Make the owner's account (the link is good once, and for an hour):"
        output.lines(["", text, f"  {found.get('url', '')}"])
