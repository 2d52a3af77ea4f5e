"""Which mount point is which volume: by its name in the notes, then by its path, and what that takes out of sight."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zentoria_infra.errors import RefusedError
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.plan.diff import make_plan
from zentoria_infra.plan.limits import Allow, lost, require_possible
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.change import Action, Via
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.model.values import GIB, format_properties, parse_properties
from zentoria_infra.plan.saved.state_file import dump, read_state, state_of
from zentoria_infra.plan.show.document import document
from zentoria_infra.plan.show.explain import lines
from zentoria_infra.plan.show.markdown import markdown
from zentoria_infra.plan.stages.build import build_stages
from zentoria_infra.plan.stages.types import Configure
from zentoria_infra.plan.volumes.binding import bound, mount_points, placed

Layout = dict[str, str]
"""Paths by names of volumes, in the order of a file."""

VMID = 410
NOTES = ownership.description("zentoria-redis", "keys", "home", VMID)
CLEAN = {VMID: GuestCheck(GuestReport(vmid=VMID, mode="check", resources=()))}


def wanted(layout: Layout, **more: object) -> DesiredContainer:
    """A container of the inventory with these volumes."""
    found = DesiredContainer(
        vmid=VMID,
        name="redis",
        hostname="zentoria-redis",
        node="pve",
        site_id="home",
        ostemplate="local:vztmpl/debian.tar.zst",
        pool="zentoria",
        unprivileged=True,
        options={"hostname": "zentoria-redis", "description": NOTES},
        nets={},
        features=frozenset(),
        tags=frozenset(),
        rootfs=DesiredVolume("rootfs", "local", 8 * GIB),
        volumes=tuple(DesiredVolume("", "local", GIB, path, name=name) for name, path in layout.items()),
        protect=False,
        needs=frozenset(),
        order=1,
        where={f"volume:{name}": f"410-redis.yaml:{name}" for name in layout},
    )
    return dataclasses.replace(placed(found, {}, {}), **more)


def there(layout: Layout, *, noted: bool = True, status: str = "running", **config: str) -> ObservedContainer:
    """The container as it is after it was made for a layout."""
    made = wanted(layout)
    values = {
        "hostname": "zentoria-redis",
        "unprivileged": "1",
        "description": (made.options["description"] if noted else NOTES) + "\n",
        "rootfs": f"local:{VMID}/vm-{VMID}-disk-0.raw,size=8G",
    }
    for number, one in enumerate(made.volumes, 1):
        values[one.key] = f"local:{VMID}/vm-{VMID}-disk-{number}.raw,mp={one.path},backup=1,size=1G"
    return ObservedContainer(VMID, "pve", "lxc", status, values | config)


def planned(layout: Layout, observed: ObservedContainer | None, **world: object):
    found = {VMID: observed} if observed else {}
    return make_plan((wanted(layout),), World(found, guests=CLEAN, **world))


def mounts(layout: Layout, observed: ObservedContainer | None, **world: object) -> dict[str, str]:
    """Keys of the mount points by the names of volumes, as the plan has them."""
    (one,) = planned(layout, observed, **world).containers
    return {volume.name: volume.key for volume in one.desired.volumes}


def changed(layout: Layout, observed: ObservedContainer) -> dict[str, str]:
    (one,) = planned(layout, observed).containers
    return {change.key: change.after for change in one.attributes if change.key != "description"}


DATA = {"data": "/var/lib/redis"}
TWO = {"data": "/var/lib/redis", "inner": "/srv/inner"}


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "keys", "changes"),
    [
        (DATA, DATA, {"data": "mp0"}, {}),
        (DATA, {"extra": "/srv/extra", **DATA}, {"extra": "mp1", "data": "mp0"}, {"mp1"}),  # written above
        (DATA, {**DATA, "extra": "/srv/extra"}, {"extra": "mp1", "data": "mp0"}, {"mp1"}),
        (TWO, {"inner": TWO["inner"], "data": TWO["data"]}, {"data": "mp0", "inner": "mp1"}, {}),  # in another order
        (TWO, {"scratch": "/s", "b": "/b", **TWO}, {"data": "mp0", "inner": "mp1", "scratch": "mp2", "b": "mp3"},
         {"mp2", "mp3"}),
        (DATA, {"other": "/var/lib/redis/"}, {"other": "mp0"}, {}),  # another name, the same path
        (DATA, {**DATA, "deep": "/var/lib/redis/a"}, {"data": "mp0", "deep": "mp1"}, {"mp1"}),
        ({"inner": "/srv/a/b", **DATA}, {"outer": "/srv", "inner": "/srv/a/b", **DATA},
         {"outer": "mp2", "inner": "mp0", "data": "mp1"}, {"mp2"}),  # refused below
    ],
)  # fmt: skip
def test_a_volume_is_where_its_data_is(noted, before, after, keys, changes) -> None:
    observed = there(before, noted=noted)
    assert mounts(after, observed) == keys
    assert changed(after, observed).keys() == set(changes)


def test_the_name_in_the_notes_counts_before_the_path() -> None:
    swapped = {"data": TWO["inner"], "inner": TWO["data"]}
    assert mounts(swapped, there(TWO)) == {"data": "mp0", "inner": "mp1"}
    assert mounts(swapped, there(TWO, noted=False)) == {"data": "mp1", "inner": "mp0"}  # older than the line


def test_notes_name_the_volumes_and_a_container_made_before_gets_them() -> None:
    text = wanted(TWO).options["description"]
    assert text.endswith("\n\nzentoria-volumes: data=mp0 inner=mp1\nzentoria-id: home/410")
    assert ownership.volumes(text) == {"data": "mp0", "inner": "mp1"}
    assert ownership.owner(text, "home", VMID) is ownership.Owner.OURS
    (one,) = planned(TWO, there(TWO, noted=False)).containers
    assert (one.action, [change.key for change in one.attributes], one.hides) == (Action.CHANGE, ["description"], ())
    assert wanted({}).options["description"] == NOTES


@pytest.mark.parametrize(
    ("layout", "keys"),
    [
        ({"deep": "/srv/a/b", "top": "/srv"}, {"top": "mp0", "deep": "mp1"}),
        ({"x": "/x", "deep": "/srv/a/b", "mid": "/srv/a", "top": "/srv", "y": "/y"},
         {"x": "mp0", "top": "mp1", "y": "mp2", "mid": "mp3", "deep": "mp4"}),
        ({"a": "/srv/ab", "b": "/srv/a"}, {"a": "mp0", "b": "mp1"}),  # beside each other
    ],
)  # fmt: skip
def test_a_new_container_mounts_what_lies_in_another_volume_after_it(layout, keys) -> None:
    assert mounts(layout, None) == keys


def test_a_number_between_is_found_and_else_it_is_refused_with_what_to_do() -> None:
    free = there({"a": "/a", "inner": "/srv/a"})
    config = {key: value for key, value in free.config.items() if key != "mp0"}
    observed = dataclasses.replace(free, config=config)
    assert mounts({"u": "/u", "inner": "/srv/a", "outer": "/srv"}, observed) == {
        "outer": "mp0", "inner": "mp1", "u": "mp2"
    }  # fmt: skip
    plan = planned({"outer": "/srv", "inner": "/srv/a"}, there({"inner": "/srv/a"}))
    with pytest.raises(RefusedError, match=r"'outer', mp1 \(/srv\) would hide volume 'inner', mp0 \(/srv/a\)") as told:
        require_possible(plan, list(Allow))
    assert "pct set 410 --delete mp0" in str(told.value)


@pytest.mark.parametrize(("beneath", "asks"), [(0, False), (1, True), (5000, True)])
def test_a_volume_that_comes_over_files_of_the_containers_own_disk_must_be_allowed(beneath, asks) -> None:
    told = ResourceReport(id="volume:/srv/inner", outcome="would-change", detail="not mounted", beneath=beneath)
    look = {VMID: GuestCheck(GuestReport(vmid=VMID, mode="check", resources=(told,)))}
    plan = make_plan((wanted(TWO),), World({VMID: there(DATA)}, guests=look))
    require_possible(plan, [Allow.DATA])
    if not asks:
        require_possible(plan, [])
        return
    with pytest.raises(RefusedError, match=r"mp1 hides the files at /srv/inner .* \([15] KiB\)"):
        require_possible(plan, [])
    assert "mp1 hides the files" in "\n".join(lines(plan, build_stages(plan, [wanted(TWO)])))


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({}, ["mp0 (/var/lib/redis, 1G) is taken away", "mp1 (/srv/inner, 1G) is taken away"]),
        ({"data": "/var/lib/redis"}, ["mp1 (/srv/inner, 1G) is taken away"]),
        ({"data": "/srv/new", "inner": "/srv/inner"}, ["volume 'data', mp0 (/var/lib/redis, 1G) moves to /srv/new"]),
        ({"data": "/srv/inner", "inner": "/var/lib/redis"}, ["moves to /srv/inner", "moves to /var/lib/redis"]),
        ({"data": "/srv/inner"}, ["moves to /srv/inner", "mp1 (/srv/inner, 1G) is taken away"]),
        ({"d": "/new", "inner": "/srv/inner"}, ["mp0 (/var/lib/redis, 1G) is taken away"]),
        ({**TWO, "deep": "/srv/inner/a"}, ["volume 'deep', mp2 (/srv/inner/a) hides what mp1 (/srv/inner, 1G) has at"]),
    ],
)
def test_what_takes_data_out_of_sight_is_named_and_must_be_allowed(after, words) -> None:
    plan = planned(after, there(TWO))
    assert len(plan.containers[0].hides) == len(words)
    with pytest.raises(RefusedError, match="--allow data") as told:
        require_possible(plan, [Allow.REPLACE, Allow.RESTARTS])
    require_possible(plan, [Allow.DATA])
    stages = build_stages(plan, [wanted(after)])
    made = document(plan, stages)
    shown = [
        "\n".join(lines(plan, stages)),
        "\n".join(lost(plan)),
        str(told.value),
        markdown(made),
        made.model_dump_json(),
    ]
    for text in shown:
        bare = text.replace("\\", "").replace("`", "")
        assert all(word in bare for word in words), text
    assert stages[0].says() == "stop"


def test_a_volume_that_somebody_took_away_is_not_made_anew_and_empty_unasked() -> None:
    observed = there(TWO)
    config = {**observed.config, "unused0": parse_properties(observed.config["mp0"], "volume")["volume"]}
    del config["mp0"]
    plan = planned(TWO, dataclasses.replace(observed, config=config))
    (text,) = plan.containers[0].hides
    assert "volume 'data', mp0 (/var/lib/redis) is made anew, and empty" in text
    assert "unused0 (local:410/vm-410-disk-1.raw)" in text
    with pytest.raises(RefusedError, match="--allow data"):
        require_possible(plan)


@pytest.mark.parametrize("value", ["local:410/x.raw,mp=/mine,size=1G", "/srv/host,mp=/mine"])
def test_a_mount_point_of_somebody_else_is_not_taken_away_unasked(value) -> None:
    plan = planned(TWO, there(TWO, mp5=value))
    assert changed(TWO, there(TWO, mp5=value)) == {"mp5": ""}
    with pytest.raises(RefusedError, match="--allow data"):
        require_possible(plan)


def test_a_directory_of_the_node_at_a_volumes_path_is_not_that_volume() -> None:
    assert mounts(DATA, there({}, mp0="/srv/host,mp=/var/lib/redis")) == {"data": "mp1"}


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("waits", [None, "local:410/vm-410-disk-1.raw,mp=/mine,backup=1,size=1G"])
def test_what_waits_for_a_restart_does_not_make_another_volume_of_it(waits, noted) -> None:
    observed = there(TWO, noted=noted)
    config = {key: value for key, value in {**observed.config, "mp0": waits}.items() if value is not None}
    observed = dataclasses.replace(
        observed, config=config, pending=frozenset({"mp0"}), in_force={"mp0": observed.config["mp0"]}
    )
    (one,) = planned(TWO, observed).containers
    assert [(c.key, c.via, c.hides) for c in one.attributes if c.key != "description"] == [("mp0", Via.REVERT, "")]
    assert not one.restart


def test_a_number_that_is_free_only_after_a_restart_is_not_given_before() -> None:
    observed = there(TWO)
    config = {key: value for key, value in observed.config.items() if key != "mp1"}
    waiting = dataclasses.replace(
        observed, config=config, pending=frozenset({"mp1"}), in_force={"mp1": observed.config["mp1"]}
    )
    plan = planned({**DATA, "x": "/x"}, waiting)
    assert {c.key for c in plan.containers[0].attributes} == {"mp1", "mp2", "description"}
    with pytest.raises(RefusedError, match=r"mp1 \(/srv/inner, 1G\) is taken away"):
        require_possible(plan)


def test_parked_volumes_come_back_to_their_numbers_by_name_and_by_path() -> None:
    held = there(TWO, status="stopped").config
    notes = "Holds ...\n\nzentoria-volumes: data=mp0 inner=mp1\nzentoria-parking: home/410\n"
    for description, after in ((notes, {"inner": "/srv/inner", "data": "/new"}), ("", {"new": "/new", **TWO})):
        config = {"description": description, "mp0": held["mp0"], "mp1": held["mp1"]}
        parked = ObservedContainer(411, "pve", "lxc", "stopped", config)
        keys = mounts(after, None, parked={VMID: parked})
        assert (keys["data"], keys["inner"]) == ("mp0", "mp1")
        plan = planned(after, None, parked={VMID: parked})
        create = build_stages(plan, [wanted(after)])[0]
        assert create.without == ("mp0", "mp1")
        assert {volume.name: volume.key for volume in create.desired.volumes} == keys


def test_a_volume_of_another_guest_is_not_moved_to_another_storage() -> None:
    """It is removed where it was: the other one would have lost it."""
    observed = there({}, mp0="elsewhere:vm-900-disk-1,mp=/var/lib/redis,backup=1,size=1G")
    plan = planned(DATA, observed)
    assert [one.via for one in plan.containers[0].attributes if one.key == "mp0"] == [Via.MOVE]
    with pytest.raises(RefusedError, match=r"mp0 is a volume of container 900 \(elsewhere:vm-900-disk-1\)"):
        require_possible(plan)
    require_possible(planned(DATA, there({}, mp0=observed.config["mp0"].replace("900", str(VMID)))))
    parked = ObservedContainer(411, "pve", "lxc", "stopped", {"mp0": observed.config["mp0"].replace("900", "411")})
    require_possible(planned(DATA, there({}, status="stopped"), parked={VMID: parked}))


def test_a_dropped_volume_that_is_wanted_again_is_not_made_anew_and_empty_unasked() -> None:
    """As when a change of the inventory is taken back: what was on it waits as an unused volume."""
    observed = there({}, unused0="local:410/vm-410-disk-1.raw")
    plan = planned(DATA, observed)
    with pytest.raises(
        RefusedError, match=r"made anew, and empty: .*unused0 \(local:410/vm-410-disk-1.raw\), which may"
    ):
        require_possible(plan)
    require_possible(plan, {Allow.DATA})
    put_back = there({}, mp3="local:410/vm-410-disk-1.raw,mp=/var/lib/redis,backup=1,size=1G")
    assert mounts(DATA, put_back) == {"data": "mp3"}
    require_possible(planned(DATA, put_back))


@pytest.mark.parametrize(
    ("after", "changed", "words"),
    [
        (DATA, {}, ""),
        ({"renamed": "/var/lib/redis"}, {}, ""),
        ({"data": "/new"}, {"mp0": "mp=/new"}, "moves to /new"),  # by its name
        ({"renamed": "/new"}, {"mp0": ""}, r"mp0 \(/var/lib/redis, 1G\) is taken away"),
        ({}, {"mp0": ""}, "is taken away"),
        ({**DATA, "deep": "/var/lib/redis/a"}, {"mp1": "mp=/var/lib/redis/a"}, "hides what mp0"),
    ],
)
def test_what_became_of_the_inventory_while_volumes_were_parked_is_a_change_of_them(after, changed, words) -> None:
    """A replacement was killed after the old container was destroyed, and somebody wrote another layout since."""
    held = there(DATA, status="stopped").config
    notes = "Holds ...\n\nzentoria-volumes: data=mp0\nzentoria-parking: home/410\n"
    parked = ObservedContainer(411, "pve", "lxc", "stopped", {"description": notes, "mp0": held["mp0"]})
    plan = planned(after, None, parked={VMID: parked})
    (one,) = plan.containers
    assert one.action is Action.CREATE
    assert {change.key: parse_properties(change.after).get("mp", "") for change in one.attributes} == {
        key: value.removeprefix("mp=") for key, value in changed.items()
    }
    stages = build_stages(plan, [wanted(after)])
    sent = {change.key for stage in stages if isinstance(stage, Configure) for change in stage.changes}
    assert sent & {"mp0", "mp1"} == changed.keys() & {"mp0"}  # what is new is made with the container
    if not words:
        return require_possible(plan)
    with pytest.raises(RefusedError, match=words):
        require_possible(plan)
    return require_possible(plan, {Allow.DATA})


def test_a_state_file_keeps_which_volume_is_which() -> None:
    for observed in (there(TWO), there(TWO, description=there(TWO).config["description"] + "by hand: hunter2")):
        after = {"new": "/new", "inner": "/srv/inner", "data": "/moved"}
        content = dump(state_of(World({VMID: observed}), [wanted(TWO)], "home"))
        assert b"hunter2" not in content
        state = read_state(content, "x")
        keys = {volume.name: volume.key for volume in bound(wanted(after), state.world).volumes}
        assert keys == {"new": "mp2", "inner": "mp1", "data": "mp0"}


def test_a_change_names_the_line_of_its_volume() -> None:
    (one,) = planned({"extra": "/srv/extra", **TWO}, there(TWO)).containers
    assert [c.where for c in one.attributes if c.key == "mp2"] == ["410-redis.yaml:extra"]


names = st.sampled_from(["data", "a", "b", "c", "d"])
paths = st.sampled_from(["/srv", "/srv/a", "/srv/a/b", "/srv/c", "/var/lib", "/var/lib/x", "/x", "/x/y/z", "/srv/ab"])
layouts = st.lists(st.tuples(names, paths), max_size=5, unique_by=(lambda one: one[0], lambda one: one[1])).map(dict)


def applied(observed: ObservedContainer, plan) -> ObservedContainer:
    """What Proxmox has after the writes of a plan: a volume without a mount point becomes an unused one."""
    config, made = dict(observed.config), 100
    for change in plan.containers[0].attributes:
        assert change.via is Via.CONFIG, change
        value = change.after
        if value.startswith("local:1,"):
            made += 1
            value = value.replace("local:1,", f"local:{VMID}/vm-{VMID}-disk-{made}.raw,") + ",size=1G"
        if value:
            config[change.key] = value
        else:
            del config[change.key]
    return dataclasses.replace(observed, config=config)


def in_sight(config: dict[str, str]) -> dict[str, str]:
    """Volumes by the path that they are seen at: each is mounted by number, over what is there."""
    found: dict[str, str] = {}
    for one in mount_points(config).values():
        hidden = [path for path in found if path == one.path or path.startswith(f"{one.path}/")]
        found = {path: volume for path, volume in found.items() if path not in hidden} | {one.path: one.volume}
    return found


@given(layouts, layouts, st.booleans())
def test_no_volume_leaves_its_path_unless_it_is_named_and_allowed(before, after, noted) -> None:
    observed = there(before, noted=noted)
    assert {*in_sight(observed.config)} == {*before.values()}  # a new one hides nothing of itself
    plan = planned(after, observed)
    if plan.problems:
        with pytest.raises(RefusedError):
            require_possible(plan, list(Allow))
        return
    now = applied(observed, plan)
    then = in_sight(observed.config)
    gone = {path: volume for path, volume in then.items() if in_sight(now.config).get(path) != volume}
    said = "\n".join(plan.containers[0].hides)
    assert all(re.search(rf"\({re.escape(path)}, 1G\) (moves|is taken away)", said) for path in gone)
    for inner in in_sight(now.config).keys() - then.keys():  # in what had data there, and stays
        assert all("hides" in said for outer in then.keys() - gone if inner.startswith(f"{outer}/"))
    if plan.containers[0].hides:
        with pytest.raises(RefusedError, match="--allow data"):
            require_possible(plan, [Allow.REPLACE, Allow.RESTARTS])
    assert {*in_sight(now.config)} == {*after.values()}
    assert planned(after, now).empty


@given(layouts, st.randoms(use_true_random=False), st.booleans(), st.booleans())
def test_an_order_a_new_name_or_another_volume_beside_takes_nothing_away(before, random, noted, renamed) -> None:
    order = list(before.items())
    random.shuffle(order)
    after = {f"new-{name}" if renamed else name: path for name, path in order}
    beside = {"beside": "/nowhere/else"} if random.random() < 0.5 else {}
    observed = there(before, noted=noted)
    plan = planned({**beside, **after}, observed)
    assert (plan.problems, plan.containers[0].hides) == ((), ())
    require_possible(plan)
    then, now = in_sight(observed.config), in_sight(applied(observed, plan).config)
    assert then.items() <= now.items()


@given(layouts, layouts, st.booleans())
def test_binding_twice_changes_nothing_more(before, after, noted) -> None:
    world = World({VMID: there(before, noted=noted)})
    once = bound(wanted(after), world)
    assert bound(once, world) == once
    assert len({volume.key for volume in once.volumes}) == len(after)
    assume(before)
    assert format_properties(parse_properties(world.containers[VMID].config["mp0"]))  # the world was no empty one
