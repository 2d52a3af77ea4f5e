"""The lab's API behind a server that can lose answers, refuse, and let somebody else write in between."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from tests.lab_api.lab_api_harness import Client, Lab
from tests.proxmox.proxmox_pki import FAST, Pki
from tests.proxmox.proxmox_scripted_server import Reply, ScriptedServer, Seen
from zentoria_infra.proxmox import Proxmox, Secret
from zentoria_infra.proxmox.connection import ApiToken, Endpoint

Hook = Callable[[Seen], Reply | None]


class FaultyLab:
    """``proxmox`` is a client of it. ``before`` may answer in the lab's place, ``after`` in place of its answer."""

    def __init__(self, folder: Path, pki: Pki, start: Callable[..., ScriptedServer]) -> None:
        self.lab = Lab(folder)
        guests = self.lab.layout.pve / "lxc"
        guests.mkdir(parents=True, exist_ok=True)
        # Ours, as far as it takes for writing its firewall.
        (guests / "404.conf").write_text("#zentoria-id%3A home/404\narch: amd64\nostype: debian\n")
        self.other: Client = self.lab.root
        """Somebody else, who writes past us."""
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self._pki = pki
        self._clients: list[Proxmox] = []
        self._session = requests.Session()
        self._session.trust_env = False
        self.server = start(self._answer)
        self.proxmox = self.client("root@pam", "test", self.lab.secret)

    def client(self, user: str, token: str, secret: str, *, patience: float = 10, site: str = "") -> Proxmox:
        """Another client; ``patience`` is how long it waits for an answer."""
        endpoint = Endpoint("127.0.0.1", "pve1", self.server.port, ca_file=self._pki.ca_file, read_timeout=patience)
        made = Proxmox(endpoint, ApiToken(user, token, Secret(secret)), retry=FAST, site=site)
        made.write_firewall.rules._sleep = lambda _: None  # type: ignore[assignment]  # races are not waited out
        self._clients.append(made)
        return made

    def impatient(self) -> Proxmox:
        """A client that waits half a second for an answer."""
        return self.client("root@pam", "test", self.lab.secret, patience=0.5)

    def user(self, *grants: tuple[str, str]) -> Proxmox:
        """A client with these rights alone: path and privileges."""
        root = self.lab.ticket()
        root.post("/access/users", userid="some@pve")
        secret = root.post("/access/users/some@pve/token/up", privsep=0).data["value"]
        for number, (path, privileges) in enumerate(grants):
            root.post("/access/roles", roleid=f"R{number}", privs=privileges)
            assert root.put("/access/acl", path=path, users="some@pve", roles=f"R{number}").status == 200
        return self.client("some@pve", "up", secret)

    def calls(self) -> list[tuple[str, str]]:
        """Method and path of what came so far; forgets it."""
        seen = [(one.method, one.path) for one in self.server.seen]
        self.server.seen.clear()
        return seen

    def lose(self, method: str, *, carried_out: bool, times: int = 1) -> None:
        """The next ``times`` answers to ``method`` get lost, after or instead of being carried out."""
        left = [times]

        def hook(seen: Seen) -> Reply | None:
            if seen.method != method or not left[0]:
                return None
            left[0] -= 1
            return Reply(drop=True)

        (self.after if carried_out else self.before).append(hook)

    @contextlib.contextmanager
    def silent(self, method: str, *, carried_out: bool) -> Iterator[None]:
        """No answer to ``method`` until the end of the block, after or instead of being carried out."""
        over = threading.Event()

        def hook(seen: Seen) -> Reply | None:
            if seen.method != method or over.is_set():
                return None
            over.wait(30)
            return Reply(drop=True)

        hooks = self.after if carried_out else self.before
        hooks.append(hook)
        try:
            yield
        finally:
            over.set()
            hooks.remove(hook)

    def meanwhile(self, method: str, write: Callable[[], Any], times: int = 1) -> None:
        """Somebody else writes just before a ``method`` of ours arrives."""
        left = [times]

        def hook(seen: Seen) -> Reply | None:
            if seen.method == method and left[0]:
                left[0] -= 1
                write()
            return None

        self.before.append(hook)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._session.close()
        self.lab.close()

    def _answer(self, seen: Seen) -> Reply:
        for hook in list(self.before):
            if reply := hook(seen):
                return reply
        place = "params" if seen.method in ("GET", "DELETE") else "data"
        answer = self._session.request(
            seen.method,
            self.lab.url + quote(seen.path),
            headers={"Authorization": seen.headers.get("Authorization", "")},
            timeout=30,
            **{place: seen.form},  # type: ignore[arg-type]  # one of two names
        )
        for hook in list(self.after):
            if reply := hook(seen):
                return reply
        return Reply(answer.status_code, raw=answer.content, reason=answer.reason)
