"""A small CA, a scripted Proxmox over TLS, and clients of fakepve."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from fakepve import FakePve, settle

from tests.proxmox.proxmox_faulty_lab import FaultyLab
from tests.proxmox.proxmox_pki import FAST, Pki, make_pki
from tests.proxmox.proxmox_scripted_server import Answer, ScriptedServer
from tests.proxmox.proxmox_ssh_server import FakeNode
from zentoria_infra.proxmox.connection import ApiToken, Connection, Credentials, Endpoint
from zentoria_infra.proxmox.secret import Secret


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), "pve1")


@pytest.fixture
def scripted(pki: Pki) -> Iterator[Callable[..., ScriptedServer]]:
    """Starts servers that answer as a function says."""
    servers: list[ScriptedServer] = []

    def start(answer: Answer, use: Pki = pki) -> ScriptedServer:
        server = ScriptedServer(answer, use.cert_file, use.key_file)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def scripted_connection(
    scripted: Callable[..., ScriptedServer], pki: Pki
) -> Iterator[Callable[..., tuple[Connection, ScriptedServer]]]:
    """Connections to a scripted server, with a token."""
    opened: list[Connection] = []

    def connect(answer: Answer, **options: Any) -> tuple[Connection, ScriptedServer]:
        server = scripted(answer)
        endpoint = Endpoint("127.0.0.1", "pve1", server.port, ca_file=pki.ca_file, read_timeout=options.pop("read", 10))
        credentials = options.pop("credentials", ApiToken("zentoria@pve", "up", Secret("canary-token-secret")))
        connection = Connection(endpoint, credentials, retry=FAST, sleep=lambda _: None, **options)
        opened.append(connection)
        return connection, server

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def fakepve(fakepve_cafile: str) -> Iterator[Any]:
    """A started fake, in the place of the plugin's own: that one closes its loop before TLS has said goodbye."""
    made = FakePve(user="root@pam", password="secret", host="127.0.0.1", port=0)
    made.time_scale = 0
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fakepve", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    async def stop() -> None:
        await settle()
        for handler in made.runner.server.connections:
            if handler.transport is not None:
                handler.transport.abort()
        await made.stop()
        await asyncio.sleep(0.02)  # the sockets of closed connections go in the loop's next rounds

    run(made.start(fakepve_cafile, fakepve_cafile.removesuffix(".crt") + ".key"))
    made.loop = loop
    yield made
    run(stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture
def token(fakepve: Any) -> ApiToken:
    fakepve.apitokens["root@pam!zentoria"] = "canary-token-secret"
    return ApiToken("root@pam", "zentoria", Secret("canary-token-secret"))


@pytest.fixture
def endpoint(fakepve: Any, fakepve_cafile: str) -> Endpoint:
    return Endpoint("127.0.0.1", "pve1", fakepve.port, ca_file=Path(fakepve_cafile), read_timeout=10)


@pytest.fixture
def connect(fakepve: Any) -> Iterator[Callable[..., Connection]]:
    """Makes connections that wait for nothing, and closes them."""
    opened: list[Connection] = []

    def make(endpoint: Endpoint, credentials: Credentials) -> Connection:
        opened.append(Connection(endpoint, credentials, retry=FAST, sleep=lambda _: None))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def connection(endpoint: Endpoint, token: ApiToken, connect: Callable[..., Connection]) -> Connection:
    """A connection to fakepve."""
    return connect(endpoint, token)


@pytest.fixture
def faulty(tmp_path: Path, pki: Pki, scripted: Callable[..., ScriptedServer]) -> Iterator[FaultyLab]:
    """The lab's API, with faults as the test wants them."""
    made = FaultyLab(tmp_path / "lab", pki, scripted)
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SSH keys of a node, of who may sign in, and of who may not."""
    folder = tmp_path_factory.mktemp("keys")
    made = {}
    for name in ("host", "user", "stranger"):
        made[name] = folder / name
        made[name].write_bytes(
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        made[name].chmod(0o600)
    return made


@pytest.fixture
def node(keys: dict[str, Path]) -> Iterator[FakeNode]:
    """A node that speaks SSH, and lets ``user`` in."""
    made = FakeNode(paramiko.Ed25519Key(filename=str(keys["host"])))
    made.authorized.append(paramiko.Ed25519Key(filename=str(keys["user"])))
    yield made
    made.stop()
