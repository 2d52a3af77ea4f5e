"""What calls each endpoint: an operation of the client, what it needs first, and what is there when it is done."""

from __future__ import annotations

import contextlib
import enum
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.faults_worlds import NODE, POOL, SHARED, TEMPLATE, Client, World
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.upload import upload_template


class Lost(enum.Enum):
    """What the client does when it does not know whether a call was carried out."""

    REPEATED = "sends it again, since twice does what once does"
    LOOKED = "looks what was begun, waits for it, and sends it again if there is nothing"
    FOUND = "reads the list, and sends it again if it is not in there; not after a silence"
    CHECKED = "looks whether it was done, and tells if not"
    TOLD = "tells"


@dataclass
class Case:
    """One try: ``number`` is nobody else's, and may be a VMID."""

    world: World
    client: Client
    number: int

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the case's own container, as somebody else sees it."""
        return dict(self.world.root("GET", f"/nodes/{NODE}/lxc/{self.number}/config"))

    @property
    def status(self) -> str:
        return str(self.world.root("GET", f"/nodes/{NODE}/lxc/{self.number}/status/current")["status"])

    @property
    def exists(self) -> bool:
        members = self.world.root("GET", "/cluster/resources", type="vm")
        return self.number in {int(one["vmid"]) for one in members}

    def start(self) -> None:
        self.world.root("POST", f"/nodes/{NODE}/lxc/{self.number}/status/start")


Act = Callable[[Case], Any]


def nothing(case: Case) -> None:
    """Nothing is needed."""


@dataclass(frozen=True)
class Exerciser:
    """An operation that calls an endpoint.

    Args:
        verb: of the endpoint.
        template: of the endpoint.
        act: the operation.
        prepare: makes what it needs, past the proxy.
        again: what the next run does; default: the same.
        check: asserts that the world is as wanted, and nothing in it twice.
        lost: what is done after a lost answer.
        variant: tells several of one endpoint apart.
        names: what an error must name.
        late: whether something is carried out before the endpoint is called, whatever it then says.
        needs: whether a server has the endpoint at all.
    """

    verb: str
    template: str
    act: Act
    prepare: Act = nothing
    again: Act | None = None
    check: Act = nothing
    lost: Lost = Lost.REPEATED
    variant: str = ""
    names: Callable[[Case], str] = lambda case: ""
    needs: Callable[[World], bool] = lambda world: True
    late: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.verb, self.template

    @property
    def title(self) -> str:
        return f"{self.verb} {self.template}" + (f" ({self.variant})" if self.variant else "")


GUEST = "/nodes/{node}/lxc/{vmid}"


def number(case: Case) -> str:
    return str(case.number)


def own_container(case: Case) -> None:
    case.world.backend.add_container(case.number)


def running_container(case: Case) -> None:
    own_container(case)
    case.start()


def ended_task(case: Case) -> None:
    if "upid" not in vars(case.world):
        own_container(case)
        vars(case.world)["upid"] = case.world.root("POST", f"/nodes/{NODE}/lxc/{case.number}/status/start")


def reading() -> Iterator[Exerciser]:
    """All that a plan reads, and some more."""

    def get(template: str, act: Act, prepare: Act = nothing) -> Exerciser:
        return Exerciser("GET", template, act, prepare)

    yield get("/version", lambda case: case.client.observe.version())
    yield get("/access/permissions", lambda case: case.client.observe.permissions())
    yield get("/nodes", lambda case: case.client.observe.node_names())
    yield get("/cluster/resources", lambda case: case.client.observe.resources())
    yield get("/cluster/nextid", lambda case: case.client.observe.is_free(case.number))
    yield get("/pools", lambda case: case.client.observe.pool(POOL))
    yield get("/nodes/{node}/status", lambda case: case.client.observe.node_status())
    state = "/nodes/{node}/services/{service}/state"
    yield get(state, lambda case: case.client.observe.service_runs("pve-firewall"))
    yield get("/nodes/{node}/storage", lambda case: case.client.observe.storages())
    yield get("/nodes/{node}/storage/{storage}/content", lambda case: case.client.observe.templates("local"))
    yield get("/nodes/{node}/network", lambda case: case.client.observe.bridges())
    yield get("/nodes/{node}/tasks", lambda case: case.client.observe.running_tasks(SHARED))
    yield get(
        "/nodes/{node}/tasks/{upid}/log",
        lambda case: tasks.log(case.client.read, vars(case.world)["upid"]),
        ended_task,
    )
    yield get("/nodes/{node}/lxc", lambda case: case.client.observe.containers())
    yield get(GUEST + "/config", lambda case: case.client.observe.config(SHARED))
    yield get(GUEST + "/pending", lambda case: case.client.observe.config_and_pending(SHARED))
    yield get(GUEST + "/status/current", lambda case: case.client.observe.status(SHARED))
    yield get(GUEST + "/snapshot", lambda case: case.client.observe.snapshots(SHARED))
    yield get(GUEST + "/feature", lambda case: case.client.observe.can_snapshot(SHARED))
    # A look at a task belongs to a change: whatever happens to it, the change goes on at the node.
    yield Exerciser(
        "GET", "/nodes/{node}/tasks/{upid}/status", lambda case: case.client.write.start(case.number),
        own_container, check=is_running, names=number, late=True,
    )  # fmt: skip


