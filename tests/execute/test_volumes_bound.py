"""Volumes of the inventory against the lab's API: what is on one stays where it is, and foreign changes never hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.execute.test_deployment import NoInside
from tests.execute.test_replace import killed_after
from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import Allow, require_possible
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.model.values import GIB
from zentoria_infra.plan.volumes.binding import mount_points, placed

ROOT = Path(__file__).resolve().parents[2]
VMID = 410
CONFIG = f"/nodes/pve/lxc/{VMID}/config"
DATA = {"data": "/var/lib/redis", "inner": "/srv/inner"}


def redis(layout: dict[str, str]) -> DesiredContainer:
    (found,) = (one for one in desired_containers(load(ROOT, site="lab")) if one.vmid == VMID)
    volumes = tuple(DesiredVolume("", "local", GIB, path, name=name) for name, path in layout.items())
    return placed(dataclasses.replace(found, volumes=volumes), {}, {})


def up(node, layout: dict[str, str], *allow: Allow, replace: bool = False, **more: object) -> Plan:
    """What `up` does with an inventory that has these volumes."""
    found = Deployment(node.client(), [dataclasses.replace(redis(layout), **more)], NoInside())
    plan, stages = found.plan(replace={VMID} if replace else ())
    require_possible(plan, allow)
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    return plan


def config(node) -> dict[str, str]:
    return {key: str(value) for key, value in node.root("GET", CONFIG).items() if key != "digest"}


def contents(node) -> dict[str, bytes]:
    """What is on the volumes, by path."""
    there = mount_points(config(node)).values()
    return {one.path: read(node, one.volume) for one in there}


def read(node, volume: str) -> bytes:
    """What a volume begins with."""
    with node.runtime._volume(volume).open("rb") as content:
        return content.read(20).rstrip(b"\0")


@pytest.fixture
def full(node):
    """A node with the container, and its paths' names on its volumes."""
    up(node, DATA)
    for one in mount_points(config(node)).values():
        with node.runtime._volume(one.volume).open("r+b") as volume:
            volume.write(one.path.encode())
    return node


OPTIONS = {"mp0": ",keepattrs=1", "mp1": ",ro=1", "rootfs": ",mountoptions=noatime"}
WHOLE = {path: path.encode() for path in DATA.values()}


@pytest.mark.parametrize(
    ("layout", "noted", "replace"),
    [
        ({"extra": "/srv/extra", "inner": DATA["inner"], "data": DATA["data"]}, True, False),
        ({"b": "/srv/b", "inner": DATA["inner"], "a": "/a", "data": DATA["data"]}, False, False),
        ({"extra": "/srv/extra", "inner": DATA["inner"], "other": DATA["data"]}, True, True),
        ({"inner": DATA["inner"], "data": DATA["data"]}, False, True),
    ],
)
def test_an_order_or_a_new_volume_takes_nothing_away(full, layout, noted, replace) -> None:
    if not noted:  # made before the notes had names
        notes = config(full)["description"]
        full.root("PUT", CONFIG, description="\n".join(t for t in notes.split("\n") if "-volumes:" not in t))
    up(full, layout, *([Allow.REPLACE] if replace else []), replace=replace)
    assert contents(full) == {**dict.fromkeys(layout.values(), b""), **WHOLE}
    assert up(full, layout).empty


@pytest.mark.parametrize(
    ("layout", "there", "unused"),
    [
        ({"data": DATA["data"]}, {DATA["data"]: DATA["data"]}, [DATA["inner"]]),
        ({}, {}, [DATA["data"], DATA["inner"]]),
        (
            {"data": DATA["inner"], "inner": DATA["data"]},
            {DATA["inner"]: DATA["data"], DATA["data"]: DATA["inner"]},
            [],
        ),
        ({"data": "/new", "inner": DATA["inner"]}, {"/new": DATA["data"], DATA["inner"]: DATA["inner"]}, []),
    ],
)
def test_what_takes_data_out_of_sight_must_be_allowed_and_loses_nothing(full, layout, there, unused) -> None:
    before = config(full)
    with pytest.raises(RefusedError, match="--allow data"):
        up(full, layout)
    assert config(full) == before
    up(full, layout, Allow.DATA)
    assert contents(full) == {path: data.encode() for path, data in there.items()}
    now = config(full)
    assert sorted(read(full, now[key]).decode() for key in now if key.startswith("unused")) == sorted(unused)
    assert full.runtime.status(VMID).running
    assert up(full, layout).empty


@pytest.mark.parametrize("node", ["9.1"], indirect=True)
@pytest.mark.parametrize("besides", [{}, {"searchdomain": "elsewhere"}])
def test_what_somebody_else_left_waiting_never_comes_into_force(full, besides) -> None:
    before = config(full)
    foreign = {"entrypoint": "/sbin/init --foo", "env": "FOO=bar", "tty": "3"}
    foreign |= {key: before[key] + more for key, more in OPTIONS.items()}
    full.root("PUT", CONFIG, **foreign)
    waits = [line["key"] for line in full.root("GET", f"/nodes/pve/lxc/{VMID}/pending") if "pending" in line]
    assert set(waits) == set(foreign)
    options = {**redis(DATA).options, **besides}
    (one,) = up(full, DATA, options=options)
    assert one.restart is bool(besides)
    assert config(full) == before | besides
    assert not any("pending" in line for line in full.root("GET", f"/nodes/pve/lxc/{VMID}/pending"))
    assert up(full, DATA, options=options).empty


@pytest.fixture
def crossed(full):
    """The same, but the volumes' own numbers are not in the order of their mount points, as after hand-work."""
    before = config(full)
    full.root("POST", f"/nodes/pve/lxc/{VMID}/status/stop")
    full.root("PUT", CONFIG, delete="mp0,mp1")
    notes = ownership.with_volumes(before["description"], {"data": "mp1", "inner": "mp0"})
    full.root("PUT", CONFIG, mp0=before["mp1"], mp1=before["mp0"], description=notes)
    full.root("POST", f"/nodes/pve/lxc/{VMID}/status/start")
    assert contents(full) == WHOLE
    assert not any(key.startswith("unused") for key in config(full))
    return full


@pytest.mark.parametrize("killed", [0, 5, 6, 7])
def test_a_volume_that_is_moved_while_its_container_is_replaced_is_still_that_volume(crossed, killed) -> None:
    """Parked and back it has another name, and its old one may be that of the volume beside."""
    layout = {"data": "/new", "inner": DATA["inner"]}
    if killed:  # and only then somebody gave it another path
        found = Deployment(crossed.client(), [redis(DATA)], NoInside())
        stages = found.plan(replace={VMID})[1]
        assert [one.id.partition(":")[2] for one in stages[4:7]] == ["destroy", "create", "bring-back-mp0"]
        killed_after(killed, found, stages)
        with pytest.raises(RefusedError, match=f"{DATA['data']}.* moves to /new"):
            up(crossed, layout)
    up(crossed, layout, Allow.REPLACE, Allow.DATA, replace=not killed)
    assert contents(crossed) == {"/new": DATA["data"].encode(), DATA["inner"]: DATA["inner"].encode()}
    assert not any(key.startswith("unused") for key in config(crossed))
    assert up(crossed, layout).empty
