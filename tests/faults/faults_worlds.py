"""The two servers that the faults are tried on, and clients of them: through the proxy, and past it."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web
from fakepve import FakePve, settle

from tests.faults.faults_proxy import FaultyProxy, ImpatientAdapter
from tests.lab_api.lab_api_harness import PASSWORD, Lab
from tests.proxmox.proxmox_pki import FAST, Pki
from zentoria_infra.proxmox.connection import ApiToken, Connection, Credentials, Endpoint, Password
from zentoria_infra.proxmox.firewall.read import FirewallObserver
from zentoria_infra.proxmox.firewall.write import FirewallWriter
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.snapshots import SnapshotWriter
from zentoria_infra.proxmox.tasks import Pace
from zentoria_infra.proxmox.volumes import VolumeWriter

NODE = "pve1"
TEMPLATE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.gz"
CANARY = "canary-5ce1f0d2"
POOL = "zentoria"
SHARED = 100
"""The container whose firewall is written."""


class Client:
    """Zentoria's client, waiting for nothing: connection, readers and writers."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials, proxy: FaultyProxy, deadline: float) -> None:
        self.connection = Connection(endpoint, credentials, retry=FAST, sleep=lambda _: None)
        self.connection._session.mount("https://", ImpatientAdapter(proxy))
        self.read = self.connection.reader()
        gates = Gates()
        self.pace = pace = Pace(first=0.001, longest=0.004, deadline=deadline)
        self.observe = Observer(self.read, endpoint.node)
        # Whose a container is, is tried elsewhere (test_lost_answers): here all are ours.
        self.write = VolumeWriter(self.connection, self.observe, gates, pace=pace, sleep=_soon, whose=_everybody)
        self.snapshots = SnapshotWriter(self.connection, self.observe, gates, pace=pace, sleep=_soon, whose=_everybody)
        self.firewall = FirewallObserver(self.read, endpoint.node)
        self.write_firewall = FirewallWriter(self.connection, self.firewall, gates, sleep=_soon)


def _everybody(config: object) -> bool:
    return True


def _soon(seconds: float) -> None:
    time.sleep(min(seconds, 0.004))


class Root:
    """Somebody who goes past the proxy, and to whom all must work."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._base = parts.path
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        self._headers = {"Authorization": f"PVEAPIToken={token}", "Content-Type": "application/x-www-form-urlencoded"}

    def __call__(self, method: str, path: str, /, **data: object) -> Any:
        form, target = urlencode(data), self._base + path
        if method in ("GET", "DELETE"):
            self._connection.request(method, f"{target}?{form}", headers=self._headers)
        else:
            self._connection.request(method, target, form, self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (method, path, answer.status, answer.reason, body)
        value = json.loads(body)["data"]
        if isinstance(value, str) and value.startswith("UPID:"):
            while self("GET", f"/nodes/{NODE}/tasks/{quote(value)}/status")["status"] != "stopped":
                time.sleep(0.002)
        return value

    def close(self) -> None:
        self._connection.close()


class Backend(Protocol):
    """A server."""

    name: str
    url: str
    token: tuple[str, str, str]
    password: str
    moves_volumes: bool
    """Whether it can move volumes between containers."""
    takes_uploads: bool
    """Whether a file can be uploaded to it."""
    has_access: bool
    """Whether its lists of users, roles and rights show what was written."""

    def add_container(self, vmid: int) -> None: ...

    def stop(self) -> None: ...


class LabBackend:
    """Our lab's API, without guests."""

    name = "lab"
    password = PASSWORD
    has_access = True
    moves_volumes = True
    takes_uploads = True

    def __init__(self, folder: Path) -> None:
        self._lab = Lab(folder)
        self.url = self._lab.url
        self.token = ("root@pam", "test", self._lab.secret)
        self._lab.root.post("/storage", storage="snap", type="btrfs", path="/srv/snap")

    def add_container(self, vmid: int) -> None:
        self._lab.create(vmid, ostemplate=TEMPLATE, hostname=f"c{vmid}", net0="name=eth0,bridge=vmbr0,firewall=1")

    def stop(self) -> None:
        self._lab.close()


class FakePveBackend:
    """The fake that is not ours."""

    name = "fakepve"
    password = CANARY + "-password"
    has_access = False
    moves_volumes = False
    takes_uploads = False

    def __init__(self) -> None:
        self.token = ("root@pam", "test", CANARY + "-token")
        self.fake = FakePve(user="root@pam", password=self.password, host="127.0.0.1", port=0)
        self.fake.time_scale = 0
        self.fake.apitokens["root@pam!test"] = self.token[2]
        self.fake.storages["local"]["content"] = "vztmpl,rootdir,images"
        self.fake.storages["snap"] = {**self.fake.storages["local-lvm"]}
        self.fake.store_file("local", TEMPLATE.rpartition("/")[2], 1000, content="vztmpl")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fakepve", daemon=True)
        self._thread.start()
        self._run(self._start())
        self.url = f"http://127.0.0.1:{self.fake.runner.addresses[0][1]}/api2/json"

    async def _start(self) -> None:
        """As FakePve.start does it, without TLS: that is the proxy's."""
        self.fake.runner = web.AppRunner(self.fake._build_app())
        await self.fake.runner.setup()
        await web.TCPSite(self.fake.runner, "127.0.0.1", 0).start()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def add_container(self, vmid: int) -> None:
        self.fake.add_ct(vmid, f"c{vmid}")

    async def _stop(self) -> None:
        await settle()
        for handler in self.fake.runner.server.connections:
            if handler.transport is not None:
                handler.transport.abort()
        await self.fake.stop()
        await asyncio.sleep(0.02)  # the sockets of closed connections go in the loop's next rounds

    def stop(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@dataclass
class World:
    """A server behind the proxy, with what all cases share on it."""

    backend: Backend
    pki: Pki
    number: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))

    def __post_init__(self) -> None:
        parts = urlsplit(self.backend.url)

        def upstream() -> http.client.HTTPConnection:
            return http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)

        self.proxy = FaultyProxy(upstream, self.pki.cert_file, self.pki.key_file)
        user, name, secret = self.backend.token
        self.root = Root(self.backend.url, f"{user}!{name}={secret}")
        token = ApiToken(user, name, Secret(secret))
        self.by_token = self.client(token)
        self.by_ticket = self.client(Password("root@pam", Secret(self.backend.password)))
        self.hasty = self.client(token, deadline=0.02)
        self.backend.add_container(SHARED)
        self.root("POST", "/pools", poolid=POOL)
        self.by_ticket.observe.version()  # takes its first ticket

    @property
    def secrets(self) -> tuple[str, str]:
        return self.backend.token[2], self.backend.password

    def client(self, credentials: Credentials, deadline: float = 20) -> Client:
        endpoint = Endpoint("127.0.0.1", NODE, self.proxy.port, ca_file=self.pki.ca_file, read_timeout=20)
        return Client(endpoint, credentials, self.proxy, deadline)

    def close(self) -> None:
        for client in (self.by_token, self.by_ticket, self.hasty):
            client.connection.close()
        self.root.close()
        self.proxy.stop()
        self.backend.stop()
