"""``zentoria bootstrap`` against the lab's API, which is as strict about rights as the real server."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.needs import need_shared
from zentoria_infra.bootstrap import api as bootstrap
from zentoria_infra.bootstrap import ssh as bootstrap_ssh
from zentoria_infra.bootstrap.files import SiteFiles
from zentoria_infra.cli import main
from zentoria_infra.cli.commands import bootstrap as bootstrap_cmd
from zentoria_infra.errors import ExitCode, PermissionDeniedError, ZentoriaError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run.rights import missing_rights, missing_to_look
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.lab import credentials
from zentoria_infra.lab.api.losses import Lost
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.stages.types import Create
from zentoria_infra.proxmox import ApiToken, Endpoint, Password, Proxmox, Secret
from zentoria_infra.proxmox.access import Access, Grant
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.endpoints import ENDPOINTS, Used
from zentoria_infra.proxmox.errors import LostAnswerError
from zentoria_infra.site.run_lock import LockedError
from zentoria_infra.site.site_state import local_state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def inventory(node: Any, tmp_path: Path) -> Inventory:
    """A site that the node knows nothing of."""
    return _site(node, tmp_path)


def _site(node: Any, tmp_path: Path, **more: Any) -> Inventory:
    proxmox = {
        "host": "127.0.0.1", "port": node.server.port, "ca_file": str(node.ca), "pool": "stack",
        "token_id": "stack@pve!up", "ssh": {"host_key": None},
    }  # fmt: skip
    values = {"id": "home", "proxmox": proxmox, "secrets_file": str(tmp_path / "home" / "secrets.json")}
    return load(ROOT, site="lab", overrides={**values, **more})


@pytest.fixture
def bare(node: Any) -> Any:
    """The node without any role of ours."""
    for row in node.root("GET", "/access/roles"):
        if not row.get("special"):
            node.root("DELETE", f"/access/roles/{row['roleid']}")
    return node


@pytest.fixture
def admin(node: Any) -> Iterator[Access]:
    endpoint = Endpoint("127.0.0.1", "pve", node.server.port, ca_file=node.ca)
    with closing(Connection(endpoint, Password("root@pam", Secret("testpass")))) as connection:
        yield Access(connection)


def run(access: Access, inventory: Inventory, stop_after: int | None = None) -> list[str]:
    """Bootstrap as the command does; what was done. ``stop_after`` steps it is killed."""
    what = bootstrap.wanted(inventory)
    todo = bootstrap.steps(what, bootstrap.look(access, what))
    bootstrap.carry_out(access, what, itertools.islice(todo, stop_after), SiteFiles(inventory.site))
    return [step.says for step in todo]


def state_of(node: Any) -> dict[str, Any]:
    """All that bootstrap could have changed."""
    found = {path: node.root("GET", path) for path in ("/pools", "/access/roles", "/access/acl")}
    found["/access/users"] = node.root("GET", "/access/users", full=1)
    return dict(json.loads(json.dumps(found, sort_keys=True)))


def client(node: Any, inventory: Inventory) -> Proxmox:
    user, _, token = inventory.site.proxmox.token_id.partition("!")
    secret = SiteFiles(inventory.site).token.read_text().strip()
    endpoint = Endpoint("127.0.0.1", "pve", node.server.port, ca_file=node.ca)
    return Proxmox(endpoint, ApiToken(user, token, Secret(secret)))


class NoInside:
    missing = "there is no SSH to the node"

    def check(self, vmid: int) -> GuestReport:
        raise AssertionError("nobody looks inside without SSH")

    def apply(self, vmid: int, say: object, packaged: object = None) -> None:
        raise AssertionError("nobody works inside without SSH")


def test_from_nothing_to_a_token_that_can_do_all_and_no_more(bare: Any, admin: Access, inventory: Inventory) -> None:
    did = run(admin, inventory)
    assert did[0] == "make pool stack"
    assert run(admin, inventory) == []
    files = SiteFiles(inventory.site)
    assert files.token.stat().st_mode & 0o777 == 0o600
    assert files.record.stat().st_mode & 0o777 == 0o600
    (token,) = bare.root("GET", "/access/users/stack@pve/token")
    assert token["privsep"] == 1

    desired = [one for one in desired_containers(inventory) if one.name in ("db", "backend", "redis")]
    with closing(client(bare, inventory)) as proxmox:
        deployment = Deployment(proxmox, desired, NoInside(), firewall=proven_firewall(inventory))
        _, stages = deployment.plan()
        stages = tuple(stage for stage in stages if type(stage).__name__ not in ("SwitchOn", "Converge"))
        held = proxmox.observe.permissions()
        assert missing_to_look(held, desired, firewall=True) == ()
        assert missing_rights(held, stages, desired) == ()
        result = deployment.run([_alone(stage, stages) for stage in stages])
        assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
        for path in ("/", "/nodes/pve", "/storage/local", "/pool/stack", "/vms/404"):
            mine = set(proxmox.observe.permissions().by_path.get(path, {}))
            assert not mine & {
                "Permissions.Modify",
                "Sys.PowerMgmt",
                "Sys.Console",
                "User.Modify",
                "Datastore.Allocate",
            }
        with pytest.raises(PermissionDeniedError):
            proxmox.connect().call("POST", "/access/users", {"userid": "x@pve"})
        assert "Sys.Modify" not in proxmox.observe.permissions().by_path["/nodes/pve"]


def _alone(stage: Any, stages: Any) -> Any:
    """A stage that waits for none that is left out."""
    ids = {one.id for one in stages}
    return dataclasses.replace(stage, after=tuple(one for one in stage.after if one in ids))


def test_pool_rights_are_enough_with_objects_in_guests(bare: Any, admin: Access, tmp_path: Path) -> None:
    inventory = _site(bare, tmp_path, firewall={"objects": "guest"})
    run(admin, inventory)
    with closing(client(bare, inventory)) as proxmox:
        assert set(proxmox.observe.permissions().by_path["/"]) == {"Sys.Audit"}


@pytest.mark.parametrize("stop_after", range(0, 26, 5))
def test_a_run_that_was_killed_is_completed_by_the_next(
    bare: Any, admin: Access, inventory: Inventory, stop_after: int
) -> None:
    before = state_of(bare)
    run(admin, inventory, stop_after)
    run(admin, inventory)
    assert run(admin, inventory) == []
    what = bootstrap.wanted(inventory)
    todo = bootstrap.removal(what, bootstrap.look(admin, what), SiteFiles(inventory.site).made())
    bootstrap.carry_out(admin, what, todo, SiteFiles(inventory.site))
    assert state_of(bare) == before
    assert SiteFiles(inventory.site).made() == ()
    assert not SiteFiles(inventory.site).record.exists()


def test_what_was_there_before_stays_when_ours_goes(node: Any, admin: Access, tmp_path: Path) -> None:
    """The lab's own user, pool and token: with a role of our name that has too much, and rights that reach too far."""
    inventory = _site(node, tmp_path, proxmox={"pool": "zentoria", "token_id": "zentoria@pve!up", **_where(node)})
    node.root("PUT", "/access/roles/Zentoria", privs="VM.Audit,VM.Console")
    did = run(admin, inventory)
    assert any(re.match(r"change role Zentoria: .*\+VM\.Allocate.* -VM\.Console$", line) for line in did)
    assert did[-1] == "give token zentoria@pve!up privilege separation"
    assert run(admin, inventory) == []
    assert not SiteFiles(inventory.site).has_token, "its secret is told once, when it is made"
    what = bootstrap.wanted(inventory)
    todo = bootstrap.removal(what, bootstrap.look(admin, what), SiteFiles(inventory.site).made())
    bootstrap.carry_out(admin, what, todo, SiteFiles(inventory.site))
    there = state_of(node)
    assert [pool["poolid"] for pool in there["/pools"]] == ["zentoria"]
    (user,) = (one for one in there["/access/users"] if one["userid"] == "zentoria@pve")
    assert [(one["tokenid"], one["privsep"]) for one in user["tokens"]] == [("up", 0)]
    assert "Zentoria" in {role["roleid"] for role in there["/access/roles"]}
    assert {row["path"] for row in there["/access/acl"] if row["ugid"] == "zentoria@pve"} >= {"/pool/zentoria"}


