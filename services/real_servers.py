"""Servers that the services' tests talk to, as they are and where they may be stopped: Redis, and S3 by SeaweedFS.

Both listen on loopback alone, with passwords of this run, and keep what they have in a folder of the test's. A server
that was stopped starts again at the same port, with its data.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import obstore
from obstore.store import S3Store

PATIENCE = 60.0
"""Seconds that a server may take to answer, on a machine that has much else to do."""


class ServerError(Exception):
    """A server did not start; the text has the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. They are asked for together, so that no two are the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


class _Server:
    """A program that answers on a port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.host, self.port = "127.0.0.1", port
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ServerError: it ended, or did not answer in time.
        """
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.process = process
        self._wait(process, self.answers)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and wait until it is gone; with ``SIGKILL``, as a machine that loses its power."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def _wait(self, process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if process.poll() is not None or time.monotonic() > deadline:
                end = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise ServerError(f"{self.command()[0]} does not answer on port {self.port}:\n{end}")
            time.sleep(0.05)


class RedisServer(_Server):
    """Redis with ACL users ``ai``, ``auth``, ``backend``, each with the keys of its own name, as in container 410."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free_ports(1)[0])
        self.passwords = {name: secrets.token_urlsafe(16) for name in ("admin", "ai", "auth", "backend")}
        rules = {name: f"~{name}:* &{name}:* +@all -@admin -@dangerous +info" for name in ("ai", "auth", "backend")}
        rules["admin"] = "~* &* +@all"
        lines = [f"user {name} on >{self.passwords[name]} {rule}" for name, rule in rules.items()]
        (folder / "users.acl").write_text("\n".join(["user default off resetpass ~* &* +@all", *lines, ""]))

    def password(self, user: str) -> str:
        """Of ``admin``, ``ai``, ``auth`` or ``backend``."""
        return self.passwords[user]

    def environment(self, user: str) -> dict[str, str]:
        """Variables of a service that uses it; its password goes into a file."""
        return {
            "ZENTORIA_REDIS_HOST": self.host,
            "ZENTORIA_REDIS_PORT": str(self.port),
            "ZENTORIA_REDIS_USER": user,
        }

    def command(self) -> Sequence[str]:
        """It keeps what it has when it is told to stop, and every second."""
        program = shutil.which("redis-server") or "redis-server"
        return (
            program, "--bind", self.host, "--port", str(self.port), "--dir", str(self.folder),
            "--aclfile", str(self.folder / "users.acl"), "--save", "", "--appendonly", "yes",
        )  # fmt: skip

    def answers(self) -> bool:
        """Whether it says PONG to its administrator."""
        return self.ask("PING") == "+PONG"

    def flush(self) -> None:
        """Forget every key."""
        self.ask("FLUSHALL")

    def ask(self, *command: str) -> str:
        """The first line of the answer to one command of the administrator; empty while it is away."""
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as sock, sock.makefile("rwb") as stream:
                for one in (("AUTH", "admin", self.passwords["admin"]), command):
                    parts = "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in one)
                    stream.write(f"*{len(one)}\r\n{parts}".encode())
                stream.flush()
                stream.readline()
                return stream.readline().decode().rstrip()
        except OSError:
            return ""


class S3Server(_Server):
    """SeaweedFS with the buckets ``uploads``, ``documents``, ``backups``; the keys of ``USERS`` have the first two."""

    BUCKETS = ("uploads", "documents", "backups")
    USERS = ("backend", "embeddings", "ocr")

    def __init__(self, folder: Path) -> None:
        self._ports = free_ports(8)
        super().__init__(folder, self._ports[0])
        self.passwords = {name: secrets.token_urlsafe(16) for name in ("admin", *self.USERS)}
        verbs = ("List", "Read", "Tagging", "Write")
        whole = [f"{verb}:{bucket}" for bucket in ("uploads", "documents") for verb in verbs]
        actions = {"admin": ["Admin", *verbs], **dict.fromkeys(self.USERS, whole)}
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions[name]}
            for name, secret in self.passwords.items()
        ]
        (folder / "identities.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"

    def secret_key(self, user: str) -> str:
        """Of ``admin`` or one of ``USERS``; the access key is the same name."""
        return self.passwords[user]

    def environment(self, user: str) -> dict[str, str]:
        """Variables of a service that uses it; its secret key goes into a file."""
        return {"ZENTORIA_S3_ENDPOINT": self.endpoint, "ZENTORIA_S3_ACCESS_KEY": user}

    def store(self, bucket: str, user: str = "admin") -> S3Store:
        """A store of one bucket, for tests that look or break."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=user,
            secret_access_key=self.passwords[user],
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def command(self) -> Sequence[str]:
        """Master, volumes, filer and gateway in one process. Ports of gRPC are named, for it adds 10000 else."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports
        return (
            str(Path(sys.executable).with_name("weed")), "-logtostderr=true", "server",
            f"-dir={self.folder / 'data'}", f"-ip={self.host}", f"-ip.bind={self.host}",
            f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false", "-master.electionTimeout=1s",
            f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}",
            "-volume.max=200", "-volume.preStopSeconds=0", "-filer", f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}",
            f"-s3.config={self.folder / 'identities.json'}", "-s3.iam=false", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-s3.autoCreateBucket=false",
        )  # fmt: skip

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop it; SIGTERM it does not take for ten seconds."""
        super().stop(how)

    def answers(self) -> bool:
        """Whether the buckets are there; the first time, they are made."""
        return all(self._make(bucket) for bucket in self.BUCKETS)

    def _make(self, bucket: str) -> bool:
        url = obstore.sign(self.store(bucket), "PUT", "", datetime.timedelta(minutes=5))
        try:
            return httpx2.put(url, timeout=10, trust_env=False).status_code in (200, 409)
        except httpx2.HTTPError:
            return False
