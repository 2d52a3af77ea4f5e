"""Workflows: listed, looked at. n8n runs them."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy
from sqlalchemy import select
from zentoria_common.problems import Problem
from zentoria_schema.core import Workflow as Row

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.paging import Page
from zentoria_backend.services import Services
from zentoria_backend.workflows.schemas import Workflow


async def list_workflows(
    services: Services, principal: Principal, limit: int, cursor: str | None = None
) -> Page[Workflow]:
    """The caller's workflows that may run, by name.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    after = paging.decode(cursor, str, UUID)
    query = _own(principal)
    if after is not None:
        query = query.where(sqlalchemy.tuple_(Row.name, Row.id) > after)
    async with services.database.session(principal.user_id) as session:
        rows = (await session.scalars(query.order_by(Row.name, Row.id).limit(limit + 1))).all()
    return paging.page(rows, limit, _shown, lambda row: (row.name, str(row.id)))


async def get_workflow(services: Services, principal: Principal, workflow_id: UUID) -> Workflow:
    """One of them.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = (await session.scalars(_own(principal).where(Row.id == workflow_id))).one_or_none()
    if row is None:
        raise Problem(404, "there is no such workflow")
    return _shown(row)


def _own(principal: Principal) -> sqlalchemy.Select[Row]:
    return select(Row).where(Row.user_id == principal.user_id, Row.deleted_at.is_(None), Row.enabled)


def _shown(row: Row) -> Workflow:
    return Workflow.model_validate(row, from_attributes=True)
