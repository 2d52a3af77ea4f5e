"""The engine with real weights: a small chat model in its own process, and an embedding model."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from zentoria_common.engine import ContextTooLong, EngineAway, EngineClient, EngineRefused, ModelMissing
from zentoria_engine.main import create_app
from zentoria_engine.models import Held
from zentoria_engine.settings import EngineSettings, ModelSpec, Secrets

from tests.support import weights

CHAT, EMBEDDING = "smollm2-135m", "bge-small-en-v1.5"
HELLO = [{"role": "user", "content": "Say hello."}]
PATIENCE = 120
"""Seconds for what takes a moment on a machine that is not busy."""

pytestmark = pytest.mark.asyncio


class Engine:
    """A served engine."""

    def __init__(self, folder: Path, url: str, app: Any) -> None:
        self.folder, self.url, self.app = folder, url, app
        self.client = EngineClient(f"{url}/v1", first=PATIENCE, stall=PATIENCE)
        self.http = httpx2.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False)

    def held(self, name: str) -> Held:
        found: Held = self.app.state.models.all[name]
        return found

    def put(self, name: str, source: Path) -> None:
        """Bring a model's files, as `up` does: each whole, by rename."""
        (self.folder / name).mkdir(exist_ok=True)
        for file in [source] if source.is_file() else sorted(source.iterdir()):
            new = self.folder / name / f".{file.name}.new"
            new.symlink_to(file)
            new.rename(self.folder / name / file.name)

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not what():
                await asyncio.sleep(0.02)

    async def ready(self, name: str) -> None:
        await self.until(lambda: self.held(name).loaded)


@contextlib.asynccontextmanager
async def engine(folder: Path, **more: Any) -> AsyncGenerator[Engine]:
    specs = (
        ModelSpec(name=CHAT, purposes=("chat", "code"), context=512, files={"model.gguf": 98362432}),
        ModelSpec(name=EMBEDDING, purposes=("embedding",), context=512, dimension=384),
    )
    settings = EngineSettings(
        **{"models_folder": folder, "models": specs, "threads": 1, "poll": 0.05, "health_interval": 3600} | more
    )
    app = create_app(settings, Secrets())
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined, method-assign] # the test's are kept
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    made = Engine(folder, f"http://127.0.0.1:{listening.getsockname()[1]}", app)
    try:
        await made.until(lambda: server.started)
        yield made
    finally:
        await made.client.close()
        await made.http.aclose()
        server.should_exit = True
        await serving
        listening.close()


async def test_models_are_served_as_soon_as_their_files_are_there(tmp_path: Path) -> None:
    async with engine(tmp_path) as it:
        assert {one.id: one.state for one in await it.client.models()} == {CHAT: "fetching", EMBEDDING: "fetching"}
        with pytest.raises(ModelMissing, match="is being fetched") as caught:
            await it.client.answer(HELLO, CHAT)
        assert caught.value.retry_after
        with pytest.raises(ModelMissing, match="there is no model 'gpt-9' here"):
            await it.client.answer(HELLO, "gpt-9")
        health = await it.http.get("/health")
        assert health.status_code == 200
        assert health.json()["dependencies"]["models"]["saw"][CHAT] == "fetching"

        (tmp_path / CHAT).mkdir()
        (tmp_path / CHAT / ".model.gguf.new").write_bytes(b"\0" * 9836243)
        models = {one.id: one for one in await it.client.models()}
        assert models[CHAT].progress == pytest.approx(0.1, abs=0.001)
        (tmp_path / CHAT / ".model.gguf.new").unlink()

        it.put(CHAT, weights.chat_small())
        it.put(EMBEDDING, weights.embedding())
        await it.ready(CHAT)
        await it.ready(EMBEDDING)
        assert {one.state for one in await it.client.models()} == {"ready"}

        counted = await it.client.count(CHAT, HELLO)
        text, usage = await it.client.answer(HELLO, "chat", max_tokens=8, counted=counted)
        assert text and usage is not None
        assert counted.exact and usage.prompt_tokens == counted.tokens
        assert 1 <= usage.completion_tokens <= 8
        whole = await it.http.post(
            "/v1/chat/completions", json={"model": CHAT, "messages": HELLO, "max_tokens": 8, "temperature": 0}
        )
        assert whole.json()["choices"][0]["message"]["content"] == text
        assert whole.json()["model"] == CHAT

        schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        said, _ = await it.client.answer(HELLO, CHAT, max_tokens=40, response_format=form)
        assert isinstance(json.loads(said)["yes"], bool)

        with pytest.raises(ContextTooLong, match="takes 512"):
            await it.client.answer([{"role": "user", "content": "word " * 600}], CHAT, max_tokens=1)

        metrics = (await it.http.get("/metrics")).text
        assert f'zentoria_engine_model_ready{{model="{CHAT}"}} 1.0' in metrics
        assert f'zentoria_engine_tokens_total{{kind="completion",model="{CHAT}"}}' in metrics
        await embeddings(it)


