"""Drift against intent: what was last applied, what is asked for now."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.test_diff import DB
from zentoria_infra.firewall.config import Guest, Rule
from zentoria_infra.guest.artifact import Wheels
from zentoria_infra.guest.state import File, GuestState, Release, Unit
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.saved import applied
from zentoria_infra.plan.saved.applied import Applied, Digests, Origins, asked_anew, container_values, digests
from zentoria_infra.plan.show.document import Origin

KEY = b"k" * 32
GUEST = Guest(
    404, "db", "pve", (), {"dhcp": "0"}, rules=(Rule("in", "ACCEPT", dport="22", comment="zt/row-1/a/db/tcp x"),)
)
FILE = File(id="file:/etc/a", path="/etc/a", text="password=hunter2", secret=True)
STATE = GuestState(
    vmid=404, hostname="zentoria-db", resources=(FILE, Unit(id="unit:a", name="a.service", reads=(FILE.id,)))
)


def now(desired: DesiredContainer = DB, guest: Guest = GUEST, state: GuestState = STATE, key: bytes = KEY) -> Digests:
    return digests(container_values(desired, guest, state), desired.vmid, key)


def origins(after: Digests | None = None) -> Origins:
    return Origins(Applied({404: now()}), {404: after or now()})


@pytest.mark.parametrize(
    "name",
    ["config/memory", "config/net0", "config/tags", "config/rootfs", "config/mp5", "status", "container",
     "firewall/option:dhcp", "firewall/in:zt/row-1/a/db/tcp", "firewall/out:by-hand", "inside/file:/etc/a",
     "inside/unit:a", "inside/packages"],
)  # fmt: skip
def test_what_is_asked_for_as_before_has_drifted(name: str) -> None:
    assert origins().of(404, name) is Origin.DRIFT


def test_what_is_asked_for_anew_is_intent_and_nothing_else_is() -> None:
    memory = dataclasses.replace(DB, options={**DB.options, "memory": "2048"})
    found = origins(now(memory))
    assert found.of(404, "config/memory") is Origin.INTENT
    assert found.of(404, "config/cores") is Origin.DRIFT


def test_a_volume_or_a_rule_that_goes_from_the_inventory_is_intent() -> None:
    fewer = origins(now(dataclasses.replace(DB, volumes=()), dataclasses.replace(GUEST, rules=())))
    assert fewer.of(404, "config/mp0") is Origin.INTENT
    assert fewer.of(404, "firewall/in:zt/row-1/a/db/tcp") is Origin.INTENT


def test_a_unit_restarts_on_purpose_when_the_inventory_changed_what_it_reads() -> None:
    changed = STATE.model_copy(update={"resources": (FILE.model_copy(update={"text": "new"}), *STATE.resources[1:])})
    found = origins(now(state=changed))
    assert found.of(404, "inside/unit:a") is Origin.INTENT


def test_a_deploy_that_was_forced_does_not_count_as_another_release() -> None:
    release = Release(id="release:r", root="/srv", version="1", content=Wheels(wheels=(), requirements=""), units=())
    forced = release.model_copy(update={"nonce": "abc"})
    one, other = (GuestState(vmid=404, hostname="h", resources=(each,)) for each in (release, forced))
    assert now(state=one) == now(state=other)
    assert asked_anew(one) == {}
    asked = digests(asked_anew(other), 404, KEY)
    found = Origins(Applied({404: now(state=one)}), {404: {**now(state=other), **asked}})
    assert found.of(404, "inside/release:r") is Origin.INTENT  # and no drift: somebody asks for it
    assert found.of(404, "config/memory") is Origin.DRIFT


def test_without_a_record_nothing_is_known() -> None:
    assert Origins().of(404, "config/memory") is Origin.UNKNOWN
    assert Origins(None, {404: now()}).of(404, "config/memory") is Origin.UNKNOWN
    assert Origins(Applied({404: now()}), {}).of(404, "config/memory") is Origin.UNKNOWN


def test_a_container_that_was_never_brought_up_is_new_and_has_not_drifted() -> None:
    found = Origins(Applied({401: {}}), {404: now()})
    assert found.of(404, "container") is Origin.INTENT
    assert found.of(404, "config/memory") is Origin.UNKNOWN
    assert origins().of(404, "container") is Origin.DRIFT


def test_the_record_holds_no_secret_and_nothing_to_try_secrets_with() -> None:
    text = Applied({404: now()}).dump().decode()
    assert "hunter2" not in text
    assert not set(now().values()) & set(now(key=b"other").values())
    moved = digests(container_values(dataclasses.replace(DB, vmid=405), GUEST, STATE), 405, KEY)
    assert not set(now().values()) & set(moved.values()), "equal secrets of two containers do not show as equal"


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"null", b'"x"', b'{"format": "other"}', b"\xff\xfe",
     b'{"format": "zentoria-applied", "version": 2, "containers": {}}',
     b'{"format": "zentoria-applied", "version": 1, "containers": []}',
     b'{"format": "zentoria-applied", "version": 1, "containers": {"x": {}}}',
     b'{"format": "zentoria-applied", "version": 1, "containers": {"404": 1}}'],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_none(content: bytes | None) -> None:
    assert applied.parse(content) is None


records = st.dictionaries(
    st.integers(0, 999), st.dictionaries(st.text(max_size=20), st.text("0123456789abcdef", max_size=16), max_size=4)
)


@given(records)
def test_a_record_survives_a_round_trip_and_is_the_same_bytes(record) -> None:
    made = Applied(record)
    assert applied.parse(made.dump()) == made
    assert Applied(dict(reversed(record.items()))).dump() == made.dump()
    json.loads(made.dump())


@given(records, records, st.sets(st.integers(0, 999)))
def test_a_run_replaces_what_ended_well_and_forgets_what_is_gone(before, after, gone) -> None:
    found = Applied(before).with_these(after, gone).containers
    assert found == {vmid: one for vmid, one in {**before, **after}.items() if vmid not in gone}
