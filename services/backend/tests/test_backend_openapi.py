"""The OpenAPI document, and schemathesis against it: no 5xx, no answer that it does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from gateway_kit import World
from zentoria_backend.access.rules import TABLE

EXAMPLES = 12
"""A route. With the profile ``soak``, hypothesis's own number."""


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[FastAPI]:
    """An application whose startup and end happen in a loop that lives as long as the module."""
    app = world.app(health_interval=3600.0)
    yield app


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
        if rule.scope is None:
            continue
        assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys(), (method, path)
        assert operation["security"][0] == {"bearer": [rule.scope] if rule.scope else []}
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert "application/problem+json" in answer["content"], (method, path, status)
        if "requestBody" in operation:
            assert "422" in operation["responses"]
            assert "413" in operation["responses"]
