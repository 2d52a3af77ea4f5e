"""What the official MCP conformance suite calls: tools, resources and prompts that mean nothing.

The suite's descriptions of its scenarios say what each must do (npm ``@modelcontextprotocol/conformance``); the names
are the suite's. They are no part of the gateway: a test puts them into one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from typing import Annotated, Any

import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from pydantic import Field


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + _chunk(b"IEND", b"")
)
WAV = b"RIFF" + struct.pack("<I", 38) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
WAV += b"data" + struct.pack("<I", 2) + b"\x80\x80"
IMAGE = types.ImageContent(data=base64.b64encode(PNG).decode(), mime_type="image/png")
AUDIO = types.AudioContent(data=base64.b64encode(WAV).decode(), mime_type="audio/wav")


def text(value: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=value)])


def embedded(uri: str, mime_type: str, value: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=value))


# --- content


def test_simple_text() -> types.CallToolResult:
    """Answer with a text."""
    return text("This is a simple text response for testing.")


def test_image_content() -> types.CallToolResult:
    """Answer with an image."""
    return types.CallToolResult(content=[IMAGE])


def test_audio_content() -> types.CallToolResult:
    """Answer with a sound."""
    return types.CallToolResult(content=[AUDIO])


def test_embedded_resource() -> types.CallToolResult:
    """Answer with a resource."""
    there = embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    return types.CallToolResult(content=[there])


def test_multiple_content_types() -> types.CallToolResult:
    """Answer with three kinds of content."""
    there = embedded("test://mixed-content-resource", "application/json", json.dumps({"test": "data", "value": 123}))
    return types.CallToolResult(content=[types.TextContent(text="Multiple content types test:"), IMAGE, there])


def test_error_handling() -> types.CallToolResult:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


# --- notifications


async def test_tool_with_logging(ctx: Context) -> types.CallToolResult:
    """Log three messages."""
    for index, message in enumerate(("Tool execution started", "Tool processing data", "Tool execution completed")):
        if index:
            await asyncio.sleep(0.05)
        await ctx.session.send_log_message(level="info", data=message, related_request_id=ctx.request_id)
    return text("logged")


async def test_logging_tool(ctx: Context) -> types.CallToolResult:
    """Log one message, for whoever asked for it."""
    await ctx.session.send_log_message(level="info", data="nobody asked", related_request_id=ctx.request_id)
    return text("logged")


async def test_tool_with_progress(ctx: Context) -> types.CallToolResult:
    """Report progress."""
    for progress in (0, 50, 100):
        if progress:
            await asyncio.sleep(0.05)
        await ctx.report_progress(progress, 100)
    return text("done")


async def test_trigger_tool_change(ctx: Context) -> types.CallToolResult:
    """Say that the tools changed."""
    await ctx.notify_tools_changed()
    return text("told")


async def test_trigger_prompt_change(ctx: Context) -> types.CallToolResult:
    """Say that the prompts changed."""
    await ctx.notify_prompts_changed()
    return text("told")


# --- questions to the client, as requests of their own (until 2025-11-25)


async def test_sampling(prompt: str, ctx: Context) -> types.CallToolResult:
    """Ask the client's model."""
    result = await ctx.session.create_message(
        [types.SamplingMessage(role="user", content=types.TextContent(text=prompt))],
        max_tokens=100,
        related_request_id=ctx.request_id,
    )
    return text(f"LLM response: {getattr(result.content, 'text', '')}")


async def _elicit(ctx: Context, message: str, schema: dict[str, Any]) -> types.ElicitResult:
    return await ctx.session.elicit(message, schema, related_request_id=ctx.request_id)


async def test_elicitation(message: str, ctx: Context) -> types.CallToolResult:
    """Ask the user for two texts."""
    fields = {"username": "User's response", "email": "User's email address"}
    properties = {name: {"type": "string", "description": said} for name, said in fields.items()}
    result = await _elicit(ctx, message, {"type": "object", "properties": properties, "required": list(fields)})
    return text(f"User response: action={result.action}, content={json.dumps(result.content)}")


async def test_elicitation_sep1034_defaults(ctx: Context) -> types.CallToolResult:
    """Ask with defaults."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    result = await _elicit(ctx, "Who are you?", {"type": "object", "properties": properties})
    return text(f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}")


async def test_elicitation_sep1330_enums(ctx: Context) -> types.CallToolResult:
    """Ask for one of some, in five forms."""
    plain = ["option1", "option2", "option3"]
    choices = [{"const": f"value{n}", "title": f"{word} Choice"} for n, word in enumerate(("First", "Second"), 1)]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": choices},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": choices}},
    }
    result = await _elicit(ctx, "Which?", {"type": "object", "properties": properties})
    return text(f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}")


async def test_reconnection(ctx: Context) -> types.CallToolResult:
    """Close the stream under the call, and answer on the next one."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return text("Reconnection test completed")


# --- questions to the client, in the result (from 2026-07-28)


def form(message: str, **fields: str) -> types.ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str, max_tokens: int = 100) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


ROOTS = types.ListRootsRequest()
Answer = types.CallToolResult | types.InputRequiredResult


def ask(state: str | None = None, **requests: Any) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def answers(ctx: Context, *names: str) -> list[Any] | None:
    given = ctx.input_responses or {}
    return [given[name] for name in names] if all(name in given for name in names) else None


