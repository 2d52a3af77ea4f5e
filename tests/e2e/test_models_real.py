"""Models in the stack: brought by `up`, served without a restart, removed and brought back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.support.stack import Run, Stack

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

CHAT, EMBEDDING = "smollm2-135m", "bge-small-en-v1.5"
ASK = """
import json, sys, urllib.error, urllib.request
path, body = sys.argv[1], sys.argv[2]
request = urllib.request.Request("http://10.10.40.5:11434" + path, body.encode() or None,
                                 {"content-type": "application/json"})
try:
    answer = urllib.request.urlopen(request, timeout=300)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.load(answer)]))
"""


def asked(stack: Stack, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    text = json.dumps(body) if body is not None else ""
    status, found = json.loads(stack.zentoria("exec", "ai", "--", "python3", "-c", ASK, path, text, check=True).out)
    return status, found


def until_state(stack: Stack, name: str, wanted: str) -> None:
    for _ in range(200):
        _, found = asked(stack, "/v1/models")
        states = {one["id"]: one["state"] for one in found["data"]}
        if states[name] == wanted:
            return
        time.sleep(0.3)
    raise AssertionError(found)


def test_up_brings_models_last_and_the_engine_serves_them(stack: Stack, cold: Run) -> None:
    brought = [event for event in cold.events if event["event"] == "model"]
    assert {event["model"] for event in brought} >= {CHAT, EMBEDDING}
    assert not [event for event in brought if "error" in event]
    last = cold.out.index('"event": "result"')
    assert cold.out.index('"event": "model"') > last
    listed = json.loads(stack.zentoria("models", "list", "--json", check=True).out)["models"]
    assert {one["model"] for one in listed if one["there"]} >= {CHAT, EMBEDDING}
    until_state(stack, CHAT, "ready")
    messages = [{"role": "user", "content": "Say hello."}]
    status, answer = asked(stack, "/v1/chat/completions", {"model": "chat", "messages": messages, "max_tokens": 4})
    assert status == 200 and answer["usage"]["completion_tokens"] <= 4, answer
    until_state(stack, EMBEDDING, "ready")
    status, answer = asked(stack, "/v1/embeddings", {"model": "embedding", "input": "hello"})
    assert status == 200 and len(answer["data"][0]["embedding"]) == 384


def test_a_model_that_is_removed_is_missed_and_comes_back_without_a_restart(stack: Stack) -> None:
    show = ("exec", "ai", "--", "systemctl", "show", "-P", "MainPID", "ollama")
    before = stack.zentoria(*show, check=True).out
    run = stack.zentoria("models", "remove", CHAT, "--yes", check=True)
    assert f"{CHAT}: removed" in run.out
    until_state(stack, CHAT, "fetching")
    question = {"model": CHAT, "messages": [{"role": "user", "content": "hi"}]}
    status, answer = asked(stack, "/v1/chat/completions", question)
    assert (status, answer["error"]["code"]) == (503, "model_not_found")
    stack.zentoria("models", "pull", CHAT, check=True)
    until_state(stack, CHAT, "ready")
    assert stack.zentoria(*show, check=True).out == before
    unknown = stack.zentoria("models", "pull", "gpt-9")
    assert unknown.code == 5 and "there are:" in unknown.err
