"""A lab API over TLS in this process, without guests, and a client of ours with least rights."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from zentoria_infra.execute.run import in_force
from zentoria_infra.lab import certificates
from zentoria_infra.lab.api.auth.access import bootstrap
from zentoria_infra.lab.api.firewall import store
from zentoria_infra.lab.api.server import ApiServer
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.null_runtime import NullRuntime
from zentoria_infra.lab.releases import NEWEST
from zentoria_infra.lab.runtime import Config, Log, RuntimeFailure
from zentoria_infra.proxmox import ApiToken, Endpoint, Proxmox, Secret
from zentoria_infra.proxmox.tasks import Pace

TEMPLATE = "debian-13-standard_13.1-2_amd64.tar.zst"
PRIVILEGES = (
    "VM.Allocate,VM.Audit,VM.PowerMgmt,VM.Config.CPU,VM.Config.Memory,VM.Config.Disk,VM.Config.Network,"
    "VM.Config.Options,Datastore.AllocateSpace,Datastore.Audit,SDN.Use,Pool.Audit,Sys.Audit"
)


class Breakable(NullRuntime):
    """Containers in ``broken`` do not start."""

    broken: frozenset[int] = frozenset()
    slow = 0.0
    """Seconds that unpacking a template takes."""

    def unpack(self, vmid: int, template: str, config: Config, log: Log) -> None:
        threading.Event().wait(self.slow)
        super().unpack(vmid, template, config, log)

    def start(self, vmid: int, config: Config, log: Log) -> None:
        if vmid in self.broken:
            raise RuntimeFailure("startup for container failed")
        super().start(vmid, config, log)


class Node:
    """A running lab API. ``calls`` are the changing requests that it saw since the last ``forget``."""

    def __init__(self, root: Path, release: str = NEWEST) -> None:
        layout = LabLayout("t-exec", root)
        secret = bootstrap(layout, root_password="testpass", token="root")
        pki = certificates.Pki(root / "secrets")
        certificates.ensure_pki(pki, "test", ("127.0.0.1", "localhost"))
        self.ca = pki.ca
        self.runtime = Breakable(layout, templates={TEMPLATE: 1000})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = ApiServer(
            layout, self.runtime, ssl_context=certificates.server_context(pki), auth_delay=0.0, port=0,
            release=release,
        )  # fmt: skip
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(30)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"PVEAPIToken=root@pam!root={secret}"
        self._session.verify = str(self.ca)
        self._clients: list[Proxmox] = []
        self._setup()

    def root(self, method: str, path: str, /, **data: object) -> object:
        """One call as root, which must work; tasks are waited for."""
        place = "params" if method in ("GET", "DELETE") else "data"
        url = f"https://127.0.0.1:{self.server.port}/api2/json{path}"
        answer = self._session.request(method, url, timeout=30, **{place: data})
        assert answer.status_code == 200, (answer.status_code, answer.reason, answer.text)
        value = answer.json()["data"]
        if isinstance(value, str) and value.startswith("UPID:"):
            while self.root("GET", f"/nodes/pve/tasks/{value}/status")["status"] != "stopped":
                threading.Event().wait(0.01)
        return value

    def grant(self, path: str, privileges: str) -> None:
        """Give the client's user rights on one path itself."""
        role = f"Also{len(self.root('GET', '/access/roles'))}"
        self.root("POST", "/access/roles", roleid=role, privs=privileges)
        self.root("PUT", "/access/acl", path=path, roles=role, users="zentoria@pve", propagate=0)

    @staticmethod
    def scope(vmid: int) -> store.Scope:
        """The scope of a container's firewall file; of the datacenter's for 0."""
        return store.guest(vmid) if vmid else store.CLUSTER

    def _setup(self) -> None:
        self.root("POST", "/pools", poolid="zentoria")
        self.root("POST", "/access/roles", roleid="Zentoria", privs=PRIVILEGES)
        self.root("POST", "/access/users", userid="zentoria@pve")
        for path in ("/pool/zentoria", "/storage/local", "/sdn/zones/localnetwork", "/nodes/pve"):
            self.root("PUT", "/access/acl", path=path, roles="Zentoria", users="zentoria@pve")
        made = self.root("POST", "/access/users/zentoria@pve/token/up", privsep=0)
        self.token = made["value"]

    async def _stop(self) -> None:
        await self.server.stop()
        # TLS connections take a while to say goodbye; a loop that ends before leaves their sockets open.
        for _ in range(200):
            if len(self._loop._selector.get_map()) <= 1:  # the loop's own wake-up pipe
                return
            await asyncio.sleep(0.05)

    def client(self) -> Proxmox:
        """A client with a token of least rights."""
        endpoint = Endpoint("127.0.0.1", "pve", self.server.port, ca_file=self.ca)
        token = ApiToken("zentoria@pve", "up", Secret(self.token))
        self._clients.append(Proxmox(endpoint, token, pace=Pace()))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._session.close()
        gc.collect()  # urllib3 closes a pool's connections when the pool is collected
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A lab API with a pool, and a user that has rights on it and on nothing else; its parameter is the release."""
    found = Node(tmp_path / "lab", getattr(request, "param", NEWEST))
    yield found
    found.close()


@pytest.fixture
def client(node: Node) -> Callable[[], Proxmox]:
    """Makes clients with least rights."""
    return node.client


@pytest.fixture(autouse=True)
def no_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing filters before a lab's API, so there is no cycle to let pass."""
    monkeypatch.setattr(in_force, "by_time", lambda load, processors: 0.0)
