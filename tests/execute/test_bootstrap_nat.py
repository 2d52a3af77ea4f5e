"""When guests need NAT on the node, and what bootstrap says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from zentoria_infra.bootstrap import nat
from zentoria_infra.bootstrap import ssh as bootstrap_ssh
from zentoria_infra.bootstrap.files import SiteFiles
from zentoria_infra.cli.commands import bootstrap
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget

ROOT = Path(__file__).resolve().parents[2]
REACHES_OUT = {"ai", "auth", "backend", "waf"}
PUBLIC = {"containers": {"proxy": {"public": {"address": "192.0.2.11/24", "gateway": "192.0.2.1"}}}}


class Login:
    """Root's SSH, of which only the place is asked."""

    target = SshTarget("192.0.2.10", "")


LOGIN = cast(SshConnection, Login())


def site(tmp_path: Path, **values: object) -> Inventory:
    return load(ROOT, overrides={"secrets_file": str(tmp_path / "own" / "secrets.json"), **values})


@pytest.mark.parametrize(
    ("values", "who"),
    [
        # packages from the web: everybody but who has a public device with a gateway
        (PUBLIC, None),
        # an HTTP proxy on the internal network, or on the node itself: who reaches the web all the same
        ({**PUBLIC, "proxy": "http://10.10.47.254:3128"}, REACHES_OUT),
        ({**PUBLIC, "proxy": "http://192.0.2.10:3128", "firewall": {"node_addresses": ["192.0.2.10"]}}, REACHES_OUT),
        # one outside: everybody
        ({**PUBLIC, "proxy": "http://192.0.2.1:3128"}, None),
        ({"proxy": "http://10.10.47.254:3128"}, {*REACHES_OUT, "proxy"}),
    ],
    ids=["no HTTP proxy", "one inside", "one on the node", "one outside", "no public device"],
)  # fmt: skip
def test_who_needs_it(tmp_path: Path, values: dict[str, object], who: set[str] | None) -> None:
    inventory = site(tmp_path, **values)
    everybody = {container.name for container in inventory.containers} - {"proxy"}
    assert set(nat.needed_by(inventory)) == (everybody if who is None else who)


def test_the_order_names_networks_and_who_their_gateway_is(tmp_path: Path) -> None:
    order = nat.order(site(tmp_path), "look")
    assert order["networks"] == [{"cidr": "10.10.32.0/20", "gateway": "10.10.47.254"}]
    other = nat.order(site(tmp_path, gateway="10.10.47.253"), "look")
    assert other["networks"] == [{"cidr": "10.10.32.0/20", "gateway": "10.10.47.253"}]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the program on the node says."""
    answer: dict[str, Any] = {
        "bridge": "vmbr40",
        "out": "vmbr0",
        "missing": [],
        "lines": [],
        "spoils": [],
        "changed": [],
    }
    monkeypatch.setattr(bootstrap_ssh, "run_program", lambda ssh, name, order: dict(answer))
    return answer


def test_what_is_missing_is_said_with_the_lines_that_mend_it(tmp_path: Path, answers: dict[str, Any]) -> None:
    inventory = site(tmp_path)
    assert nat.carry_out(LOGIN, inventory, "look").text() == []
    answers.update(missing=["the node forwards no packets"], lines=["post-up LINE"], spoils=["iptables -t nat -D RULE"])
    text = "\n".join(nat.carry_out(LOGIN, inventory, "look").text())
    for words in (
        "others reach",
        "forwards no packets",
        "-D RULE",
        "bootstrap --nat",
        "`iface vmbr40`",
        "post-up LINE",
    ):
        assert words in text, words


@pytest.mark.parametrize("do", ["look", "install", "remove"])
def test_a_node_that_says_no_ends_only_what_was_asked_for(tmp_path: Path, answers: dict[str, Any], do: nat.Do) -> None:
    inventory = site(tmp_path)
    files = SiteFiles(inventory.site)
    assert bootstrap._nat(LOGIN, inventory, files, dry=False, do="remove") == {}, "nothing was made from here"
    answers["changed"] = ["post-up LINE"]
    bootstrap._nat(LOGIN, inventory, files, dry=True, do="install")
    assert files.made() == ()
    bootstrap._nat(LOGIN, inventory, files, dry=False, do="install")
    assert [(step.kind, step.verb) for step in files.made()] == [("nat", "make")]
    answers["error"] = "iptables is not there"
    found = bootstrap._nat(LOGIN, inventory, files, dry=False, do=do)
    if do == "look":
        assert "not looked at" in found["nat"]["says"][0]
    else:
        assert "iptables is not there" in found["error"]
    del answers["error"]
    assert bootstrap._nat(LOGIN, inventory, files, dry=False, do="remove")["nat"]["changed"] == ("post-up LINE",)
    assert files.made() == ()