def test_a_nested_pool_comes_with_those_around_it_and_goes_before_them(
    bare: Any, admin: Access, tmp_path: Path
) -> None:
    inventory = _site(bare, tmp_path, proxmox={"pool": "home/lab/stack", "token_id": "stack@pve!up", **_where(bare)})
    did = run(admin, inventory)
    assert did[:3] == [f"make pool {name}" for name in ("home", "home/lab", "home/lab/stack")]
    assert run(admin, inventory) == []
    found = Proxmox(
        Endpoint("127.0.0.1", "pve", bare.server.port, ca_file=bare.ca),
        ApiToken("stack@pve", "up", Secret(SiteFiles(inventory.site).token.read_text().strip())),
    )
    with found:
        assert found.observe.pool("home/lab/stack") is not None
    bare.root("POST", "/pools", poolid="home/others")
    what = bootstrap.wanted(inventory)
    todo = bootstrap.removal(what, bootstrap.look(admin, what), SiteFiles(inventory.site).made())
    assert [one.name for one in todo if one.kind == "pool"] == ["home/lab/stack", "home/lab"]
    bootstrap.carry_out(admin, what, todo, SiteFiles(inventory.site))
    assert {"home", "home/others"} <= set(admin.pools())


def _where(node: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": node.server.port, "ca_file": str(node.ca), "ssh": {"host_key": None}}


def test_a_lost_secret_is_replaced_only_when_asked(bare: Any, admin: Access, inventory: Inventory) -> None:
    run(admin, inventory)
    files, what = SiteFiles(inventory.site), bootstrap.wanted(inventory)
    old = files.token.read_text()
    files.token.unlink()
    assert run(admin, inventory) == []
    todo = bootstrap.steps(what, bootstrap.look(admin, what), new_secret=True)
    assert [step.verb for step in todo[:2]] == ["remove", "make"]
    bootstrap.carry_out(admin, what, todo, files)
    assert files.token.read_text() != old
    assert run(admin, inventory) == []
    with closing(client(bare, inventory)) as proxmox:
        assert proxmox.observe.permissions().allows("/pool/stack", "VM.Allocate")


def test_roles_that_others_have_got_stay(bare: Any, admin: Access, inventory: Inventory) -> None:
    run(admin, inventory)
    bare.root("POST", "/access/users", userid="other@pve")
    bare.root("PUT", "/access/acl", path="/storage/local", roles="ZentoriaStorage", users="other@pve")
    what = bootstrap.wanted(inventory)
    todo = bootstrap.removal(what, bootstrap.look(admin, what), SiteFiles(inventory.site).made())
    assert "remove role Zentoria" in [step.says for step in todo]
    assert "remove role ZentoriaStorage" not in [step.says for step in todo]
    bootstrap.carry_out(admin, what, todo, SiteFiles(inventory.site))
    assert Grant("/storage/local", "ZentoriaStorage", "user", "other@pve") in admin.grants()


def _second(node: Any, tmp_path: Path, token: str) -> Inventory:
    """Another site on the same server: a pool of its own, and a token of the same user."""
    (tmp_path / "second").mkdir()
    return _site(node, tmp_path / "second", id="second", proxmox={"pool": "second", "token_id": token, **_where(node)})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_second_site_with_the_same_user_works_on_when_the_other_is_removed(
    bare: Any, admin: Access, inventory: Inventory, tmp_path: Path, order: tuple[int, int]
) -> None:
    """Rights of a token are cut by its user's: user and rights stay as long as another token needs them."""
    before = state_of(bare)
    sites = [inventory, _second(bare, tmp_path, "stack@pve!second")]
    for one in sites:
        run(admin, one)
    gone, stays = (sites[at] for at in order)
    with closing(client(bare, stays)) as proxmox:
        held = proxmox.observe.permissions().by_path
    _remove(admin, gone)
    assert run(admin, stays) == []
    with closing(client(bare, stays)) as proxmox:
        assert proxmox.observe.permissions().by_path == held
    assert {one.name for one in admin.tokens("stack@pve")} == {stays.site.proxmox.token_id.partition("!")[2]}
    assert gone.site.proxmox.pool not in admin.pools()
    _remove(admin, stays)
    _remove(admin, gone)
    assert state_of(bare) == before


def test_a_token_that_another_site_has_made_anew_is_no_longer_ours(
    bare: Any, admin: Access, inventory: Inventory, tmp_path: Path
) -> None:
    """Both have the same name for it; it tells in its comment whose it is."""
    run(admin, inventory)
    other = _second(bare, tmp_path, inventory.site.proxmox.token_id)
    what = bootstrap.wanted(other)
    todo = bootstrap.steps(what, bootstrap.look(admin, what), new_secret=True)
    bootstrap.carry_out(admin, what, todo, SiteFiles(other.site))
    _remove(admin, inventory)
    assert run(admin, other) == []
    with closing(client(bare, other)) as proxmox:
        assert proxmox.observe.permissions().allows("/pool/second", "VM.Allocate")


def _remove(access: Access, inventory: Inventory) -> None:
    what, files = bootstrap.wanted(inventory), SiteFiles(inventory.site)
    bootstrap.carry_out(access, what, bootstrap.removal(what, bootstrap.look(access, what), files.made()), files)


def test_an_administrator_needs_what_the_table_says(bare: Any, inventory: Inventory) -> None:
    """Not root: a user with just the rights that the table names for an administrator."""
    needs = {need for call in ENDPOINTS if call.used is Used.ADMIN for need in (*call.needs, *call.shows)}
    paths = {"{path}": "/", "/pool/{poolid}": "/pool", "/storage/{storage}": "/storage/local",
             "/access/realm/{realm}": "/access/realm/pve",
             "/sdn/zones/{zone}/{vnet}": "/sdn"}  # fmt: skip
    bare.root("POST", "/access/users", userid="boss@pve", password="very-secret")
    pools = next(call for call in ENDPOINTS if (call.verb, call.template) == ("GET", "/pools"))  # both call it
    needs |= set(pools.shows)
    for privilege in {need.privilege for need in needs}:
        bare.root("POST", "/access/roles", roleid=f"Boss.{privilege}", privs=privilege)
    granted = {(paths.get(need.path, need.path), need.privilege) for need in needs}
    # What is deeper stands in the place of what is above: Permissions.Modify must be on every path itself.
    granted |= {(path, "Permissions.Modify") for path, _ in granted}
    for path, privilege in sorted(granted):
        bare.root("PUT", "/access/acl", path=path, roles=f"Boss.{privilege}", users="boss@pve")
    endpoint = Endpoint("127.0.0.1", "pve", bare.server.port, ca_file=bare.ca)
    with closing(Connection(endpoint, Password("boss@pve", Secret("very-secret")))) as connection:
        run(Access(connection), inventory)
        assert run(Access(connection), inventory) == []


def test_every_privilege_that_was_measured_is_given() -> None:
    rows = [
        line.split("|")[1]
        for line in need_shared("proxmox", "rights.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    words = re.findall(r"(?:VM|Datastore|SDN|Pool|Sys)\.[A-Za-z.]+", " ".join(rows))
    given = set().union(*bootstrap.roles().values())
    assert len(words) > 10
    assert set(words) <= given


def test_the_labs_own_user_has_what_the_table_says() -> None:
    """The lab is started by a program that does not know the client; this holds the two together."""
    held = {privilege for text in credentials.ROLES.values() for privilege in text.split()}
    needed = set().union(*bootstrap.roles().values())
    assert needed - held <= {"Datastore.Audit"}, "which Datastore.AllocateSpace stands for"


def test_each_privilege_is_given_only_where_it_is_asked_for(inventory: Inventory) -> None:
    roles = dict(bootstrap.wanted(inventory).roles)
    places = {path: (role, propagate) for path, role, propagate in bootstrap.wanted(inventory).places}
    assert places["/"] == ("ZentoriaFirewall", False)
    assert roles["ZentoriaFirewall"] == {"Sys.Audit", "Sys.Modify"}
    everywhere_else = set().union(*(names for role, names in roles.items() if role != "ZentoriaFirewall"))
    assert "Sys.Modify" not in everywhere_else
    assert places["/storage/local"] == ("ZentoriaStorage", True), "the template's storage is a container's too"
    assert "/sdn/zones/localnetwork" not in places


def test_a_vnet_is_in_its_own_zone_and_a_template_may_have_its_own_storage(node: Any, tmp_path: Path) -> None:
    inventory = _site(node, tmp_path, storages={"rootfs": "fast", "volumes": "big"})
    what = bootstrap.wanted(inventory, lambda bridge: "lan")
    places = {path: role for path, role, _ in what.places}
    assert places["/sdn/zones/lan/vmbr40"] == "ZentoriaNetwork"
    assert {places[f"/storage/{name}"] for name in ("fast", "big")} == {"ZentoriaStorage"}
    assert places["/storage/local"] == "ZentoriaTemplate"


def test_a_pool_in_a_pool_is_made_with_the_one_around_it(bare: Any, admin: Access, tmp_path: Path) -> None:
    inventory = _site(bare, tmp_path, proxmox={"pool": "home/stack", "token_id": "stack@pve!up", **_where(bare)})
    before = state_of(bare)
    assert run(admin, inventory)[:2] == ["make pool home", "make pool home/stack"]
    assert run(admin, inventory) == []
    what, files = bootstrap.wanted(inventory), SiteFiles(inventory.site)
    bootstrap.carry_out(admin, what, bootstrap.removal(what, bootstrap.look(admin, what), files.made()), files)
    assert state_of(bare) == before


@pytest.mark.parametrize(
    ("node", "objects", "role"),
    [("8.4", "guest", None), ("9.2", "guest", "ZentoriaPrivileged"), ("9.2", "datacenter", None)],
    indirect=["node"],
)
def test_a_privileged_container_needs_sys_modify_where_the_inventory_asks_for_it_on_9(
    bare: Any, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objects: str, role: str | None
) -> None:
    """What bootstrap --dry-run says is what plan would miss, and with it the container can be made."""
    db = {"containers": {"db": {"unprivileged": False}}}
    inventory = _site(bare, tmp_path, firewall={"objects": objects}, **db)
    monkeypatch.setattr(bootstrap_cmd, "inventory_of", lambda context, root, site: inventory)
    arguments = ["bootstrap", "--no-ssh", "--secret-stdin"]
    dry = CliRunner().invoke(main.app, [*arguments, "--dry-run"], input="testpass\n")
    assert ("make role ZentoriaPrivileged: Sys.Modify" in dry.stdout) is (role is not None)
    assert "db (404) is privileged" in dry.stderr
    assert CliRunner().invoke(main.app, arguments, input="testpass\n").exit_code == 0
    (desired,) = (one for one in desired_containers(inventory) if one.name == "db")
    with closing(client(bare, inventory)) as proxmox:
        deployment = Deployment(proxmox, [desired], NoInside())
        plan, stages = deployment.plan()
        assert not plan.problems
        create = next(stage for stage in stages if isinstance(stage, Create))
        assert deployment.run([dataclasses.replace(create, after=())]).exit_code is ExitCode.OK
        if role:
            for who in ("users", "tokens"):
                name = "stack@pve" if who == "users" else "stack@pve!up"
                bare.root("PUT", "/access/acl", path="/", roles=role, delete=1, **{who: name})
            bare.root("DELETE", "/nodes/pve/lxc/404")
            plan, _ = Deployment(proxmox, [desired], NoInside()).plan()
            assert any("lacks Sys.Modify on /, to create 404 (db)" in line for line in plan.problems)


def test_a_site_from_nothing_is_so_many_writes(bare: Any, admin: Access, inventory: Inventory) -> None:
    bare.server.node.losses.lose(())
    run(admin, inventory)
    assert bare.server.node.losses.seen == WRITES


WRITES = 18
"""POST and PUT of a bootstrap of the test's site: pool, roles, user, token and rights."""


def quick(node: Any) -> Connection:
    """As root with a password; it does not wait before it asks again."""
    endpoint = Endpoint("127.0.0.1", "pve", node.server.port, ca_file=node.ca)
    return Connection(endpoint, Password("root@pam", Secret("testpass")), sleep=lambda _: None)


def whole(node: Any, inventory: Inventory) -> dict[str, Any]:
    """What is there; the token works, and has all rights."""
    with closing(client(node, inventory)) as proxmox:
        held = proxmox.observe.permissions()
    what = bootstrap.wanted(inventory)
    privileges = dict(what.roles)
    assert all(held.allows(path, name) for path, role, _ in what.places for name in privileges[role])
    return state_of(node)


@pytest.mark.parametrize("kind", Lost)
@pytest.mark.parametrize(("burst", "step"), [(1, 1), (6, 7)])
def test_each_answer_can_get_lost(bare: Any, inventory: Inventory, burst: int, step: int, kind: Lost) -> None:
    """One write of each, or six in a row, before or after they were carried out."""
    losses, files, what = bare.server.node.losses, SiteFiles(inventory.site), bootstrap.wanted(inventory)
    before = state_of(bare)
    with closing(quick(bare)) as connection:
        access = Access(connection)
        for first in range(1, WRITES + 1, step):
            losses.lose(range(first, first + burst), kind)
            run(access, inventory)
            assert losses.lost >= 1, first
            whole(bare, inventory)
            losses.lose(())
            assert run(access, inventory) == [], first
            assert not files.has_begun(what.full_token)
            todo = bootstrap.removal(what, bootstrap.look(access, what), files.made())
            bootstrap.carry_out(access, what, todo, files)
            files.forget_token()
            assert state_of(bare) == before, first
            assert files.made() == ()


@pytest.mark.parametrize("kind", Lost)
def test_one_answer_in_three_gets_lost(bare: Any, inventory: Inventory, kind: Lost) -> None:
    losses, files, what = bare.server.node.losses, SiteFiles(inventory.site), bootstrap.wanted(inventory)
    with closing(quick(bare)) as connection:
        access = Access(connection)
        for seed in range(2):
            losses.lose_share(1 / 3, seed, kind)
            run(access, inventory)
            assert losses.lost > 2
            losses.lose(())
            whole(bare, inventory)
            assert run(access, inventory) == []
            todo = bootstrap.removal(what, bootstrap.look(access, what), files.made())
            bootstrap.carry_out(access, what, todo, files)


@pytest.mark.parametrize("kind", Lost)
def test_a_run_that_gives_up_is_completed_by_the_next(
    bare: Any, inventory: Inventory, command: Command, kind: Lost
) -> None:
    """All answers get lost from one on; the next run goes on, and makes a token anew whose secret nobody has."""
    before = state_of(bare)
    losses, files = bare.server.node.losses, SiteFiles(inventory.site)
    for first in (3, TOKEN, WRITES):
        with closing(quick(bare)) as connection:
            losses.lose(range(first, 10_000), kind)
            if kind is Lost.BEFORE or first <= TOKEN:
                with pytest.raises(LostAnswerError):
                    run(Access(connection), inventory)
            else:
                run(Access(connection), inventory)  # each was carried out, as a look says
            losses.lose(())
        assert command().exit_code == 0, first
        whole(bare, inventory)
        assert "Nothing to do" in command().stderr
        assert command("--remove", "--yes").exit_code == 0
        assert state_of(bare) == before, first
        assert (files.made(), files.has_token, files.record.exists()) == ((), False, False)


TOKEN = 8
"""Which of the writes makes the token."""


def test_a_token_that_somebody_else_made_meanwhile_is_not_removed(
    bare: Any, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = bootstrap.wanted(inventory)
    with closing(quick(bare)) as connection:
        access = Access(connection)
        todo = bootstrap.steps(what, bootstrap.look(access, what))

        def meanwhile(user: str, token: str, comment: str) -> Secret:
            bare.root("POST", f"/access/users/{user}/token/{token}", comment="mine")
            raise LostAnswerError("make a token", got="the connection broke")

        monkeypatch.setattr(access, "_create_token", meanwhile)
        with pytest.raises(LostAnswerError):
            bootstrap.carry_out(access, what, todo, SiteFiles(inventory.site))
        assert [one.comment for one in access.tokens("stack@pve")] == ["mine"]
        files = SiteFiles(inventory.site)
        seen = bootstrap.look(access, what)
        assert files.has_begun(what.full_token)
        assert not bootstrap.is_lost(what, seen, files), "nor by the next run, which nobody told to"
        (says,) = (one.says for one in bootstrap.steps(what, seen, new_secret=True) if one.verb == "remove")
        assert says.endswith("; its comment is 'mine'"), "who asks for a new secret sees whose the old one is"


PASSWORD = "testpass"
Command = Callable[..., Any]


@pytest.fixture
def command(bare: Any, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(bootstrap_cmd, "inventory_of", lambda context, root, site: inventory)
    monkeypatch.delenv("ZENTORIA_PVE_ADMIN_SECRET", raising=False)

    def invoke(*words: str, secret: str | None = PASSWORD) -> Any:
        stdin = f"{secret}\n" if secret else ""
        return CliRunner().invoke(main.app, ["bootstrap", *words, *(["--secret-stdin"] if secret else [])], input=stdin)

    return invoke


def test_the_command(bare: Any, command: Command, inventory: Inventory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    before = state_of(bare)
    dry = command("--dry-run")
    assert dry.exit_code == 0
    assert "+ make token stack@pve!up, with privilege separation" in dry.stdout
    assert "nothing was changed" in dry.stderr
    assert state_of(bare) == before

    done = command()
    assert done.exit_code == 0, done.stderr
    assert done.stdout == dry.stdout
    assert "SSH: nothing was installed on the node: the site pins no SSH host key" in done.stderr
    secret = SiteFiles(inventory.site).token.read_text().strip()
    again = command("--json")
    told = json.loads(again.stdout)
    assert (told["steps"], told["token"]["here"]) == ([], True)
    record = SiteFiles(inventory.site).record.read_text()
    for text in (done.stdout, done.stderr, again.stdout, again.stderr, record, caplog.text):
        assert secret not in text
        assert "testpass" not in text

    refused = command("--remove")
    assert isinstance(refused.exception, ZentoriaError)
    assert "--yes" in str(refused.exception)
    gone = command("--remove", "--yes")
    assert gone.exit_code == 0
    assert state_of(bare) == before
    assert not SiteFiles(inventory.site).has_token
    assert "all is gone" in command("--remove", "--yes").stderr


def test_what_is_left_for_others_is_told(bare: Any, command: Command) -> None:
    assert command("--no-ssh").exit_code == 0
    bare.root("POST", "/access/users/stack@pve/token/theirs", privsep=1)
    gone = command("--remove", "--yes", "--no-ssh")
    assert (gone.exit_code, "Left, since others need it: user stack@pve." in gone.stderr) == (0, True), gone.stderr
    again = command("--remove", "--yes", "--no-ssh")
    assert "the rest is gone" in again.stderr
    bare.root("DELETE", "/access/users/stack@pve/token/theirs")
    assert command("--remove", "--yes", "--no-ssh").exit_code == 0
    assert "all is gone" in command("--remove", "--yes", "--no-ssh").stderr


def test_a_pool_with_containers_is_not_removed_and_nothing_else_either(bare: Any, command: Command) -> None:
    command()
    template = f"local:vztmpl/{next(iter(bare.runtime.templates()))}"
    bare.root("POST", "/nodes/pve/lxc", vmid=404, ostemplate=template, rootfs="local:1", pool="stack", unprivileged=1)
    before = state_of(bare)
    refused = command("--remove", "--yes")
    assert "404 are in it" in str(refused.exception)
    assert state_of(bare) == before


def test_an_administrators_token_does_as_well(bare: Any, command: Command) -> None:
    secret = bare.root("POST", "/access/users/root@pam/token/boot", privsep=0)["value"]
    assert command("--as", "root@pam!boot", secret=secret).exit_code == 0


def test_what_cannot_work_is_told(bare: Any, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of(bare)
    assert "there is no secret" in str(command(secret="").exception)
    wrong = command(secret="wrong-password")
    assert "authentication failure" in str(wrong.exception)
    assert "wrong-password" not in str(wrong.exception)
    monkeypatch.setenv("ZENTORIA_PVE_ADMIN_SECRET", "testpass")
    assert command("--dry-run", secret="").exit_code == 0
    assert state_of(bare) == before


def test_a_wrong_secret_on_this_machine_is_told(command: Command, inventory: Inventory) -> None:
    command()
    SiteFiles(inventory.site).token.write_text("another\n")
    refused = command()
    assert "--new-secret" in str(refused.exception)
    assert "another" not in str(refused.exception)
    assert command("--new-secret").exit_code == 0
    assert command().exit_code == 0


def test_a_right_that_somebody_denies_is_told(bare: Any, command: Command) -> None:
    assert command().exit_code == 0
    bare.root("PUT", "/access/acl", path="/storage/local", roles="NoAccess", users="stack@pve")
    refused = command()
    assert "it still lacks Datastore.AllocateSpace on /storage/local" in str(refused.exception)


@pytest.fixture
def ssh_site(bare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inventory]:
    """Makes sites whose SSH leads to a port where nobody listens."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.chdir(tmp_path)

    def make(**ssh: Any) -> Inventory:
        pin = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjLq2a2c1Zb1kZkYV3pGv1Kf8mBq3nq4bq8Xy0aZ7wd"
        proxmox = {"pool": "stack", "token_id": "stack@pve!up", **_where(bare)}
        proxmox["ssh"] = {"host": "127.0.0.1", "port": 1, "host_key": pin, **ssh}
        inventory = _site(bare, tmp_path, proxmox=proxmox)
        monkeypatch.setattr(bootstrap_cmd, "inventory_of", lambda context, root, site: inventory)
        return inventory

    return make


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    "what",
    [
        "open folder of keys", "folder of another's", "no root key", "root key is public", "own key is none",
        "relative root key from elsewhere", "no agent", "no way to the node",
    ],
)  # fmt: skip
def test_what_is_wrong_here_or_with_ssh_is_told_before_anything_is_made(
    bare: Any, ssh_site: Callable[..., Inventory], tmp_path: Path, what: str, dry: bool
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    bootstrap_ssh.ensure_key(keys / "root", "root")
    arguments, words = ["--root-key", "keys/root"], "Unable to connect"
    ssh_site(**({} if what != "own key is none" else {"key_file": str(keys / "root.pub")}))
    if what == "open folder of keys":
        ssh_site(key_file=str(keys / "zentoria"))
        keys.chmod(0o755)
        words = "its mode is 0755"
    elif what == "folder of another's":
        (tmp_path / "home").mkdir(mode=0o700)
        os.chown(tmp_path / "home", 12345, -1)
        words = "it belongs to user 12345"
    elif what == "no root key":
        arguments, words = ["--root-key", str(keys / "missing")], "No such file"
    elif what == "root key is public":
        arguments, words = ["--root-key", str(keys / "root.pub")], "it is no private key"
    elif what == "own key is none":
        words = "name a key without a passphrase"
    elif what == "relative root key from elsewhere":
        os.chdir(keys)
        words = "No such file"
    elif what == "no agent":
        arguments, words = [], "the SSH agent has no key"
    before = state_of(bare)
    told = CliRunner().invoke(
        main.app, ["bootstrap", "--secret-stdin", *arguments, *(["--dry-run"] if dry else [])], input="testpass\n"
    )
    assert isinstance(told.exception, ZentoriaError), told.output
    assert words in str(told.exception)
    assert state_of(bare) == before
    assert not (tmp_path / "home" / "token").exists()


def test_removal_waits_for_nobody_who_is_at_work(bare: Any, command: Command, inventory: Inventory) -> None:
    assert command().exit_code == 0
    state, run_id = local_state(inventory.site), "a" * 12
    state.begin(run_id, {"who": "ada@desk", "command": "zentoria down"}, lease=60)
    before = state_of(bare)
    refused = command("--remove", "--yes")
    assert isinstance(refused.exception, LockedError)
    assert "ada@desk with `zentoria down`" in str(refused.exception)
    assert state_of(bare) == before
    state.end(run_id, {})
    assert command("--remove", "--yes").exit_code == 0
