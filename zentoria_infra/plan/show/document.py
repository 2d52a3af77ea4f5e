"""A plan as the document of ``plan --json``, and the JSON Schema of that document."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zentoria_infra.firewall.change.changes import Changes
from zentoria_infra.firewall.change.steps import says
from zentoria_infra.plan.model.change import ContainerPlan, Plan
from zentoria_infra.plan.model.document import (
    FORMAT,
    VERSION,
    AttributeDocument,
    Change,
    ContainerDocument,
    Disturbs,
    FirewallDocument,
    InsideDocument,
    Kind,
    Origin,
    OrphanDocument,
    PlanDocument,
    Privilege,
    SharedFirewallDocument,
    Unknown,
)
from zentoria_infra.plan.show.listing import NOTHING_ELSE, Basis, changes_of, totals, unknown_of
from zentoria_infra.plan.stages.types import AnyStage, Destroy

__all__ = [
    "FORMAT",
    "VERSION",
    "Change",
    "Disturbs",
    "Kind",
    "Origin",
    "PlanDocument",
    "Privilege",
    "Unknown",
    "document",
    "schema",
    "shipped_schema",
]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document(plan: Plan, stages: Sequence[AnyStage], basis: Basis = NOTHING_ELSE) -> PlanDocument:
    """The plan as a document.

    Args:
        plan: what to tell.
        stages: the stages made from it.
        basis: where the inventory says things, and what was last applied.
    """
    listing = changes_of(plan, stages, basis)
    steps: dict[int, list[str]] = {}
    for stage in stages:
        steps.setdefault(stage.vmid, []).append(stage.says())
    return PlanDocument(
        changes=not plan.empty or any(isinstance(one, Destroy) and one.orphan is not None for one in stages),
        totals=totals(listing),
        listing=listing,
        unknown=unknown_of(plan, basis),
        summary={action.value: number for action, number in plan.counts().items()},
        problems=plan.problems,
        inside_not_run=plan.no_inside,
        firewall=SharedFirewallDocument(
            turn_on=plan.switch_on,
            datacenter=_firewall(plan.datacenter),
            gained_flows=tuple(flow.says for flow in plan.gained),
            lost_flows=tuple(flow.says for flow in plan.cut),
            foreign=plan.foreign_rules,
        ),
        containers=tuple(_container(one, steps.get(one.vmid, ())) for one in plan),
        orphans=tuple(
            OrphanDocument(
                vmid=one.vmid,
                name=one.name,
                node=one.node,
                running=one.running,
                addresses=one.addresses,
                volumes=one.volumes,
                parked_for=one.parked_for,
                protected=one.protected,
                destroyed=one.vmid in steps,
            )
            for one in plan.orphans
        ),
    )


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document, as the models have it now."""
    return {"$schema": _DIALECT, **PlanDocument.model_json_schema(mode="serialization")}


def shipped_schema() -> Mapping[str, Any]:
    """The JSON Schema that the package holds."""
    text = importlib.resources.files(__package__).joinpath("plan.schema.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def schema_text() -> str:
    """The text of ``plan.schema.json``."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _container(plan: ContainerPlan, steps: Iterable[str]) -> ContainerDocument:
    inside = None
    if plan.guest is not None:
        inside = tuple(InsideDocument(id=one.id, detail=one.detail, diff=one.diff) for one in plan.guest.changes)
    return ContainerDocument(
        vmid=plan.vmid,
        name=plan.name,
        node=plan.node,
        action=plan.action.value,
        reason=plan.reason,
        attributes=tuple(
            AttributeDocument(
                key=one.key,
                before=one.before,
                after=one.after,
                effect=one.effect.name.lower(),
                via=one.via.value,
                where=one.where,
            )
            for one in plan.attributes
        ),
        firewall=_firewall(plan.firewall),
        inside=inside,
        inside_unknown=plan.guest_unknown,
        steps=tuple(steps),
    )


def _firewall(changes: Changes) -> FirewallDocument:
    return FirewallDocument(
        gained=tuple(says(step) for step in changes.gained),
        lost=tuple(says(step) for step in changes.lost),
        reasons=changes.reasons,
    )
