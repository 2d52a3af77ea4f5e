"""What the tools share: how one is offered, its arguments, its errors, and the way by an approval."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field
from zentoria_common.problems import Problem

Ctx = Context[Any, Any]
Function = Callable[..., Awaitable[Any]]

Limit = Annotated[int, Field(ge=1, le=100, description="how many items at most")]
Cursor = Annotated[str | None, Field(max_length=512, description="next_cursor of the page before")]
Words = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$", description='all these words; "a phrase", -without')
]


@dataclasses.dataclass(frozen=True)
class Offer:
    """A tool.

    Args:
        name: as clients call it.
        title: as people read it.
        function: does it; its docstring tells the model what it does.
        changes: it has side effects, and so runs under an approval.
    """

    name: str
    title: str
    function: Function
    changes: bool = False

    @property
    def description(self) -> str:
        """The docstring as one paragraph."""
        return " ".join(inspect.cleandoc(self.function.__doc__ or "").split())

    @property
    def annotations(self) -> ToolAnnotations:
        """What a client may show of it. All tools stay within Zentoria."""
        return ToolAnnotations(
            read_only_hint=not self.changes, destructive_hint=self.changes, idempotent_hint=True, open_world_hint=False
        )


def guarded(function: Function) -> Function:
    """The tool with our problems as errors that the model reads: a reason, and no more."""

    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Problem as refusal:
            raise ToolError(refusal.detail or refusal.kind) from None

    return run
