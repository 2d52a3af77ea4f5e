"""The state file: worlds there and back, equal bytes for equal worlds, no secrets, and bad files told in words."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.plan_worlds import worlds
from tests.support.json_schema import mismatches
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.masking import MASK, report_without_secrets, without_secrets
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.saved.saved_plan import SavedPlan
from zentoria_infra.plan.saved.state_file import (
    InvalidFileError,
    StateDocument,
    dump,
    read_state,
    schema_of,
    schema_text,
    shipped_schema,
    state_of,
)

SCHEMA = schema_of(StateDocument)
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("model", "name"), [(StateDocument, "state"), (SavedPlan, "saved")])
def test_the_schemas_in_the_package_are_those_of_the_models(model: type[StateDocument], name: str) -> None:
    assert shipped_schema(f"{name}.schema.json") == json.loads(schema_text(model)), (
        "write it again: .venv/bin/python -c '"
        "from zentoria_infra.plan.saved import saved_plan as saved, state_file as s; "
        f'print(s.schema_text({"saved.SavedPlan" if name == "saved" else "s.StateDocument"}), end="")\''
        f" > zentoria_infra/plan/saved/{name}.schema.json"
    )


@given(worlds)
@settings(max_examples=60)
def test_a_world_comes_back_as_it_was_but_for_what_is_masked(world: World) -> None:
    content = dump(state_of(world, (), "lab", {404: "r"}))
    found = read_state(content, "s.json")
    assert found.world == _without_unknown(without_secrets(world, {}))
    assert found.site == "lab"
    assert dump(state_of(found.world, (), "lab", {404: "r"})) == content
    assert b"hunter2" not in content
    assert mismatches(json.loads(content), SCHEMA, SCHEMA) == []


def _without_unknown(world: World) -> World:
    """Why there is no firewall is of no interest where there is one; a report's time is never."""
    unknown = world.firewall_unknown if world.firewall is None else World({}).firewall_unknown
    return dataclasses.replace(world, firewall_unknown=unknown)


@given(worlds, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_equal_worlds_are_equal_bytes(world: World, chance: random.Random) -> None:
    def shuffled(found: dict[int, object]) -> dict[int, object]:
        return dict(chance.sample(list(found.items()), len(found)))

    again = dataclasses.replace(
        world,
        containers={
            vmid: dataclasses.replace(one, config=shuffled(dict(one.config)))
            for vmid, one in shuffled(dict(world.containers)).items()
        },
        guests=shuffled(dict(world.guests)),
        firewall_digests=shuffled(dict(world.firewall_digests)),
    )
    assert dump(state_of(again, (), "lab")) == dump(state_of(world, (), "lab"))


def test_of_a_configuration_only_the_harmless_is_kept() -> None:
    config = {
        "memory": "512",
        "net0": "name=eth0,bridge=vmbr40,hwaddr=BC:24:11:00:04:04",
        "description": "root password is hunter2\nzentoria-id: lab/404\n",
        "lxc": "[['lxc.environment', 'TOKEN=hunter2']]",
        "env": "API=hunter2",
        "entrypoint": "/sbin/init --key hunter2",
        "of-a-later-version": "hunter2",
        "hostname": "zentoria-db",
    }
    shown = without_secrets(World({404: ObservedContainer(404, "pve", "lxc", "running", config)}), {}).containers[404]
    assert "hunter2" not in str(shown)
    assert {key: shown.config[key] for key in ("memory", "net0", "hostname")} == {
        key: config[key] for key in ("memory", "net0", "hostname")
    }
    assert shown.config["description"] == f"{MASK}\n\nzentoria-id: lab/404"
    assert shown.config.keys() == config.keys()


def test_notes_that_the_inventory_wants_are_kept() -> None:
    desired = desired_containers(load(ROOT, site="lab"))
    db = next(one for one in desired if one.name == "db")
    seen = ObservedContainer(404, "pve", "lxc", "running", {"description": db.options["description"] + "\n"})
    (found,) = state_of(World({404: seen}), desired, "lab").containers
    assert found.config["description"] == seen.config["description"]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("-requirepass hunter2", "-requirepass "),
        ("-password = 'hunter2'", "-password = "),
        ("-  api_key: hunter2", "-  api_key: "),
        ("-dsn = postgres://app:hunter2@db/x", "-dsn = postgres://(not shown)@db/x"),
        ("-Authorization: Basic hunter2", "-Authorization: "),
        ("-" + "hunter2" * 8, "-(not shown)"),
        ("-listen_addresses = '10.10.40.4'", "-listen_addresses = '10.10.40.4'"),
    ],
)
def test_of_a_diff_what_looks_like_a_secret_is_masked(line: str, kept: str) -> None:
    report = GuestReport(
        vmid=404,
        mode="check",
        resources=(
            ResourceReport(
                id="file:/etc/x", outcome="would-change", diff=f"@@ -1 +1 @@\n{line}\n+port = 5432\n", output="hunter2"
            ),
        ),
        seconds=3.0,
    )
    found = report_without_secrets(report)
    assert "hunter2" not in found.model_dump_json()
    assert found.resources[0].diff.splitlines()[1].startswith(kept)
    assert found.resources[0].diff.endswith("+port = 5432\n")
    assert found.seconds == 0


def test_comments_of_others_in_the_firewall_are_masked() -> None:
    aliases = (Alias("mine", "10.0.0.1", "door code 4711"), Alias("zt-db", "10.10.40.4", "zt/alias/db"))
    world = World({}, firewall=Configuration(Datacenter(aliases=aliases)))
    found = without_secrets(world, {}).firewall
    assert found is not None
    assert [one.comment for one in found.datacenter.aliases] == [MASK, "zt/alias/db"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1 column"),
        (b"{", "line 1 column"),
        (b"[]", "object"),
        (b'{"format": "zentoria-plan", "site": "x"}', "format: "),
        (b'{"site": "x", "version": "2.0"}', "version: "),
        (b'{"site": 7}', "site: "),
        (b'{"site": "x", "containers": [{"vmid": "404", "node": "n", "kind": "lxc", "status": "s"}]}',
         "containers[0].vmid: "),
        (b'{"site": "x", "containers": [{"vmid": 4, "node": "n", "kind": "lxc", "status": "s"},'
         b' {"vmid": 4, "node": "n", "kind": "lxc", "status": "s"}]}', "VMID 4 is twice"),
        (b'{"site": "x", "firewall": {"guests": [{"vmid": 1, "name": "a", "node": "n", "nics": [],'
         b' "rules": [{"type": "up", "action": "x"}]}]}}', "firewall.guests[0].rules[0].type: "),
        (b'{"site": "x", "firewall": {"guests": 7}}', "firewall.guests: "),
        (b'{"site": "x", "no_inside": "\\ud800"}', "line 1 column"),
        (b"\xff\xfe", "line 1 column"),
        (b"[" * 10_000, "line 1 column"),
        (b'{"site": 1' + b"0" * 10_000 + b"}", "line 1 column"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_with_the_place(content: bytes, words: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        read_state(content, "s.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("read the state file on s.json: ")
    assert caught.value.exit_code == 3


def test_what_a_later_minor_version_adds_is_passed_over() -> None:
    assert read_state(b'{"site": "x", "version": "1.7", "news": [1]}', "s.json").world == World(
        {}, no_inside="", firewall_unknown="it was not looked at"
    )


def test_a_look_that_failed_stays_unknown() -> None:
    world = World({}, guests={404: GuestCheck(unknown="it does not answer")})
    assert read_state(dump(state_of(world, (), "lab")), "s").world.guests == world.guests