async def embeddings(it: Engine) -> None:
    near = ["How do I reset my password?", "I forgot my password and want a new one."]
    far = "The Danube flows through ten countries."
    vectors = await it.client.embed([*near, far], EMBEDDING)
    assert [len(one) for one in vectors] == [384] * 3
    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-4)

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert likeness(vectors[0], vectors[1]) > 0.8 > likeness(vectors[0], vectors[2]) + 0.1
    # in a batch with longer ones, a text has the vector that it has alone, but for what int8 makes of the padding
    many = await it.client.embed([far, "word " * 300, *["x"] * 70, near[0]], "embedding")
    assert len(many) == 73 and likeness(many[-1], vectors[0]) > 0.99
    packed = await it.http.post("/v1/embeddings", json={"model": EMBEDDING, "input": far, "encoding_format": "base64"})
    values = struct.unpack("<384f", base64.b64decode(packed.json()["data"][0]["embedding"]))
    assert likeness(list(values), vectors[2]) > 0.99
    assert packed.json()["usage"]["prompt_tokens"] == (await it.client.count(EMBEDDING, far)).tokens
    with pytest.raises(ContextTooLong, match="takes 512"):
        await it.client.embed(["word " * 600], EMBEDDING)
    for body in (
        {"model": EMBEDDING}, {"model": EMBEDDING, "input": []}, {"model": EMBEDDING, "input": [3]},
        {"model": EMBEDDING, "input": "x", "dimensions": 5}, {"model": CHAT, "input": "x"},
        {"model": EMBEDDING, "input": ["x"] * 3000}, {"model": EMBEDDING, "input": "x", "encoding_format": "hex"},
        {"model": 7, "input": "x"}, [],
    ):  # fmt: skip
        refused = await it.http.post("/v1/embeddings", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request"), body


@pytest.mark.parametrize(
    "body",
    [b"no json", b"[]", b"{}", {"model": CHAT}, {"model": CHAT, "messages": []}, {"model": CHAT, "messages": "hi"},
     {"model": EMBEDDING, "messages": HELLO}, {"model": CHAT, "messages": HELLO, "n": 2}],
)  # fmt: skip
async def test_wrong_questions_are_told_what_is_wrong(tmp_path: Path, body: Any) -> None:
    async with engine(tmp_path) as it:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        refused = await it.http.post("/v1/chat/completions", content=content)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"


async def test_who_leaves_stops_the_generation_and_frees_the_line(tmp_path: Path) -> None:
    """One slot: whoever comes next is served only if the first one's generation ended."""
    async with engine(tmp_path, parallel=1) as it:
        it.put(CHAT, weights.chat_small())
        await it.ready(CHAT)
        endless = {"ignore_eos": True, "max_tokens": 450}
        deltas = it.client.chat(HELLO, CHAT, **endless)
        await anext(deltas)
        await deltas.aclose()
        await it.until(lambda: it.held(CHAT).line.working == 0)
        assert await left(it) == 1
        waits = asyncio.create_task(it.client.answer(HELLO, CHAT, **endless))
        await it.until(lambda: it.held(CHAT).line.working == 1)
        waits.cancel()
        await asyncio.wait({waits})
        await it.until(lambda: it.held(CHAT).line.working == 0)
        async with asyncio.timeout(PATIENCE):
            while any(slot["is_processing"] for slot in (await it.held(CHAT).runner.http.get("/slots")).json()):
                await asyncio.sleep(0.02)
        await it.client.answer(HELLO, CHAT, max_tokens=1)
        assert await left(it) == 2  # and the answer that was whole is none of them


async def left(it: Engine) -> float:
    """Answers that were ended since the asker left."""
    lines = (await it.http.get("/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("zentoria_engine_left_total"))


async def test_a_process_that_dies_in_mid_answer_ends_that_answer_and_nothing_else(tmp_path: Path) -> None:
    async with engine(tmp_path) as it:
        it.put(CHAT, weights.chat_small())
        await it.ready(CHAT)
        deltas = it.client.chat(HELLO, CHAT, ignore_eos=True, max_tokens=450)
        await anext(deltas)
        pid = it.held(CHAT).runner.pid
        assert pid is not None
        assert b"\0GOMP_SPINCOUNT=0\0" in Path(f"/proc/{pid}/environ").read_bytes()
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineAway, match="memory ran out, or somebody ended it"):
            async for _ in deltas:
                pass
        text, _ = await it.client.answer(HELLO, CHAT, max_tokens=3)
        assert text
        assert it.held(CHAT).runner.pid != pid


async def test_broken_files_fail_their_model_alone_and_right_ones_mend_it(tmp_path: Path) -> None:
    async with engine(tmp_path) as it:
        (tmp_path / "elsewhere").mkdir()
        broken = tmp_path / "elsewhere/model.gguf"
        with broken.open("wb") as stream:
            stream.write(b"GGUF")
            stream.truncate(98362432)
        it.put(CHAT, broken)
        it.put(EMBEDDING, weights.embedding())
        await it.until(lambda: it.held(CHAT).status().state == "failed")
        models = {one.id: one for one in await it.client.models()}
        assert "llama.cpp cannot load it" in (models[CHAT].reason or "")
        with pytest.raises(EngineAway, match="cannot be used"):
            await it.client.answer(HELLO, CHAT)
        await it.ready(EMBEDDING)
        assert len(await it.client.embed(["x"], EMBEDDING)) == 1
        (tmp_path / EMBEDDING / "model.onnx").unlink()
        (tmp_path / EMBEDDING / "model.onnx").write_bytes(b"no model")
        await it.until(lambda: it.held(EMBEDDING).status().state == "failed")
        it.put(CHAT, weights.chat_small())
        await it.ready(CHAT)
        shutil.rmtree(tmp_path / CHAT)
        (tmp_path / CHAT).mkdir()
        (tmp_path / CHAT / "model.gguf").write_bytes(b"short")
        assert "has 5 bytes" in (it.held(CHAT).status().reason or "")


async def test_a_model_that_is_larger_than_the_memory_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zentoria_engine.runner.memory_limit", lambda: 64 << 20)
    async with engine(tmp_path) as it:
        it.put(CHAT, weights.chat_small())
        await it.until(lambda: it.held(CHAT).status().state == "failed")
        assert "this container has 64 MiB" in (it.held(CHAT).status().reason or "")


async def test_an_idle_model_is_unloaded_and_comes_back_when_asked(tmp_path: Path) -> None:
    async with engine(tmp_path, keep_alive=0.01) as it:
        it.put(EMBEDDING, weights.embedding())
        await it.ready(EMBEDDING)
        await it.until(lambda: not it.held(EMBEDDING).loaded)
        assert it.held(EMBEDDING).status().state == "ready"
        assert len(await it.client.embed(["x"], EMBEDDING)) == 1


async def test_the_engine_takes_its_processes_with_it(tmp_path: Path) -> None:
    async with engine(tmp_path) as it:
        it.put(CHAT, weights.chat_small())
        await it.ready(CHAT)
        pid = it.held(CHAT).runner.pid
    assert not Path(f"/proc/{pid}").exists()


async def test_strange_messages_are_refused_by_the_model(tmp_path: Path) -> None:
    async with engine(tmp_path) as it:
        it.put(CHAT, weights.chat_small())
        await it.ready(CHAT)
        with pytest.raises(EngineRefused):
            await it.client.answer([{"no": "role"}], CHAT)
        with pytest.raises(EngineRefused):
            await it.client.count(CHAT, [{"no": "role"}])
        with pytest.raises(EngineRefused):
            await it.client.answer(HELLO, CHAT, response_format={"type": "xml"})
