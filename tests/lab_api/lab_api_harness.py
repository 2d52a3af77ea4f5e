"""An API server on a free port, over a runtime without guests."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import requests

from zentoria_infra.lab.api.auth.access import bootstrap
from zentoria_infra.lab.api.server import ApiServer
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.null_runtime import NullRuntime

PASSWORD = "testpass"
TEMPLATES = {"debian-12-standard_12.7-1_amd64.tar.gz": 1033997, "z.tar.gz": 1033997}


@dataclasses.dataclass
class Answer:
    status: int
    reason: str
    body: Any

    @property
    def data(self) -> Any:
        return self.body["data"] if isinstance(self.body, dict) else None

    @property
    def errors(self) -> Any:
        return self.body.get("errors") if isinstance(self.body, dict) else None


class Client:
    """Speaks to the server as one identity; JSON is decoded, an empty body is ''."""

    def __init__(self, url: str, headers: dict[str, str], cookies: dict[str, str] | None = None) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(headers)
        self.session.cookies.update(cookies or {})

    def call(self, method: str, path: str, data: Any = None, **more: Any) -> Answer:
        place = "params" if method in ("GET", "DELETE") else "data"
        answer = self.session.request(method, self.url + path, timeout=30, **({place: data} | more))
        answer.encoding = "utf-8"
        return Answer(answer.status_code, answer.reason, json.loads(answer.text) if answer.text else "")

    def get(self, path: str, /, **data: Any) -> Answer:
        return self.call("GET", path, data)

    def post(self, path: str, /, **data: Any) -> Answer:
        return self.call("POST", path, data)

    def put(self, path: str, /, **data: Any) -> Answer:
        return self.call("PUT", path, data)

    def delete(self, path: str, /, **data: Any) -> Answer:
        return self.call("DELETE", path, data)

    def task(self, answer: Answer) -> str:
        """Wait for the task of an answer; its exit status."""
        assert answer.status == 200, answer
        upid = answer.data
        node = upid.split(":")[1]
        for _ in range(3000):
            status = self.get(f"/nodes/{node}/tasks/{upid}/status").data
            if status["status"] == "stopped":
                return str(status["exitstatus"])
            threading.Event().wait(0.005)
        raise AssertionError(f"{upid} does not end")


class Lab:
    """A running server and clients for it."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.layout = LabLayout("test", root)
        self.secret = bootstrap(self.layout, root_password=PASSWORD, token="test")
        delays = options.pop("delays", None)
        self.runtime = options.pop("runtime", None) or NullRuntime(self.layout, templates=TEMPLATES, delays=delays)
        options = {"node": "pve1", "auth_delay": 0.0, "port": 0, "bridges": {"vmbr0": "10.99.0.1/24"}} | options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = ApiServer(self.layout, self.runtime, **options)
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(30)
        self.url = f"http://127.0.0.1:{self.server.port}/api2/json"
        self.root = self.token("root@pam!test", self.secret)
        self.anyone = Client(self.url, {})

    def token(self, full_id: str, secret: str) -> Client:
        return Client(self.url, {"Authorization": f"PVEAPIToken={full_id}={secret}"})

    def ticket(self, user: str = "root@pam", password: str = PASSWORD) -> Client:
        data = self.anyone.post("/access/ticket", username=user, password=password).data
        return Client(self.url, {"CSRFPreventionToken": data["CSRFPreventionToken"]}, {"PVEAuthCookie": data["ticket"]})

    def create(self, vmid: int, **options: Any) -> None:
        base = {"vmid": vmid, "ostemplate": "local:vztmpl/z.tar.gz", "rootfs": "local:1", "unprivileged": 1}
        # 9 warns of a system with systemd and without nesting
        assert self.root.task(self.root.post("/nodes/pve1/lxc", **(base | options))) in ("OK", "WARNINGS: 1")

    def close(self) -> None:
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
