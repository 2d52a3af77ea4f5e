"""What changes nothing to Proxmox is no change; what does is one, however it is written."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.test_diff import CLEAN, DB, MARK, SAME, seen
from zentoria_infra.plan.diff import attribute_changes, make_plan
from zentoria_infra.plan.model.change import Action, Effect
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.stages.build import build_stages

NET = SAME["net0"]


def keys(desired: DesiredContainer = DB, **config: str | None) -> list[str]:
    return [change.key for change in attribute_changes(desired, seen(**config))]


@pytest.mark.parametrize(
    "config",
    [
        {"onboot": "yes"}, {"onboot": "on"}, {"onboot": "True"}, {"unprivileged": "yes"}, {"unprivileged": "on"},
        {"protection": "0"}, {"protection": "no"}, {"protection": "off"}, {"protection": None},
        {"cpulimit": "0"}, {"cpulimit": "0.0"}, {"cpulimit": "0.00"}, {"cpulimit": None},
        {"swap": "0"}, {"memory": "01024"}, {"hostname": "Zentoria-DB"},
        {"features": "nesting=1,keyctl=0"}, {"features": "keyctl=off,nesting=on"}, {"features": "nesting=yes,fuse=no"},
        {"startup": "1,up=5"}, {"startup": "order=1,up=05"}, {"startup": "up=5,order=1"},
        {"tags": "zentoria,zone-data"}, {"tags": "ZONE-DATA;Zentoria"}, {"tags": " zone-data  zentoria "},
        {"tags": "zentoria;zone-data;mine"},
        {"nameserver": " 10.10.47.254 "}, {"searchdomain": "zentoria.internal "},
        {"rootfs": "local:404/d.raw,size=8G"}, {"rootfs": "local:404/d.raw,size=8388608K"},
        {"rootfs": "size=8G,volume=local:404/d.raw"}, {"rootfs": "local:404/d.raw,size=8589934592"},
        {"rootfs": "local:404/d.raw,size=0.0078125T"},
        {"mp0": "volume=local:404/e.raw,mp=/var/lib/postgresql,backup=yes,size=20480M"},
        {"mp0": "local:404/e.raw,size=20G,backup=on,mp=/var/lib/postgresql/"},
        {"net0": NET + ",link_down=0"}, {"net0": NET.replace("firewall=1", "firewall=on")},
        {"net0": NET.replace(",type=veth", "")}, {"net0": ",".join(reversed(NET.split(",")))},
        {"net0": NET.upper().replace("NAME=ETH0,BRIDGE=VMBR40,FIREWALL=1,GW", "name=eth0,bridge=vmbr40,firewall=1,gw")
         .replace(",HWADDR=", ",hwaddr=").replace(",IP=", ",ip=").replace(",TYPE=VETH", ",type=veth")},
        {"description": MARK}, {"description": MARK + "\n\n"}, {"unused0": "local:404/old.raw"},
        {"arch": "amd64"}, {"cmode": "tty"}, {"tty": "2"}, {"console": "1"},
    ],
)  # fmt: skip
def test_the_same_in_another_shape_is_no_change(config) -> None:
    assert keys(**config) == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"onboot": "0"}, "onboot"), ({"cpulimit": "0.5"}, "cpulimit"),
        ({"cpulimit": "fast"}, "cpulimit"), ({"memory": "1025"}, "memory"), ({"memory": "¹"}, "memory"),
        ({"features": "nesting=off"}, "features"), ({"startup": "order=10,up=5"}, "startup"),
        ({"tags": "zentoria;zone-data;zone-ai"}, "tags"), ({"tags": "zone-data;mine"}, "tags"),
        ({"net0": NET + ",link_down=yes"}, "net0"),
        ({"net0": NET.replace("firewall=1", "firewall=0")}, "net0"), ({"net0": NET + ",rate=1"}, "net0"),
        ({"net0": NET.replace("bc:24", "bc:25")}, "net0"), ({"net1": "name=eth1,bridge=vmbr0"}, "net1"),
        ({"mp0": "local:404/e.raw,mp=/var/lib/postgres,backup=1,size=20G"}, "mp0"),
        ({"mp5": "local:404/x.raw,mp=/mine,size=1G"}, "mp5"), ({"mp9": "/srv/data,mp=/srv"}, "mp9"),
    ],
)  # fmt: skip
def test_another_value_is_a_change(config, key) -> None:
    assert keys(**config) == [key]


def test_an_address_that_proxmox_chose_is_no_change_where_the_inventory_has_none() -> None:
    nets = {"net0": {key: value for key, value in DB.nets["net0"].items() if key != "hwaddr"}}
    assert keys(dataclasses.replace(DB, nets=nets)) == []


booleans = st.sampled_from([("1", True), ("on", True), ("yes", True), ("TRUE", True), ("0", False), ("off", False)])


@given(st.permutations(sorted(DB.nets["net0"].items())), booleans, st.sampled_from(["K", "M", "G"]), st.randoms())
def test_order_units_and_spelling_never_make_a_change(net, onboot, unit, random) -> None:
    size = {"K": 8 << 20, "M": 8 << 10, "G": 8}[unit]
    tags = sorted(DB.tags)
    random.shuffle(tags)
    text, value = onboot
    config = {
        "net0": ",".join(f"{key}={item}" for key, item in net),
        "rootfs": f"size={size}{unit},volume=local:404/d.raw",
        "tags": random.choice(";, ").join(tags),
        "onboot": text,
    }
    assert keys(**config) == ([] if value else ["onboot"])


def test_a_mount_point_by_hand_goes_and_its_volume_stays() -> None:
    (change,) = attribute_changes(DB, seen(mp5="local:404/x.raw,mp=/mine,size=1G"))
    assert (change.after, change.effect) == ("", Effect.RESTART)
    plan = make_plan((DB,), World({404: seen(mp5="local:404/x.raw,mp=/mine,size=1G")}, guests={404: CLEAN}))
    assert plan.containers[0].action is Action.RESTART
    assert [stage.says() for stage in build_stages(plan, [DB])] == ["stop", "set mp5", "start", "converge"]


@pytest.mark.parametrize(
    ("protect", "protection", "steps"),
    [
        (False, "1", ["set protection", "set mp5"]),
        (True, "1", ["set protection", "set mp5", "set protection"]),
        (True, "0", ["set mp5, protection"]),
        (False, "0", ["set mp5"]),
    ],
)
def test_a_drive_changes_while_its_container_is_not_protected(protect, protection, steps) -> None:
    options = {**DB.options, "protection": str(int(protect))}
    desired = dataclasses.replace(DB, protect=protect, options=options)
    observed = seen(mp5="local:404/x.raw,mp=/mine,size=1G", protection=protection)
    stages = build_stages(make_plan((desired,), World({404: observed}, guests={404: CLEAN})), [desired])
    said = [stage.says() for stage in stages][1 : len(steps) + 1]  # it is stopped before
    assert [sorted(one.removeprefix("set ").split(", ")) for one in said] == [
        sorted(one.removeprefix("set ").split(", ")) for one in steps
    ]
    assert len({stage.id for stage in stages}) == len(stages)


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({"tags": "mine;zentoria"}, "mine;zentoria;zone-data"),
        ({"tags": "zentoria;zone-ai;mine"}, "mine;zentoria;zone-data"),
        ({"tags": "mine;zentoria;zone-data", "unprivileged": None}, "mine;zentoria;zone-data"),
    ],
    ids=["one of ours is missing", "one of ours is too much", "it is replaced"],
)
def test_tags_of_others_stay(config, sent) -> None:
    plan = make_plan((DB,), World({404: seen(**config)}, guests={404: CLEAN}))
    set_tags = [one.sent for stage in build_stages(plan, (DB,)) for one in getattr(stage, "changes", ())
                if one.key == "tags"]  # fmt: skip
    assert set_tags == [sent]
