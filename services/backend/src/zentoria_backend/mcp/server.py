"""The server behind ``/mcp``: its tools and resources, shown and run by scope, each call with its audit row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from zentoria_backend import __version__
from zentoria_backend.access.audit import Severity
from zentoria_backend.mcp import resources, tools
from zentoria_backend.mcp.call import Call, call_of

if TYPE_CHECKING:
    pass

TARGETS = ("conversation_id", "file_id", "job_id", "key_id", "memory_id", "session_id", "workflow_id")
INSTRUCTIONS = (
    "Zentoria holds the user's files, conversations, jobs, workflows and API keys. Lists come in pages: give "
    "next_cursor as cursor to get the next one. A tool that changes something answers approval_required first: tell "
    "the user, who approves it in Zentoria; then call the tool again with the same arguments and the approval_id."
)
LISTS_FRESH = 60_000
"""Milliseconds for which a client may keep a list of tools. It changes with its credential or our release alone."""


def make_server(*, listening: bool = False) -> MCPServer[Any]:
    """Make the server with all its tools and resources.

    Args:
        listening: let clients listen for changes of lists; nothing here tells of any, and so it is for tests.
    """
    server: MCPServer[Any] = MCPServer(
        "zentoria",
        title="Zentoria",
        version=__version__,
        instructions=INSTRUCTIONS,
        middleware=[guard],
        subscriptions=None if listening else False,
        cache_hints={
            "tools/list": CacheHint(LISTS_FRESH, "private"),
            "resources/list": CacheHint(0, "private"),
            "resources/read": CacheHint(0, "private"),
            "resources/templates/list": CacheHint(LISTS_FRESH, "public"),
            "prompts/list": CacheHint(LISTS_FRESH, "public"),
        },
        log_level="WARNING",
    )
    tools.add_to(server)
    resources.add_to(server)
    return server


async def guard(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Stand before every message: what a credential may not use, it neither sees nor runs."""
    call = call_of(ctx.request)
    match ctx.method:
        case "tools/list":
            listed = _result(await call_next(ctx))
            listed["tools"] = sorted(
                (tool for tool in listed["tools"] if call.services.access.tool_allowed(call.principal, tool["name"])),
                key=lambda tool: str(tool["name"]),
            )
            return listed
        case "tools/call":
            return await _run(call, ctx, call_next)
        case "resources/list":
            return await resources.listed(call, ctx.params, _result(await call_next(ctx)))
        case "resources/read" if str((ctx.params or {}).get("uri")).startswith(resources.PREFIX):
            read = _result(await _run(call, ctx, call_next, resources.TOOL))
            if call.mime_type is not None:
                for content in read["contents"]:
                    content["mimeType"] = call.mime_type
            return read
    return await call_next(ctx)


async def _run(
    call: Call, ctx: ServerRequestContext[Any, Any], call_next: CallNext, tool: str | None = None
) -> HandlerResult:
    """Run a tool, or what counts as ``tool``, and write its audit row, whatever came of it."""
    parameters = ctx.params or {}
    name = tool or str(parameters.get("name", ""))[:128]
    call.target = _target(parameters)
    if name in call.tools and not call.services.access.tool_allowed(call.principal, name):
        # the endpoint has asked this already; here it holds whatever the way was on which a message came
        await note(call, name, "refused")
        raise MCPError(INVALID_PARAMS, f"the credential may not use {name}")
    outcome = "failed"
    try:
        result = await call_next(ctx)
        outcome = _outcome(result)
        return result
    finally:
        await note(call, name, outcome)


async def note(call: Call, name: str, outcome: str) -> None:
    """Write the audit row of a call.

    Raises:
        Unavailable: the database does not answer.
    """
    severity: Severity = "info" if outcome in ("done", "approval_required") else "notice"
    await call.services.audit.record(
        call.principal,
        "mcp.tool",
        "tool",
        name,
        details={"outcome": outcome, **({"target": call.target} if call.target else {})},
        severity=severity,
    )


def _target(parameters: Mapping[str, Any]) -> str:
    """What a call is about: the id in its arguments, or the address of a document. Nothing else of them is kept."""
    if isinstance(uri := parameters.get("uri"), str):
        return uri[:128]
    arguments = parameters.get("arguments")
    given = arguments if isinstance(arguments, Mapping) else {}
    return next((str(given[name])[:64] for name in TARGETS if name in given), "")


def _outcome(result: HandlerResult) -> str:
    fields = _result(result)
    if fields.get("isError"):
        return "error"
    structured = fields.get("structuredContent")
    if isinstance(structured, Mapping) and structured.get("status") == "approval_required":
        return "approval_required"
    return "done"


def _result(result: HandlerResult) -> dict[str, Any]:
    """What a handler gave, which the SDK has brought into its form on the wire."""
    if not isinstance(result, dict):
        raise MCPError(INTERNAL_ERROR, "a result without its form on the wire")
    return result
