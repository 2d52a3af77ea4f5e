"""Desired + observed -> changes: data-driven cases, and laws that hold for every container."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.errors import RefusedError
from zentoria_infra.execute.run.perform import create_parameters
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.plan.diff import attribute_changes, make_plan, plan_container
from zentoria_infra.plan.limits import Allow, require_possible
from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.change import Action, Effect, Via
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.model.values import GIB, format_properties, format_tags, parse_properties, parse_tags
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.explain import summary
from zentoria_infra.plan.stages.build import after_create, build_stages

MARK = ownership.description("zentoria-db", "database", "home", 404)

DB = DesiredContainer(
    vmid=404,
    name="db",
    hostname="zentoria-db",
    node="pve",
    site_id="home",
    ostemplate="local:vztmpl/debian.tar.zst",
    pool="zentoria",
    unprivileged=True,
    options={
        "hostname": "zentoria-db",
        "cores": "2",
        "memory": "1024",
        "swap": "0",
        "cpulimit": "0",
        "onboot": "1",
        "nameserver": "10.10.47.254",
        "searchdomain": "zentoria.internal",
        "startup": "order=1,up=5",
        "description": MARK,
    },
    nets={
        "net0": {
            "name": "eth0",
            "bridge": "vmbr40",
            "firewall": "1",
            "gw": "10.10.47.254",
            "hwaddr": "BC:24:11:00:04:04",
            "ip": "10.10.40.4/20",
            "type": "veth",
        }
    },
    features=frozenset({"nesting"}),
    tags=frozenset({"zentoria", "zone-data"}),
    rootfs=DesiredVolume("rootfs", "local", 8 * GIB),
    volumes=(DesiredVolume("mp0", "local", 20 * GIB, "/var/lib/postgresql"),),
    protect=False,
    needs=frozenset(),
    order=1,
    where={"memory": "inventory/containers/404-db.yaml:9:11", "": "inventory/containers/404-db.yaml:1:1"},
)

SAME = {
    "arch": "amd64",
    "ostype": "debian",
    "hostname": "zentoria-db",
    "cores": "2",
    "memory": "1024",
    "swap": "0",
    "onboot": "1",
    "unprivileged": "1",
    "nameserver": "10.10.47.254",
    "searchdomain": "zentoria.internal",
    "startup": "up=5,order=1",
    "description": MARK + "\n",
    "net0": "name=eth0,bridge=vmbr40,firewall=1,gw=10.10.47.254,hwaddr=bc:24:11:00:04:04,ip=10.10.40.4/20,type=veth",
    "features": "nesting=1",
    "tags": "zone-data;zentoria",
    "rootfs": "local:404/vm-404-disk-0.raw,size=8192M",
    "mp0": "local:404/vm-404-disk-1.raw,mp=/var/lib/postgresql,backup=1,size=20G",
}
CLEAN = GuestCheck(GuestReport(vmid=404, mode="check", resources=()))


def seen(status: str = "running", **config: str | None) -> ObservedContainer:
    merged = {key: value for key, value in {**SAME, **config}.items() if value is not None}
    return ObservedContainer(404, "pve", "lxc", status, merged)


def plan_of(observed: ObservedContainer | None, **world: object):
    return plan_container(DB, observed, World({}, **{"guests": {404: CLEAN}, **world}))


def test_shapes_that_mean_the_same_are_no_change() -> None:
    assert list(attribute_changes(DB, seen())) == []
    assert plan_of(seen()).action is Action.NONE


@pytest.mark.parametrize(
    ("config", "key", "after", "effect", "via"),
    [
        ({"memory": "512"}, "memory", "1024", Effect.NONE, Via.CONFIG),
        ({"cores": None}, "cores", "2", Effect.NONE, Via.CONFIG),
        ({"onboot": None}, "onboot", "1", Effect.NONE, Via.CONFIG),
        ({"tags": "zentoria"}, "tags", "zentoria;zone-data", Effect.NONE, Via.CONFIG),
        ({"nameserver": "9.9.9.9"}, "nameserver", "10.10.47.254", Effect.RESTART, Via.CONFIG),
        (
            {"net0": SAME["net0"].replace("firewall=1", "firewall=0")},
            "net0",
            format_properties(DB.nets["net0"]),
            Effect.NONE,
            Via.CONFIG,
        ),
        ({"features": None}, "features", "nesting=1", Effect.RESTART, Via.CONFIG),
        ({"features": "nesting=1,keyctl=1"}, "features", "nesting=1", Effect.RESTART, Via.PCT),
        ({"unprivileged": None}, "unprivileged", "1", Effect.REPLACE, Via.CONFIG),
        ({"rootfs": "zfs:subvol-404-disk-0,size=8G"}, "rootfs", "local:8", Effect.REPLACE, Via.CONFIG),
        (
            {"mp0": "zfs:subvol-404-disk-1,mp=/var/lib/postgresql,backup=1,size=20G"},
            "mp0",
            "local,mp=/var/lib/postgresql,backup=1,size=20G",
            Effect.RESTART,
            Via.MOVE,
        ),
        ({"rootfs": "local:404/vm-404-disk-0.raw,size=4G"}, "rootfs", "8G", Effect.NONE, Via.RESIZE),
        ({"mp0": None}, "mp0", "local:20,mp=/var/lib/postgresql,backup=1", Effect.RESTART, Via.CONFIG),
        (
            {"mp0": "local:404/vm-404-disk-1.raw,mp=/data,size=20G"},
            "mp0",
            "local:404/vm-404-disk-1.raw,mp=/var/lib/postgresql,size=20G,backup=1",
            Effect.RESTART,
            Via.CONFIG,
        ),
    ],
)
def test_each_difference_is_one_change(config, key, after, effect, via) -> None:
    (change,) = attribute_changes(DB, seen(**config))
    assert (change.key, change.after, change.effect, change.via) == (key, after, effect, via)


def test_features_of_a_privileged_container_are_for_root_of_the_node() -> None:
    """The API refuses even nesting to a token (PVE::LXC::check_ct_modify_config_perm)."""
    bold = dataclasses.replace(DB, unprivileged=False)
    (change,) = attribute_changes(bold, seen(unprivileged=None, features=None))
    assert (change.key, change.after, change.via) == ("features", "nesting=1", Via.PCT)
    assert "features" not in create_parameters(bold)
    assert create_parameters(DB)["features"] == "nesting=1"
    (later,) = (one for one in after_create(bold) if one.key == "features")
    assert (later.before, later.after, later.via) == ("", "nesting=1", Via.PCT)
    assert not [one for one in after_create(DB) if one.key == "features"]


def test_a_nic_that_the_inventory_does_not_have_goes_away() -> None:
    (change,) = attribute_changes(DB, seen(net1="name=eth1,bridge=vmbr0,ip=dhcp"))
    assert (change.key, change.after) == ("net1", "")


def test_a_limit_or_a_backup_flag_by_hand_is_undone() -> None:
    assert [c.key for c in attribute_changes(DB, seen(cpulimit="1"))] == ["cpulimit"]
    (change,) = attribute_changes(DB, seen(mp0="local:404/vm-404-disk-1.raw,mp=/var/lib/postgresql,size=20G"))
    assert change.after.endswith("backup=1")


def test_a_volume_that_could_not_be_added_hot_waits_for_the_restart() -> None:
    pending = dataclasses.replace(seen(mp0="local:20,mp=/var/lib/postgresql,backup=1"), pending=frozenset({"mp0"}))
    plan = plan_of(pending)
    assert plan.action is Action.RESTART
    assert plan.attributes == ()


@pytest.mark.parametrize(
    ("pending", "holds", "changed"),
    [
        # somebody's change waits, and the inventory wants what holds: it is taken back
        ({"nameserver": "9.9.9.9"}, {"nameserver": " 10.10.47.254"}, {"nameserver"}),
        ({"nameserver": None}, {"nameserver": "10.10.47.254"}, {"nameserver"}),
        ({"net1": "name=eth1,bridge=vmbr9"}, {}, {"net1"}),
        ({"mp0": None}, {"mp0": "local:404/vm-404-disk-1.raw,mp=/var/lib/postgresql,backup=1,size=20G"}, {"mp0"}),
        ({"rootfs": "zfs:subvol-404-disk-0,size=8G"}, {"rootfs": "local:404/vm-404-disk-0.raw,size=8G"}, {"rootfs"}),
        # the inventory does not say, so it is somebody else's, and our restart would put it in force
        ({"tty": "3"}, {}, {"tty"}),
        ({"tty": "3"}, {"tty": "4"}, {"tty"}),
        ({"cmode": None}, {"cmode": "shell"}, {"cmode"}),
        ({"timezone": "host", "arch": "i386"}, {"arch": "amd64"}, {"timezone", "arch"}),
        *(
            ({key: f"{SAME[key]},{more}"}, {key: SAME[key]}, {key})
            for key, more in (
                ("mp0", "keepattrs=1"),
                ("mp0", "idmap=u:123:456:1"),
                ("mp0", "mountoptions=noexec"),
                ("mp0", "ro=1"),
                ("mp0", "quota=1"),
                ("mp0", "acl=0"),
                ("mp0", "shared=1"),
                ("mp0", "replicate=0"),
                ("mp0", "new=x"),
                ("rootfs", "mountoptions=noatime"),
                ("rootfs", "ro=1"),
                ("rootfs", "idmap=u:123:456:1"),
                ("net0", "host-managed=1"),
            )
        ),
    ],
)
def test_what_waits_and_is_not_wanted_is_taken_back(pending, holds, changed) -> None:
    observed = dataclasses.replace(seen(**pending), pending=frozenset(pending), in_force=holds)
    plan = plan_of(observed)
    assert (plan.action, plan.restart) == (Action.CHANGE, False)
    assert {(one.key, one.via, one.after) for one in plan.attributes} == {
        (key, Via.REVERT, holds.get(key, "")) for key in changed
    }
    (stage,) = build_stages(make_plan((DB,), World({404: observed}, guests={404: CLEAN})), [DB])
    assert stage.says() == f"take back {', '.join(one.key for one in plan.attributes)}"


@pytest.mark.parametrize(
    ("pending", "holds"),
    [
        ({"nameserver": "9.9.9.9"}, {"nameserver": "1.1.1.1"}),  # neither is wanted
        ({"nameserver": "10.10.47.254"}, {"nameserver": "1.1.1.1"}),  # what waits is wanted
        ({"nameserver": "10.10.47.254", "tty": "3"}, {"nameserver": "1.1.1.1"}),  # one stays, the other goes
    ],
)
def test_what_still_waits_takes_a_restart(pending, holds) -> None:
    plan = plan_of(dataclasses.replace(seen(**pending), pending=frozenset(pending), in_force=holds))
    assert (plan.action, plan.restart) == (Action.RESTART, True)


@pytest.mark.parametrize("key", ["env", "entrypoint"])
def test_what_may_hold_a_secret_is_taken_back_and_not_shown(key) -> None:
    observed = dataclasses.replace(seen(**{key: "PASSWORD=hunter2"}), pending=frozenset({key}))
    plan = make_plan((DB,), World({404: observed}, guests={404: CLEAN}))
    (one,) = plan.containers[0].attributes
    assert (one.key, one.via, one.before, one.after) == (key, Via.REVERT, "(not shown)", "")
    assert plan.containers[0].restart is False


@pytest.mark.parametrize("running", [True, False])
def test_what_somebody_else_left_waiting_is_taken_back_before_anything_else(running) -> None:
    changed = seen("running" if running else "stopped", entrypoint="/sbin/init --foo", nameserver="1.1.1.1")
    observed = dataclasses.replace(changed, pending=frozenset({"entrypoint"}), digest="d1")
    stages = build_stages(make_plan((DB,), World({404: observed}, guests={404: CLEAN})), [DB])
    start = "restart" if running else "start"
    assert [one.says() for one in stages] == ["take back entrypoint", "set nameserver", start, "converge"]
    assert [one.digest for one in stages[:2]] == ["d1", ""]


@pytest.mark.parametrize("key", ["dev0", "hookscript"])
def test_what_only_root_may_take_back_stands_in_the_way_of_a_restart_and_of_nothing_else(key) -> None:
    waiting = {key: "local:snippets/x" if key == "hookscript" else "/dev/fuse"}
    quiet = dataclasses.replace(seen(memory="512", **waiting), pending=frozenset({key}))
    plan = make_plan((DB,), World({404: quiet}, guests={404: CLEAN}))
    assert (plan.containers[0].action, plan.containers[0].restart, plan.problems) == (Action.CHANGE, False, ())
    for status in ("running", "stopped"):
        loud = dataclasses.replace(seen(status, nameserver="1.1.1.1", **waiting), pending=frozenset({key}))
        plan = make_plan((DB,), World({404: loud}, guests={404: CLEAN}))
        with pytest.raises(RefusedError, match=f"pct set 404 --revert {key}"):
            require_possible(plan)


@pytest.mark.parametrize(
    ("key", "more", "after"),
    [
        ("mp0", "ro=1", SAME["mp0"]), ("mp0", "mountoptions=noexec;nosuid", SAME["mp0"]), ("mp0", "acl=1", SAME["mp0"]),
        ("mp0", "idmap=u:1:2:3", SAME["mp0"]), ("rootfs", "mountoptions=noatime", SAME["rootfs"]),
    ],
)  # fmt: skip
def test_an_option_of_a_volume_by_hand_is_undone(key, more, after) -> None:
    (change,) = attribute_changes(DB, seen(**{key: f"{SAME[key]},{more}"}))
    assert (change.key, change.after, change.effect, change.hides) == (key, after, Effect.RESTART, "")


@pytest.mark.parametrize("more", ["ro=0", "quota=0", "shared=off", "replicate=1", "keepattrs=0"])
def test_an_option_of_a_volume_that_says_what_holds_anyway_is_no_change(more) -> None:
    assert list(attribute_changes(DB, seen(mp0=f"{SAME['mp0']},{more}", rootfs=f"{SAME['rootfs']},ro=0"))) == []


def test_a_volume_that_goes_at_the_next_restart_is_not_destroyed_by_a_replacement() -> None:
    observed = dataclasses.replace(
        seen(unprivileged=None, mp0=None), pending=frozenset({"mp0"}), in_force={"mp0": SAME["mp0"]}
    )
    whole = make_plan((DB,), World({404: observed}, guests={404: CLEAN}))
    with pytest.raises(RefusedError, match="its mp0 is taken away at its next restart"):
        require_possible(whole, [Allow.REPLACE])


def test_nothing_to_do_is_said_in_good_english() -> None:
    desired, check = DB, CLEAN
    plan = make_plan((desired,), World({404: seen()}, guests={404: check}))
    assert summary(plan) == "No changes: 1 container is as the inventory says."


def test_a_replacement_names_the_data_that_is_kept_and_what_is_protected_is_never_replaced() -> None:
    observed = seen(
        unprivileged=None, protection="1", mp5="local:404/x.raw,mp=/mine,size=1G", unused0="local:404/y.raw"
    )
    plan = plan_of(observed)
    assert plan.parking.park == plan.parking.back == ("mp0", "mp5", "unused0")
    assert "the data on mp0 (/var/lib/postgresql), mp5 (/mine), unused0 is kept" in plan.reason
    assert "until 100000 is added to their user and group ids" in plan.reason
    whole = make_plan((DB,), World({404: observed}, guests={404: CLEAN}))
    with pytest.raises(RefusedError, match="is protected"):
        require_possible(whole, [Allow.REPLACE])


def test_a_container_that_is_still_being_created_is_not_called_unchanged() -> None:
    plan = make_plan((DB,), World({404: seen("stopped", lock="create")}, guests={404: CLEAN}))
    assert not plan.empty
    with pytest.raises(RefusedError, match="another call is creating it"):
        require_possible(plan)


@pytest.mark.parametrize("lock", ["backup", "snapshot", "migrate"])
def test_a_lock_is_told_before_the_run_where_it_is_in_the_way(lock: str) -> None:
    locked = f"it is locked ({lock}), and Proxmox refuses it until that has ended"
    for observed in (seen(lock=lock, memory="512"), seen("stopped", lock=lock), seen(lock=lock, unprivileged=None)):
        assert locked in plan_of(observed).reason
    for guest in (CLEAN, GuestCheck(unknown="ssh is away")):
        whole = make_plan((DB,), World({404: seen(lock=lock)}, guests={404: guest}))
        assert "locked" not in whole.containers[0].reason, "what is inside can be changed"


def test_what_could_not_be_seen_is_not_called_work_to_do() -> None:
    plan = make_plan((DB,), World({404: seen()}, guests={404: GuestCheck(unknown="ssh is away")}))
    assert plan.only_unknown and not plan.empty
    (line, *_) = explain.lines(plan, build_stages(plan, [DB]))
    assert line == "? 404 zentoria-db: look again (what is inside is unknown: ssh is away)"
    changed = make_plan((DB,), World({404: seen(memory="512")}, guests={404: GuestCheck(unknown="ssh is away")}))
    assert not changed.only_unknown


def test_a_change_names_the_line_that_wants_it() -> None:
    changes = {change.key: change.where for change in attribute_changes(DB, seen(memory="512", cores="9"))}
    assert changes == {
        "memory": "inventory/containers/404-db.yaml:9:11",
        "cores": "inventory/containers/404-db.yaml:1:1",
    }


def test_a_larger_disk_is_left_alone() -> None:
    assert list(attribute_changes(DB, seen(rootfs="local:404/vm-404-disk-0.raw,size=12G"))) == []


@pytest.mark.parametrize(
    ("observed", "world", "words"),
    [
        (seen(description=None, tags=None), {}, "neither the tag 'zentoria' nor a zentoria-id"),
        (seen(description="mine", tags="zentoria"), {}, "no zentoria-id in its notes"),
        (seen(description="zentoria-id: other/404"), {}, "the mark other/404"),
        (seen(description="zentoria-id: home/405"), {}, "the mark home/405"),
        (ObservedContainer(404, "pve", "qemu", "running"), {}, "virtual machine"),
        (None, {"taken": frozenset({404})}, "not in our pool"),
        (dataclasses.replace(seen(), node="pve2"), {}, "on node pve2"),
    ],
)
def test_what_is_not_ours_is_refused(observed, world, words) -> None:
    plan = plan_of(observed, **world)
    assert plan.action is Action.REFUSE
    assert words in plan.reason
    assert build_stages(make_plan((DB,), World({404: observed} if observed else {}, **world)), [DB]) == ()


@pytest.mark.parametrize(
    ("observed", "check", "action", "steps"),
    [
        (None, CLEAN, Action.CREATE, ["create", "set tags", "start", "converge"]),
        (seen("stopped"), CLEAN, Action.START, ["start", "converge"]),
        (seen("stopped", memory="1"), CLEAN, Action.START, ["set memory", "start", "converge"]),
        (seen(memory="512"), CLEAN, Action.CHANGE, ["set memory"]),
        (seen(tags=None), CLEAN, Action.CHANGE, ["set tags"]),
        (seen(nameserver="1.1.1.1"), CLEAN, Action.RESTART, ["set nameserver", "restart", "converge"]),
        (dataclasses.replace(seen(), pending=frozenset({"tty"})), CLEAN, Action.CHANGE, ["take back tty"]),
        (
            dataclasses.replace(seen(), pending=frozenset({"nameserver"}), in_force={"nameserver": "1.1.1.1"}),
            CLEAN,
            Action.RESTART,
            ["restart", "converge"],
        ),
        (
            seen(unprivileged=None),
            CLEAN,
            Action.REPLACE,
            [
                *("make a container to park its data", "stop", "park mp0", "destroy", "create", "bring mp0 back"),
                *("set tags", "remove the parking container", "start", "converge"),
            ],
        ),
        (
            seen(mp0="zfs:subvol-404-disk-1,mp=/var/lib/postgresql,backup=1,size=20G"),
            CLEAN,
            Action.RESTART,
            ["stop", "move mp0 to storage local", "start", "converge"],
        ),
        (seen(), GuestCheck(unknown="ssh is away"), Action.LOOK, ["converge"]),
        (
            seen(),
            GuestCheck(
                GuestReport(vmid=404, mode="check", resources=(ResourceReport(id="file:a", outcome="would-change"),))
            ),
            Action.CONVERGE,
            ["converge"],
        ),
        (seen("stopped", lock="create"), CLEAN, Action.WAIT, []),
    ],
)
def test_actions_and_their_steps(observed, check, action, steps) -> None:
    plan = make_plan((DB,), World({404: observed} if observed else {}, guests={404: check}))
    assert plan.containers[0].action is action
    assert [stage.says() for stage in build_stages(plan, [DB])] == steps


def test_converging_waits_for_what_is_needed_but_circles_do_not_block() -> None:
    ai = dataclasses.replace(DB, vmid=405, name="ai", needs=frozenset({404, 419}), order=2)
    embeddings = dataclasses.replace(DB, vmid=419, name="embeddings", needs=frozenset({404, 405}), order=3)
    everyone = (DB, ai, embeddings)
    stages = {stage.id: stage for stage in build_stages(make_plan(everyone, World({})), everyone)}
    assert stages["405:converge"].after == ("405:start", "404:converge")
    assert stages["419:converge"].after == ("419:start", "404:converge", "405:converge")


def test_protection_and_keyctl_come_after_the_create() -> None:
    ocr = dataclasses.replace(DB, features=frozenset({"nesting", "keyctl"}), protect=True)
    stages = build_stages(make_plan((ocr,), World({})), [ocr])
    assert [stage.says() for stage in stages] == [
        "create",
        "set tags, protection",
        "pct set features",
        "start",
        "converge",
    ]


words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_/.:", min_size=1, max_size=12)


@given(st.dictionaries(words, words, min_size=1, max_size=6), words)
def test_property_strings_survive_a_round_trip(values, volume) -> None:
    full = {"volume": volume, **values}
    assert parse_properties(format_properties(full, "volume"), "volume") == full


@given(st.frozensets(st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=10)))
def test_tags_survive_a_round_trip_in_any_order(tags) -> None:
    assert parse_tags(format_tags(tags)) == tags
    assert parse_tags(" , ".join(tag.upper() for tag in tags)) == tags


@given(st.dictionaries(st.sampled_from(sorted(SAME)), st.sampled_from(["", "1", "0", "512", "x=y", "local:1"])))
def test_a_plan_never_breaks_on_what_a_node_says(config) -> None:
    plan = make_plan((DB,), World({404: seen(**config)}, guests={404: CLEAN}))
    stages = build_stages(plan, [DB])
    ids = [stage.id for stage in stages]
    assert len(ids) == len(set(ids))
    assert all(set(stage.after) <= set(ids[:number]) for number, stage in enumerate(stages))
