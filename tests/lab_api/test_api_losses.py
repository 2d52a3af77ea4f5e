"""Answers to writes of ticket sessions get lost on demand, and no others, as on Proxmox VE 9."""

from __future__ import annotations

import pytest
import requests

from tests.lab_api.lab_api_harness import Client, Lab
from zentoria_infra.errors import LabError
from zentoria_infra.lab.api.losses import Losses, Lost


def _made(client: Client, name: str) -> bool:
    """Whether making a pool was answered."""
    try:
        return client.post("/pools", poolid=name).status == 200
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("kind", Lost)
def test_writes_with_a_ticket_alone_get_lost(lab: Lab, kind: Lost) -> None:
    ticket = lab.ticket()
    lab.server.node.losses.lose({2, 3}, kind)
    assert _made(lab.root, "by-token")
    assert [_made(ticket, f"p{number}") for number in range(1, 5)] == [True, False, False, True]
    there = {one["poolid"] for one in ticket.get("/pools").data}
    assert there == {"by-token", "p1", "p4"} | ({"p2", "p3"} if kind is Lost.AFTER else set())
    assert ticket.delete("/pools", poolid="p1").status == 200
    assert lab.ticket().get("/version").status == 200
    assert (lab.server.node.losses.seen, lab.server.node.losses.lost) == (4, 2)


def test_a_share_is_the_same_each_time() -> None:
    def of(seed: int) -> list[bool]:
        losses = Losses()
        losses.lose_share(0.125, seed)
        return [losses.next("POST", ticket=True) is not None for _ in range(800)]

    assert of(1) == of(1) != of(2)
    assert 70 < sum(of(1)) < 130


@pytest.mark.parametrize("text", ["x", "1", "-0.1", "nan"])
def test_what_is_no_share_is_told(text: str) -> None:
    with pytest.raises(LabError, match="is no share"):
        Losses().lose_as_told(text)


def test_a_lab_may_be_told_at_its_start() -> None:
    losses = Losses()
    losses.lose_as_told("")
    assert all(losses.next("PUT", ticket=True) is None for _ in range(100))
    losses.lose_as_told("0.5")
    assert any(losses.next("PUT", ticket=True) for _ in range(100))
