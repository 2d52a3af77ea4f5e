"""The site's prepared template at a node: what a plan makes of it, who may upload it, and what packs it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.execute.conftest import TEMPLATE
from tests.support.stack import ROOT
from zentoria_infra.errors import ExitCode, GuestError, PermissionDeniedError, RefusedError, TaskError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.prepared import FromTemplate
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.execute.template_build import as_it_was, bare, builder, found, pack, pack_argv
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.stages.types import CloseSources, Create, GainFlows, OpenSources, SwitchOn
from zentoria_infra.proxmox import ApiToken, Endpoint, Secret
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.reachable import Patience, turn_on
from zentoria_infra.proxmox.upload import upload_template


@functools.cache
def shipped() -> Inventory:
    return load(ROOT, site="lab")


class Inside:
    """Containers can be worked in; there is none yet."""

    missing = ""

    def check(self, vmid: int) -> None:
        raise AssertionError("there is no container to look into")


def planned(node):
    inventory = shipped()
    return Deployment(
        node.client(), desired_containers(inventory), Inside(), firewall=proven_firewall(inventory),
        prepared=FromTemplate(inventory),
    ).plan()  # fmt: skip


def upload(node, file: Path, token: str) -> None:
    user, _, rest = token.partition("!")
    name, _, secret = rest.partition("=")
    endpoint = Endpoint("127.0.0.1", "pve", node.server.port, ca_file=node.ca)
    connection = Connection(endpoint, ApiToken(user, name, Secret(secret)))
    try:
        upload_template(connection, file, "local")
    finally:
        connection.close()


def root(node) -> str:
    return str(node._session.headers["Authorization"]).removeprefix("PVEAPIToken=")


@pytest.fixture
def prepared(node, tmp_path: Path) -> Path:
    """The template of the shipped inventory, as far as its name goes."""
    volid = found(shipped(), {f"local:vztmpl/{TEMPLATE}": node.runtime.templates()[TEMPLATE]})
    file = tmp_path / volid.partition("/")[2]
    file.write_bytes(b"x" * 3_000_000)
    return file


def test_with_it_containers_are_made_from_it_and_most_never_have_their_package_sources_open(node, prepared) -> None:
    node.grant("/", "Sys.Audit,Sys.Modify")
    _, stages = planned(node)
    assert {one.desired.ostemplate for one in stages if isinstance(one, Create)} == {f"local:vztmpl/{TEMPLATE}"}
    assert {one.says() for one in stages if isinstance(one, Create)} == {"create"}
    assert len([one for one in stages if isinstance(one, CloseSources)]) == 17
    upload(node, prepared, root(node))
    plan, stages = planned(node)
    assert f"Prepared template: local:vztmpl/{prepared.name}" in list(explain.lines(plan, stages))
    made = [one for one in stages if isinstance(one, Create)]
    assert {one.desired.ostemplate for one in made} == {f"local:vztmpl/{prepared.name}"}
    assert {one.says() for one in made} == {"create from the prepared template"}
    open_at_all = {one.container for one in stages if isinstance(one, OpenSources | CloseSources)}
    assert open_at_all == {"ai", "db", "ocr", "proxy", "redis", "voice"}


def test_the_sites_own_token_may_not_upload_it_and_a_broken_one_is_not_taken(node, prepared, monkeypatch) -> None:
    with pytest.raises(PermissionDeniedError, match=r"Datastore\.AllocateTemplate"):
        upload(node, prepared, f"zentoria@pve!up={node.token}")
    # its hash is made, and then somebody changes it
    before = SimpleNamespace(file_digest=lambda stream, name: hashlib.sha256(b"what it was"))
    monkeypatch.setattr("zentoria_infra.proxmox.upload.hashlib", before)
    with pytest.raises(TaskError, match="checksum mismatch"):
        upload(node, prepared, root(node))
    assert list(node.runtime.templates()) == [TEMPLATE]


def test_it_is_made_in_a_container_that_is_not_there(node) -> None:
    inventory = shipped()
    chosen = builder(inventory, ())
    assert (chosen.volumes, chosen.public, chosen.unprivileged) == ((), None, True)
    assert builder(inventory, (), "redis").name == "redis"
    assert builder(inventory, {chosen.vmid}).vmid != chosen.vmid
    everything = {one.vmid for one in inventory.containers}
    with pytest.raises(RefusedError, match="does not exist yet"):
        builder(inventory, everything)
    with pytest.raises(RefusedError, match="redis exists"):
        builder(inventory, {410}, "redis")
    with pytest.raises(RefusedError, match="no template local:vztmpl/debian-13"):
        found(inventory, {})


def test_a_node_whose_firewall_was_off_is_left_as_it_was(node, monkeypatch) -> None:
    """Its switch, and the objects that rules of containers name."""
    node.grant("/", "Sys.Audit,Sys.Modify")
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(turn_on, patience=patience))
    inventory = shipped()

    class Away(Inside):
        missing = "nobody looks inside here"

    def deployment() -> Deployment:
        container = builder(inventory, ())
        return Deployment(node.client(), bare(inventory, container), Away(), firewall=proven_firewall(inventory))

    def there() -> list[object]:
        names = [
            [one.get("name") or one["group"] for one in node.root("GET", f"/cluster/firewall/{part}")]
            for part in ("aliases", "groups", "ipset")
        ]
        return [node.root("GET", "/cluster/firewall/options").get("enable", 0), *names]

    assert there() == [0, [], [], []]
    found = deployment()
    plan, stages = found.plan({builder(inventory, ()).vmid})
    assert plan.switch_on and plan.datacenter.gained
    shared = [one for one in stages if isinstance(one, GainFlows | SwitchOn) and not one.vmid]
    assert found.run(tuple(dataclasses.replace(one, after=()) for one in shared)).exit_code is ExitCode.OK
    on, aliases, *_ = there()
    assert on == 1 and aliases
    again, _ = deployment().plan({builder(inventory, ()).vmid})
    assert as_it_was(again) == (), "it was on before: others rely on it"
    result = found.run(as_it_was(plan))
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    assert there() == [0, [], [], ["management"]]  # which keeps the node in reach


class Session:
    """What a container says, in pieces."""

    def __init__(self, pieces: list[bytes], code: int) -> None:
        self.pieces, self.code, self.stderr = pieces, code, b"tar: /: no room"

    def close_stdin(self) -> None: ...

    def read_some(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> int:
        return self.code


@pytest.mark.parametrize(("pieces", "code"), [([b"half"], 2), ([], 0)])
def test_what_is_not_whole_is_not_kept(tmp_path: Path, pieces: list[bytes], code: int) -> None:
    @contextmanager
    def session(vmid, argv, timeout, *, tried):
        yield Session(pieces, code)

    with pytest.raises(GuestError, match="no room"):
        pack(SimpleNamespace(session=session), 400, tmp_path / "it.tar.zst")
    assert list(tmp_path.iterdir()) == []


def test_the_packing_script_is_whole() -> None:
    assert pack_argv()[:4] == ["bash", "-o", "pipefail", "-c"]
    subprocess.run(["bash", "-n", "-c", pack_argv()[4]], check=True)