def accepted(answer: Any, field: str) -> str | None:
    content = answer.content if isinstance(answer, types.ElicitResult) and answer.action == "accept" else None
    value = (content or {}).get(field)
    return value if isinstance(value, str) else None


async def test_input_required_result_elicitation(ctx: Context) -> Answer:
    """Ask for a name, and greet."""
    given = answers(ctx, "user_name")
    name = accepted(given[0], "name") if given else None
    return ask(user_name=form("What is your name?", name="string")) if name is None else text(f"Hello, {name}!")


async def test_streaming_elicitation(ctx: Context) -> Answer:
    """Report progress, then ask."""
    await ctx.report_progress(1, 2)
    return await test_input_required_result_elicitation(ctx)


async def test_input_required_result_sampling(ctx: Context) -> Answer:
    """Ask the client's model."""
    if not (given := answers(ctx, "capital_question")):
        return ask(capital_question=sampling("What is the capital of France?"))
    return text(str(getattr(given[0].content, "text", given[0].content)))


async def test_input_required_result_list_roots(ctx: Context) -> Answer:
    """Ask for roots."""
    if not (given := answers(ctx, "client_roots")):
        return ask(client_roots=ROOTS)
    return text("roots: " + ", ".join(str(root.uri) for root in given[0].roots))


async def test_input_required_result_request_state(ctx: Context) -> Answer:
    """Ask with a state, and look at it again."""
    if not answers(ctx, "confirm") or ctx.request_state is None:
        return ask("asked", confirm=form("Please confirm", ok="boolean"))
    return text("state-ok" if ctx.request_state == "asked" else "state-wrong")


async def test_input_required_result_tampered_state(ctx: Context) -> Answer:
    """Ask with a state that nobody may change."""
    return await test_input_required_result_request_state(ctx)


async def test_input_required_result_multiple_inputs(ctx: Context) -> Answer:
    """Ask three things at once."""
    if not answers(ctx, "user_name", "greeting", "client_roots"):
        return ask(
            "asked",
            user_name=form("What is your name?", name="string"),
            greeting=sampling("Generate a greeting", 50),
            client_roots=ROOTS,
        )
    return text("all three")


async def test_input_required_result_multi_round(ctx: Context) -> Answer:
    """Ask twice."""
    if ctx.request_state is None:
        return ask("one", step1=form("Step 1: What is your name?", name="string"))
    if ctx.request_state == "one":
        return ask("two", step2=form("Step 2: What is your favorite color?", color="string"))
    return text("both")


async def test_input_required_result_capabilities(ctx: Context) -> Answer:
    """Ask what the client can answer."""
    can = ctx.client_capabilities or types.ClientCapabilities()
    questions: dict[str, Any] = {}
    if can.elicitation is not None:
        questions["user_name"] = form("What is your name?", name="string")
    if can.sampling is not None:
        questions["greeting"] = sampling("Generate a greeting")
    if can.roots is not None:
        questions["client_roots"] = ROOTS
    return ask(**questions) if questions and not ctx.input_responses else text("nothing to ask")


async def test_missing_capability(ctx: Context) -> types.CallToolResult:
    """Need a client that can sample."""
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "this tool samples",
            needed.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return text("can sample")


def test_custom_headers(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> types.CallToolResult:
    """Have an argument that is repeated in a header (SEP-2243)."""
    return text(region)


TOOLS = tuple(value for name, value in list(globals().items()) if name.startswith("test_"))


# --- resources and prompts


def install(server: MCPServer) -> None:
    """Put all of it into a server."""
    for tool in TOOLS:
        server.add_tool(tool, structured_output=False)

    @server.resource("test://static-text", description="Text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", description="A picture", mime_type="image/png")
    def static_binary() -> bytes:
        return PNG

    @server.resource("test://watched-resource", description="May change", mime_type="text/plain")
    def watched() -> str:
        return "watched"

    @server.resource("test://template/{id}/data", description="One of many", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    def test_simple_prompt() -> list[UserMessage]:
        """Say one thing."""
        return [UserMessage("This is a simple prompt for testing.")]

    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        """Say what was given."""
        return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]

    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """Show a resource."""
        there = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [UserMessage(there), UserMessage("Please process the embedded resource above.")]

    def test_prompt_with_image() -> list[UserMessage]:
        """Show a picture."""
        return [UserMessage(IMAGE), UserMessage("Please analyze the image above.")]

    async def test_input_required_result_prompt(ctx: Context) -> Any:
        """Ask before it says anything."""
        given = answers(ctx, "user_context")
        context = accepted(given[0], "context") if given else None
        if context is None:
            return ask(user_context=form("What context should the prompt use?", context="string"))
        return [UserMessage(f"Context: {context}")]

    for prompt in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
        test_input_required_result_prompt,
    ):
        server.add_prompt(Prompt.from_function(prompt))

    @server.completion()
    async def complete(_ref: Any, argument: types.CompletionArgument, _context: Any) -> types.Completion:
        values = [each for each in ("paris", "park", "party", "test") if each.startswith(argument.value)]
        return types.Completion(values=values, total=len(values), has_more=False)

    # What only the handshake revisions have, the SDK's own server takes on its lower level alone.
    async def nothing(_ctx: Any, _params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", types.SetLevelRequestParams, nothing)
    low.add_request_handler("resources/subscribe", types.SubscribeRequestParams, nothing)
    low.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, nothing)
