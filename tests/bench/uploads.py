"""One upload of a gibibyte: through the gateway, and straight into the S3 server, in the same run.

It stands on what the gateway's tests stand on: the program itself, with PostgreSQL, Redis and SeaweedFS on loopback.
``.venv/bin/python -m tests.bench.uploads [MEBIBYTES]`` runs it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_STRAIGHT = """
import sys, time
from pathlib import Path
import obstore
from obstore.store import S3Store
endpoint, secret, path = sys.argv[1:]
store = S3Store("uploads", endpoint=endpoint, region="us-east-1", access_key_id="backend", secret_access_key=secret,
                virtual_hosted_style_request=False, client_options={"allow_http": True, "timeout": "600s"})
began = time.monotonic()
obstore.put(store, "bench/straight", Path(path), chunk_size=8 << 20, max_concurrency=4)
print(time.monotonic() - began)
"""


def uploads(mebibytes: int = 1024) -> dict[str, dict[str, Any]]:
    """Measure; figures by what was done. Times depend on the machine, their ratio hardly."""
    sys.path[:0] = [str(ROOT / "services"), str(ROOT / "services/backend/tests")]
    from gateway_kit import AuthService, World
    from real_servers import RedisServer, S3Server
    from test_backend_killed import Gateway
    from zentoria_schema import embedded

    with tempfile.TemporaryDirectory(prefix="zentoria-bench-") as name:
        folder = Path(name)
        for one in ("redis", "s3", "gateway"):
            (folder / one).mkdir()
        file, digest = _file(folder / "file", mebibytes)
        redis, s3 = RedisServer(folder / "redis"), S3Server(folder / "s3")
        with embedded.postgres_server() as postgres:
            database = postgres.migrated("bench", "zentoria_core")
            redis.start()
            s3.start()
            try:
                with postgres.connect(database) as admin:
                    world = World(postgres, database, redis, AuthService(), admin, s3)
                    gateway = Gateway(world, folder / "gateway")
                    gateway.environment["ZENTORIA_MAX_BODY_BYTES"] = str(4 << 30)
                    gateway.start()
                    try:
                        return _measured(world, gateway, file, digest, mebibytes)
                    finally:
                        gateway.kill()
            finally:
                s3.stop()
                redis.stop()


def _measured(world: Any, gateway: Any, file: Path, digest: str, mebibytes: int) -> dict[str, dict[str, Any]]:
    key = world.key(world.person().id, "files:read", "files:write", "jobs:read")
    idle = _memory(gateway, "VmRSS")
    straight, through = [], []
    for _ in range(2):
        straight.append(_straight(world, file))
        through.append(_through(gateway, key, file, digest))
    best, own = min(through), min(straight)
    return {
        f"upload of {mebibytes} MiB": {
            "straight_mib_s": round(mebibytes / own),
            "gateway_mib_s": round(mebibytes / best),
            "share": round(own / best, 2),
            "gateway_idle_mib": idle,
            "gateway_peak_mib": _memory(gateway, "VmHWM"),
        }
    }


def _straight(world: Any, file: Path) -> float:
    command = [sys.executable, "-c", _STRAIGHT, world.s3.endpoint, world.s3.secret_key("backend"), str(file)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _through(gateway: Any, key: str, file: Path, digest: str) -> float:
    began = time.monotonic()
    done = subprocess.run(
        ["curl", "-sS", "-T", str(file), "-H", f"Authorization: Bearer {key}", "-H", "Content-Type: a/bench",
         f"{gateway.url}/api/v1/uploads?filename=bench"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.monotonic() - began
    answer = json.loads(done.stdout)
    if answer.get("sha256") != digest:
        raise RuntimeError(f"the gateway answered {done.stdout[:300]}")
    return seconds


def _file(path: Path, mebibytes: int) -> tuple[Path, str]:
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for _ in range(mebibytes):
            chunk = os.urandom(1 << 20)
            digest.update(chunk)
            stream.write(chunk)
    return path, digest.hexdigest()


def _memory(gateway: Any, field: str) -> int:
    for line in Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) >> 10
    return 0


if __name__ == "__main__":
    print(json.dumps(uploads(*(int(one) for one in sys.argv[1:2])), indent=2))