def is_running(case: Case) -> None:
    assert case.status == "running"


def is_stopped(case: Case) -> None:
    assert case.status == "stopped"


PARAMETERS = {
    "ostemplate": TEMPLATE,
    "unprivileged": True,
    "memory": 256,
    "rootfs": "local:1",
    "net0": "name=eth0,bridge=vmbr0,firewall=1",
}


def create(case: Case) -> None:
    wanted = {**PARAMETERS, "hostname": f"c{case.number}", "description": f"own: {case.number}\n"}
    case.client.write.create(case.number, {**wanted, "tags": "ours"})


def create_again(case: Case) -> None:
    """As the next run does: what is there and ours is completed."""
    try:
        found = case.client.observe.config(case.number)
    except errors.MissingError:
        return create(case)
    assert found.description == f"own: {case.number}"
    assert found.lock == ""
    case.client.write.set_config(case.number, {"tags": "ours"})
    return None


def is_made(case: Case) -> None:
    config = case.config
    assert (config["hostname"], config["tags"]) == (f"c{case.number}", "ours")
    assert volumes(case) in ([], [config["rootfs"].partition(",")[0]]), "there is a volume too many"


def volumes(case: Case) -> list[str]:
    """Of the case's container, as the storage lists them."""
    lines = case.world.root("GET", f"/nodes/{NODE}/storage/local/content", content="rootdir")
    return sorted(one["volid"] for one in lines if int(one.get("vmid", 0)) == case.number)


def add_volume(case: Case) -> None:
    case.client.write.set_config(case.number, {"mp0": "local:1,mp=/data"})


def add_volume_again(case: Case) -> None:
    if "mp0" not in case.client.observe.config(case.number).values:
        add_volume(case)


def has_one_volume_more(case: Case) -> None:
    config = case.config
    assert "mp=/data" in config["mp0"]
    assert not [key for key in config if key.startswith("unused")]
    found = {config[key].partition(",")[0] for key in ("rootfs", "mp0") if ":" in config.get(key, "")}
    assert set(volumes(case)) <= found, "there is a volume too many"


def change_with_digest(case: Case) -> None:
    client = case.client
    client.write.set_config(case.number, {"memory": 300}, digest=client.observe.config(case.number).digest)


def has_memory(case: Case) -> None:
    assert int(case.config["memory"]) == 300


def sized_container(case: Case) -> None:
    root = {**PARAMETERS, "hostname": f"c{case.number}", "unprivileged": 1}
    case.world.root("POST", f"/nodes/{NODE}/lxc", vmid=case.number, **root)


def grow_with_digest(case: Case) -> None:
    client = case.client
    client.write.resize(case.number, "rootfs", "2G", digest=client.observe.config(case.number).digest)


def is_grown(case: Case) -> None:
    assert "size=2G" in case.config["rootfs"]


def destroy_again(case: Case) -> None:
    """As the next run does: what is not there is not destroyed."""
    with contextlib.suppress(errors.MissingError):
        case.client.observe.config(case.number)
        case.client.write.destroy(case.number)


def is_gone(case: Case) -> None:
    assert not case.exists
    assert volumes(case) == []


def two_containers(case: Case) -> None:
    """The case's own with a volume, and another one."""
    sized_container(case)
    case.world.root("PUT", f"/nodes/{NODE}/lxc/{case.number}/config", mp0="local:1,mp=/data,backup=1")
    case.world.backend.add_container(next(case.world.number))


def hand_over(case: Case) -> None:
    case.client.write.hand_over(case.number, "mp0", case.number + 1)


def is_handed_over(case: Case) -> None:
    assert "mp0" not in case.config
    there = case.world.root("GET", f"/nodes/{NODE}/lxc/{case.number + 1}/config")
    assert {"mp=/data", "backup=1", "size=1G"} <= set(there["mp0"].split(","))
    assert f"vm-{case.number + 1}-disk-" in there["mp0"]
    assert volumes(case) == [case.config["rootfs"].partition(",")[0]]


FIRST, SECOND = "zentoria-20261125-223100", "zentoria-20261125-224200"


def snapshottable_container(case: Case) -> None:
    wanted = {**PARAMETERS, "rootfs": "snap:1", "hostname": f"c{case.number}", "unprivileged": 1}
    case.world.root("POST", f"/nodes/{NODE}/lxc", vmid=case.number, **wanted)


def snapshotted_container(case: Case) -> None:
    """It was changed since."""
    snapshottable_container(case)
    guest = f"/nodes/{NODE}/lxc/{case.number}"
    case.world.root("POST", f"{guest}/snapshot", snapname=FIRST)
    case.world.root("PUT", f"{guest}/config", memory=300)


def snapshots(case: Case) -> list[str]:
    """Of the case's container, all of them whole."""
    lines = case.world.root("GET", f"/nodes/{NODE}/lxc/{case.number}/snapshot")
    assert not [one for one in lines if one.get("snapstate")]
    assert "lock" not in case.config
    return sorted(one["name"] for one in lines if one["name"] != "current")


