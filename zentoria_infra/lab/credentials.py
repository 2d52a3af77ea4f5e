"""Who may use a new lab: root's password, and ``zentoria@pve`` with a token and the least rights that do.

All of it goes through the API's own handlers, over the control socket. What is there already stays.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from zentoria_infra.errors import LabError
from zentoria_infra.lab.certificates import write_secret
from zentoria_infra.lab.layout import BTRFS, LOCAL, NODE, LabLayout
from zentoria_infra.lab.shell.control_socket import ApiFailure, call

POOL = "zentoria"
USER = "zentoria@pve"
TOKEN = "up"  # noqa: S105 - the token's public name

ROLES: Mapping[str, str] = {
    "ZentoriaGuests": "VM.Allocate VM.Audit VM.PowerMgmt VM.Config.CPU VM.Config.Memory VM.Config.Disk "
    "VM.Config.Network VM.Config.Options VM.Snapshot VM.Snapshot.Rollback Pool.Audit",
    "ZentoriaStorage": "Datastore.AllocateSpace",
    "ZentoriaNetwork": "SDN.Use",
    "ZentoriaNode": "Sys.Audit",
    "ZentoriaFirewall": "Sys.Audit Sys.Modify",
}
"""Privileges by role: each one is needed, measured on a real Proxmox VE 8.4 by taking one away at a time."""

GRANTS = (
    (f"/pool/{POOL}", "ZentoriaGuests", True),
    (f"/storage/{LOCAL}", "ZentoriaStorage", True),
    (f"/storage/{BTRFS}", "ZentoriaStorage", True),
    ("/sdn/zones/localnetwork", "ZentoriaNetwork", True),
    (f"/nodes/{NODE}", "ZentoriaNode", True),
    ("/", "ZentoriaFirewall", False),
)
"""Path, role, and whether it holds for what is below. The datacenter firewall asks for rights on ``/`` itself."""


def ensure(layout: LabLayout) -> None:
    """Have password, pool, roles, user, rights and token; secrets are in ``layout.secrets``.

    Raises:
        LabError: the API refused something.
    """
    try:
        _root_password(layout)
        _pool(layout)
        _roles(layout)
        _user(layout)
        _token(layout)
    except ApiFailure as failure:
        raise LabError(
            "make the lab's users and rights",
            got=_told(failure),
            todo="see the lab's log; `zentoria lab reset` makes a new one",
        ) from failure


def token_file(layout: LabLayout) -> str:
    """Path of the file with the token's secret."""
    return str(layout.secrets / "token")


def _told(failure: ApiFailure) -> str:
    return "; ".join([failure.message, *(f"{name}: {text.strip()}" for name, text in failure.errors.items())])


class _Api:
    """The control socket; answers are narrowed to what is asked for."""

    def __init__(self, layout: LabLayout) -> None:
        self._socket = str(layout.control_socket)

    def rows(self, path: str) -> list[dict[str, object]]:
        found = call(self._socket, "GET", path)
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    def send(self, method: str, route: str, **values: str) -> object:
        return call(self._socket, method, route, values)


def _root_password(layout: LabLayout) -> None:
    file = layout.secrets / "root-password"
    if file.exists():
        return
    password = secrets.token_urlsafe(24)
    _Api(layout).send("PUT", "/access/password", userid="root@pam", password=password)
    write_secret(file, f"{password}\n".encode())


def _pool(layout: LabLayout) -> None:
    api = _Api(layout)
    if POOL not in {row.get("poolid") for row in api.rows("/pools")}:
        api.send("POST", "/pools", poolid=POOL, comment="Containers of Zentoria")


def _roles(layout: LabLayout) -> None:
    api = _Api(layout)
    there = {
        str(row.get("roleid")): set(re.split(r"[,\s]+", str(row.get("privs")))) for row in api.rows("/access/roles")
    }
    for name, text in ROLES.items():
        privileges = set(text.split())
        if name not in there:
            api.send("POST", "/access/roles", roleid=name, privs=",".join(sorted(privileges)))
        elif there[name] - {""} != privileges:
            api.send("PUT", f"/access/roles/{name}", privs=",".join(sorted(privileges)))


def _user(layout: LabLayout) -> None:
    api = _Api(layout)
    if USER not in {row.get("userid") for row in api.rows("/access/users")}:
        api.send("POST", "/access/users", userid=USER, comment="Zentoria's own user")
    held = {(row.get("path"), row.get("roleid")) for row in api.rows("/access/acl") if row.get("ugid") == USER}
    for path, role, propagate in GRANTS:
        if (path, role) not in held:
            api.send("PUT", "/access/acl", path=path, roles=role, users=USER, propagate=str(int(propagate)))


def _token(layout: LabLayout) -> None:
    api = _Api(layout)
    file = layout.secrets / "token"
    path = f"/access/users/{USER}/token"
    there = TOKEN in {row.get("tokenid") for row in api.rows(path)}
    if there and file.exists():
        return
    if there:
        api.send("DELETE", f"{path}/{TOKEN}")  # its secret is lost: only the server's hash is left
    made = api.send("POST", f"{path}/{TOKEN}", privsep="0", comment="zentoria up")
    if not isinstance(made, dict) or "value" not in made:
        raise LabError(
            "make the lab's API token",
            got="the API told no secret",
            todo="see the lab's log; `zentoria lab reset` makes a new one",
        )
    write_secret(file, f"{made['value']}\n".encode())
