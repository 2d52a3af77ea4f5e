"""What the tools share: how one is offered, its arguments, its errors, and the way by an approval."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field
from zentoria_common.problems import Problem

from zentoria_backend.approvals import service as approvals
from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.mcp.call import Call

Ctx = Context[Any, Any]
Function = Callable[..., Awaitable[Any]]

Limit = Annotated[int, Field(ge=1, le=100, description="how many items at most")]
Cursor = Annotated[str | None, Field(max_length=512, description="next_cursor of the page before")]
Words = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$", description='all these words; "a phrase", -without')
]

ApprovalId = Annotated[
    UUID | None, Field(description="of the approval that the user gave for exactly this call; leave out at first")
]


EffectKind = Literal["read", "write", "send", "destroy"]


@dataclasses.dataclass(frozen=True)
class Offer:
    """A tool.

    Args:
        name: as clients call it.
        title: as people read it.
        function: does it; its docstring tells the model what it does.
        kind: it ``reads``; it ``says`` something to another container; or it ``changes`` something, under an approval.
        effect: what planners are told of it, where ``kind`` does not say it all.
        secret: what comes of it is for the user's eyes alone: the gateway does it when it is approved.
        planned: a command may use it.
    """

    name: str
    title: str
    function: Function
    kind: Literal["reads", "says", "changes"] = "reads"
    effect: EffectKind | None = None
    secret: bool = False
    planned: bool = True

    @property
    def told(self) -> EffectKind:
        """What planners are told of its effect."""
        if self.effect is not None:
            return self.effect
        return {"reads": "read", "says": "send", "changes": "write"}[self.kind]  # type: ignore[return-value] # those

    @property
    def description(self) -> str:
        """The docstring as one paragraph."""
        return " ".join(inspect.cleandoc(self.function.__doc__ or "").split())

    @property
    def annotations(self) -> ToolAnnotations:
        """What a client may show of it. All tools stay within Zentoria."""
        return ToolAnnotations(
            read_only_hint=self.kind == "reads",
            destructive_hint=self.kind == "changes",
            idempotent_hint=self.kind != "says",
            open_world_hint=False,
        )


class Outcome(BaseModel):
    """What came of a call that changes something."""

    status: Literal["done", "approval_required"]
    approval_id: Annotated[UUID | None, Field(description="what the user is to approve")] = None
    expires_at: Annotated[datetime.datetime | None, Field(description="until when that is possible")] = None
    advice: str | None = None
    result: Annotated[dict[str, Any] | None, Field(description="what came of it")] = None


def guarded(function: Function) -> Function:
    """The tool with our problems as errors that the model reads: a reason, and no more."""

    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Problem as refusal:
            raise ToolError(refusal.detail or refusal.kind) from None

    return run


async def under_approval(
    call: Call,
    tool: str,
    arguments: dict[str, Any],
    approval_id: UUID | None,
    revision: str | None,
    change: Callable[[], Awaitable[Any]],
    *,
    title: str = "",
    effects: Sequence[Effect] = (),
    secret: bool = False,
) -> Outcome:
    """Run a change if the user approved exactly it; else ask for that.

    Args:
        call: the call.
        tool: its name.
        arguments: all of them but the approval.
        approval_id: what the client says was approved.
        revision: of what it changes, so that what was looked at is what is changed.
        change: does it.
        title: what it will do, for people.
        effects: what will be otherwise.
        secret: what comes of it is for the user's eyes alone: the gateway does it, and tells nobody else.

    Raises:
        Problem: 409, that approval does not cover this call, was used, or is not given (yet).
    """
    if approval_id is None:
        carrier: Literal["client", "gateway"] = "gateway" if secret else call.carrier
        asked = await approvals.propose(
            call.services, call.principal, tool, arguments, revision, title=title, effects=effects, carrier=carrier
        )
        advice = "The user approves or denies this in Zentoria. "
        advice += "Then call again with approval_id." if carrier == "client" else "It is done at once then."
        return Outcome(status="approval_required", approval_id=asked.id, expires_at=asked.expires_at, advice=advice)
    if secret and call.carrying is None:
        there = await approvals.get_approval(call.services, call.principal, approval_id)
        if there.state == "used" and there.tool == tool:
            return Outcome(status="done", advice="Zentoria has done it, and shown what came of it to the user.")
    await approvals.use(call.services, call.principal, approval_id, tool, arguments, revision)
    made = await change()
    if call.carrying is None or not isinstance(made, BaseModel):
        return Outcome(status="done")
    return Outcome(status="done", result=made.model_dump(mode="json"))
