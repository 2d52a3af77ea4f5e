"""The OpenAPI document, and schemathesis against it: no 5xx, no answer that it does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.errors
import pytest
import schemathesis
from backend_fakes import app_with
from fastapi import FastAPI
from gateway_kit import GOOD_ANSWERS, Person, World, serving
from real_servers import S3Server
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from zentoria_backend.access.rules import TABLE
from zentoria_backend.app import create_app

EXAMPLES = 200 if hypothesis.settings.get_current_profile_name() == "soak" else 15
"""Good and as many bad requests, a route."""


def documented(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def test_it_is_of_version_3_1_and_names_every_route(world: World) -> None:
    app = world.app()
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    there = {(method, path) for method, path, _ in documented(app)}
    hidden = {(method, "/mcp") for method in ("GET", "HEAD", "POST", "DELETE")}  # another protocol
    hidden |= {("GET", "/metrics"), ("GET", "/api/v1/openapi.json"), ("HEAD", "/api/v1/openapi.json")}
    assert {key for key in TABLE if key[0] not in ("WS", "TOOL")} - hidden == there


def test_every_route_says_what_it_answers(world: World) -> None:
    for method, path, operation in documented(world.app()):
        assert operation.get("summary"), (method, path)
        rule = TABLE[method, path]
        if not rule.scope:
            continue
        assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys(), (method, path)
        assert operation["security"][0] == {"bearer": [rule.scope] if rule.scope else []}
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert "application/problem+json" in answer["content"], (method, path, status)
        if "requestBody" in operation:
            assert "422" in operation["responses"]
            assert "413" in operation["responses"]


@pytest.fixture(scope="module")
def api(world: World, s3_server: S3Server) -> Iterator[tuple[str, Person]]:
    """The gateway on a real socket, and an owner."""
    world.auth.answers |= GOOD_ANSWERS
    world.s3 = s3_server
    settings = world.settings(limit_sign_in=1_000_000)
    app = create_app(settings, world.services(limit_sign_in=1_000_000), ())
    with serving(app, settings) as url:
        yield url, world.person()


CHECKED = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
OPERATIONS = {
    result.ok().label: result.ok()
    for result in schemathesis.openapi.from_dict(app_with(()).openapi()).get_all_operations()
    if result.ok().label != "GET /api/v1/events"  # it has no end: a test of its own hears it
}


TAKE_NOTHING = (
    "GET /.well-known/oauth-protected-resource",
    "GET /.well-known/oauth-protected-resource/mcp",
    "GET /api/v1/health",
    "GET /api/v1/health/live",
    "OPTIONS /api/v1/uploads",
    "POST /api/v1/auth/passkeys/options",
)


@schemathesis.serializer("application/offset+octet-stream")
def octets(_context: object, value: object) -> bytes:
    """A part of an upload (tus 1.0), whatever it is."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.mark.slow  # all of them together
# The gateway's own thread takes random numbers meanwhile (for its delays); hypothesis thinks that the test does.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_answer_is_undocumented(label: str, mode: schemathesis.GenerationMode, api: tuple[str, Person]) -> None:
    url, person = api
    requests = OPERATIONS[label].as_strategy(generation_mode=mode)

    @hypothesis.settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(requests)
    def check(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, headers=person.headers)
        if answer.status_code >= 500:
            # what a container that is not there is meant to be answered with
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/service-missing"), answer.text
        case.validate_response(answer, checks=CHECKED)

    try:
        check()
    except hypothesis.errors.Unsatisfiable:  # a route that takes nothing cannot be asked wrongly
        assert (mode.value, label) in {("negative", each) for each in TAKE_NOTHING}
