"""The README's first-node steps about the network, on the lab's node with real guests and their real firewall."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Stack
from zentoria_infra.bootstrap import nat
from zentoria_infra.inventory.load import load
from zentoria_infra.lab.lxc.outside import FAR, Outside
from zentoria_infra.lab.network import netns
from zentoria_infra.node import nat as program

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

REACHES_THE_WEB, DOES_NOT = "waf", "docs"
INTERFACES = "auto vmbr40\niface vmbr40 inet static\n\taddress 10.10.47.254/20\n\tbridge-ports none\n"
README_BEFORE = "POSTROUTING -s 10.10.32.0/20 ! -d 10.10.32.0/20 -j MASQUERADE"


@pytest.fixture
def node(stack: Stack) -> Iterator[str]:
    """The lab's node with a way out; a machine on the internet answers at 443."""
    name = f"zt-{stack.name}"
    outside = Outside(name)
    outside.up()
    try:
        with netns.listen_in(outside.namespace, FAR, 443):
            yield name
    finally:
        outside.down()


def test_guests_get_out_by_what_bootstrap_makes_and_not_by_the_plain_rule(
    stack: Stack, node: str, tmp_path: Path
) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "interfaces").write_text(INTERFACES)
    assert not gets_out(stack, REACHES_THE_WEB)
    on(node, "iptables", "-t", "nat", "-A", *README_BEFORE.split())
    assert not gets_out(stack, REACHES_THE_WEB), "the lab is more lenient than Proxmox"
    assert run(stack, node, "look", tmp_path)["spoils"] == [f"iptables -t nat -D {README_BEFORE}"]
    on(node, "iptables", "-t", "nat", "-D", *README_BEFORE.split())
    try:
        assert run(stack, node, "install", tmp_path)["missing"] == []
        assert gets_out(stack, REACHES_THE_WEB)
        assert not gets_out(stack, DOES_NOT), "whether a guest may is still its firewall's business"
    finally:
        run(stack, node, "remove", tmp_path)
    assert not gets_out(stack, REACHES_THE_WEB)


def gets_out(stack: Stack, name: str) -> bool:
    connect = f"exec 3<>/dev/tcp/{FAR}/443"
    return stack.zentoria("exec", name, "--", "timeout", "2", "bash", "-c", connect).code == 0


def run(stack: Stack, node: str, do: nat.Do, etc: Path) -> dict[str, Any]:
    order = nat.order(load(stack.project, site="lab"), do, etc=str(etc))
    answer: dict[str, Any] = json.loads(on(node, sys.executable, "-IS", program.__file__, json.dumps(order)))
    return answer


def on(node: str, *words: str) -> str:
    return subprocess.run([*netns.enter_argv(node), *words], capture_output=True, text=True, check=True).stdout
