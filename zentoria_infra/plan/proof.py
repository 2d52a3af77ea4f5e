"""Nothing is planned from a firewall that is not proven."""

from __future__ import annotations

import dataclasses

from zentoria_infra.errors import RefusedError
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.proof.prove import Proof, prove
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.firewall import DesiredFirewall


def proven_firewall(inventory: Inventory) -> DesiredFirewall:
    """The firewall of an inventory, compiled and proven; pure.

    Raises:
        RefusedError: it does not allow exactly what the flows say.
    """
    everybody = [container.vmid for container in inventory.containers]
    desired = DesiredFirewall(
        compile_firewall(inventory), compile_firewall(inventory, everybody), parties_of(inventory)
    )
    return dataclasses.replace(desired, allowed=require_proof(desired).allowed)


def require_proof(desired: DesiredFirewall) -> Proof:
    """Prove that the compiled configuration allows what the flows say and nothing else; openings apart.

    Raises:
        RefusedError: it does not; nothing was sent.
    """
    proof = prove(desired.compiled, desired.parties)
    if not proof.holds:
        found = [f"  - {one.position}: {one.kind}: {one.explanation}" for one in proof.differences]
        raise RefusedError(
            "prove the firewall",
            got="\n".join([f"{len(found)} differences between the flows and the compiled configuration", *found[:20]]),
            todo="see `zentoria firewall prove`; put right what it names in zones.yaml or the inventory",
        )
    return proof
