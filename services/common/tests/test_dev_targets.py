"""``make dev-auth`` and ``make dev-backend``: a service alone, with an account that works at once."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from real_servers import free_ports

DEV = Path(__file__).resolve().parents[2] / "dev.py"
PATIENCE = 100.0


@pytest.fixture(params=["auth", "backend"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Name and URL of a service, and the file with what it said."""
    port = next(port for port in free_ports(20) if port < 65000)
    said = tmp_path / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, DEV, request.param, "--port", str(port)], stdout=file, stderr=file, cwd=tmp_path
        )
    url = f"http://127.0.0.1:{port}"
    live = f"{url}{'/api/v1' if request.param == 'backend' else ''}/health/live"
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(live, timeout=5, trust_env=False).status_code == 200:
                    break
            assert process.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        yield request.param, url, said
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, said.read_text()


@pytest.mark.slow
def test_it_is_there_with_an_account(started: tuple[str, str, Path]) -> None:
    service, url, said = started
    text = said.read_text()
    assert "owner@zentoria.test, password: " in text
    key = re.search(r"zt_\S+", text)
    assert key is not None
    if service == "auth":
        answer = httpx2.get(f"{url}/.well-known/jwks.json", trust_env=False)
        assert [one["kty"] for one in answer.json()["keys"]] == ["EC"]
    else:
        headers = {"Authorization": f"Bearer {key[0]}"}
        answer = httpx2.get(f"{url}/api/v1/keys", headers=headers, trust_env=False)
        assert [one["name"] for one in answer.json()["items"]] == ["first"]