def take(case: Case) -> None:
    case.client.snapshots.take(case.number, FIRST, "why")


def take_again(case: Case) -> None:
    """As the next run does: it takes one of its own."""
    case.client.snapshots.take(case.number, SECOND, "why")


def has_a_snapshot(case: Case) -> None:
    assert snapshots(case) in ([FIRST], [SECOND], [FIRST, SECOND])


def has_gone_back(case: Case) -> None:
    assert int(case.config["memory"]) == 256
    assert snapshots(case) == [FIRST]


def has_no_snapshot(case: Case) -> None:
    assert snapshots(case) == []
    assert int(case.config["memory"]) == 300


def ways_back() -> Iterator[Exerciser]:
    """Snapshots of a container."""
    one = GUEST + "/snapshot/{snapname}"
    yield Exerciser(
        "POST", GUEST + "/snapshot", take, snapshottable_container, take_again, has_a_snapshot, lost=Lost.LOOKED,
        names=number,
    )  # fmt: skip
    back: Act = lambda case: case.client.snapshots.roll_back(case.number, FIRST)  # noqa: E731 - a Act
    path = one + "/rollback"
    yield Exerciser("POST", path, back, snapshotted_container, check=has_gone_back, lost=Lost.FOUND, names=number)
    gone: Act = lambda case: case.client.snapshots.remove(case.number, FIRST)  # noqa: E731 - a Act
    yield Exerciser("DELETE", one, gone, snapshotted_container, check=has_no_snapshot, lost=Lost.LOOKED, names=number)


def template_file(case: Case) -> Path:
    """A template that nobody else has."""
    file = Path(tempfile.gettempdir()) / f"zentoria-faults-{os.getpid()}-{case.number}.tar.zst"
    file.write_bytes(b"template %d" % case.number)
    return file


def upload(case: Case) -> None:
    file = template_file(case)
    try:
        upload_template(case.client.connection, file, "local", pace=case.client.pace)
    finally:
        file.unlink()


def is_uploaded(case: Case) -> None:
    lines = case.world.root("GET", f"/nodes/{NODE}/storage/local/content", content="vztmpl")
    found = [one["size"] for one in lines if one["volid"].endswith(f"-{case.number}.tar.zst")]
    assert found == [len(b"template %d" % case.number)]


def guests() -> Iterator[Exerciser]:
    """The life of a container, and the template that it may be made from."""
    yield from ways_back()
    yield Exerciser(
        "POST", "/nodes/{node}/storage/{storage}/upload", upload, check=is_uploaded, lost=Lost.LOOKED, names=number,
        needs=lambda world: world.backend.takes_uploads,
    )  # fmt: skip
    yield Exerciser(
        "POST", "/nodes/{node}/lxc", create,
        again=create_again, check=is_made, lost=Lost.LOOKED, names=number,
    )  # fmt: skip
    config = GUEST + "/config"
    plain: Act = lambda case: case.client.write.set_config(case.number, {"memory": 300})  # noqa: E731 - a Act
    yield Exerciser("PUT", config, plain, own_container, check=has_memory, names=number)
    yield Exerciser(
        "PUT", config, change_with_digest, own_container, check=has_memory, lost=Lost.LOOKED, names=number,
        variant="digest",
    )  # fmt: skip
    yield Exerciser(
        "PUT", config, add_volume, own_container, add_volume_again, has_one_volume_more, lost=Lost.TOLD, names=number,
        variant="volume",
    )  # fmt: skip
    grow: Act = lambda case: case.client.write.resize(case.number, "rootfs", "2G")  # noqa: E731 - a Act
    resize = GUEST + "/resize"
    yield Exerciser("PUT", resize, grow, sized_container, check=is_grown, lost=Lost.LOOKED, names=number)
    yield Exerciser(
        "PUT", resize, grow_with_digest, sized_container, check=is_grown, lost=Lost.TOLD, names=number,
        variant="digest",
    )  # fmt: skip
    for action, before, after, lost in (
        ("start", own_container, is_running, Lost.LOOKED),
        ("stop", running_container, is_stopped, Lost.LOOKED),
        ("shutdown", running_container, is_stopped, Lost.LOOKED),
        ("reboot", running_container, is_running, Lost.TOLD),
    ):
        act: Act = lambda case, action=action: getattr(case.client.write, action)(case.number)  # noqa: E731 - a Act
        yield Exerciser("POST", f"{GUEST}/status/{action}", act, before, check=after, lost=lost, names=number)
    yield Exerciser(
        "POST", GUEST + "/move_volume", hand_over, two_containers, check=is_handed_over, lost=Lost.LOOKED, names=number,
        needs=lambda world: world.backend.moves_volumes,
    )  # fmt: skip
    gone: Act = lambda case: case.client.write.destroy(case.number)  # noqa: E731 - a Act
    yield Exerciser("DELETE", GUEST, gone, own_container, destroy_again, is_gone, lost=Lost.LOOKED, names=number)


__all__ = ["Act", "Case", "Exerciser", "Lost", "guests", "nothing", "reading"]
