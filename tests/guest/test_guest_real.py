"""The agent in a real guest: Debian with systemd, as root, through the command that `pct exec` would run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.guest.guest_world import Pipe, state
from zentoria_infra.guest import bundle, protocol
from zentoria_infra.guest.agent import network
from zentoria_infra.guest.state import Command, Directory, File, GuestReport, Health, Resource, Unit
from zentoria_infra.inventory.load import load
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc import requirements
from zentoria_infra.lab.lxc.runtime import LxcRuntime
from zentoria_infra.roles import base, catalog
from zentoria_infra.roles.kit.fragment import Context
from zentoria_infra.roles.kit.materials import Materials
from zentoria_infra.roles.kit.rendering import Templates

MISSING = requirements.sentence(requirements.missing())

pytestmark = [
    pytest.mark.root,
    pytest.mark.lxc,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "everything is there"),
]

ROOT = Path(__file__).resolve().parents[2]
VMID = 9051
CONFIG = {
    "hostname": "agent", "memory": "256", "swap": "0", "cores": "1", "unprivileged": "1",
    "rootfs": f"local:{VMID}/vm-{VMID}-disk-0.raw,size=512M",
    "net0": "name=eth0,bridge=vmbr40,gw=10.10.47.254,hwaddr=BC:24:11:00:00:51,ip=10.10.40.51/20,type=veth",
    "nameserver": "10.10.47.254",
}  # fmt: skip
SERVICE = """[Unit]
Description=a service that listens
[Service]
User=daemon
ExecStart=/usr/bin/python3 -m http.server 8123 --bind 127.0.0.1 --directory /etc/tester
[Install]
WantedBy=multi-user.target
"""


def quiet(line: str) -> None:
    """A task log that nobody reads."""


@pytest.fixture(scope="module")
def runtime() -> Iterator[LxcRuntime]:
    """A lab with a running guest."""
    # not pytest's folder: guests run as other users and cannot enter it
    root = Path(tempfile.mkdtemp(prefix="zt-agent-", dir="/var/tmp"))
    root.chmod(0o755)
    runtime = LxcRuntime(LabLayout(f"a{os.getpid() % 1_000_000}", root))
    runtime.host_up(quiet)
    try:
        runtime.ensure_template(quiet)
        (template,) = runtime.templates()
        runtime.allocate(f"local:{VMID}/vm-{VMID}-disk-0.raw", 512 << 20)
        runtime.unpack(VMID, template, CONFIG, quiet)
        runtime.start(VMID, CONFIG, quiet)
        yield runtime
        runtime.stop(VMID, quiet)
        runtime.destroy(VMID, quiet)
    finally:
        runtime.purge(quiet)
        shutil.rmtree(root)


@pytest.fixture
def attach(runtime: LxcRuntime) -> list[str]:
    """The words before a command that is to run in the guest."""
    return runtime.attach_argv(VMID)


class Nothing:
    """No blobs."""

    def path(self, sha256: str) -> Path:
        raise AssertionError(f"{sha256} was asked for")


def run(attach: list[str], *resources: Resource, mode: protocol.Mode = "apply") -> GuestReport:
    pipe = Pipe([*attach, *bundle.agent_argv()], dict(os.environ))
    try:
        return protocol.converge(pipe, state(*resources), Nothing(), mode, lambda event: None)
    finally:
        pipe.end()


def resources(page: str) -> list[Resource]:
    return [
        Directory(id="home", path="/srv/tester", mode="0750", owner="daemon", group="daemon"),
        Directory(id="etc", path="/etc/tester"),
        File(id="page", path="/etc/tester/page", text=page, mode="0640", owner="root", group="daemon"),
        File(id="service", path="/etc/systemd/system/tester.service", text=SERVICE),
        Command(
            id="step",
            user="daemon",
            check=("cat", "/srv/tester/done"),
            expect="from standard input",
            apply=("sh", "-c", "umask 077; cat >/srv/tester/done"),
            apply_stdin="from standard input",
            secret=True,
        ),
        Unit(id="unit", name="tester.service", reads=("page", "service")),
        Health(id="health", url="http://127.0.0.1:8123/page?x"),
    ]


def inside(attach: list[str], *argv: str) -> str:
    return subprocess.run([*attach, *argv], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_guest_is_brought_to_its_state_and_stays_there(attach: list[str]) -> None:
    first = run(attach, *resources("one"))
    assert first.failed == "", first.model_dump_json()
    assert inside(attach, "systemctl", "is-enabled", "tester.service") == "enabled"
    assert inside(attach, "stat", "-c", "%U %a", "/srv/tester/done") == "daemon 600"

    again = run(attach, *resources("one"))
    assert (again.changes, again.restarted) == ((), ())
    began = inside(attach, "systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "tester.service")

    looked = run(attach, *resources("two"), mode="check")
    assert [one.id for one in looked.changes] == ["page", "unit"]
    assert inside(attach, "cat", "/etc/tester/page") == "one"

    changed = run(attach, *resources("two"))
    assert ([one.id for one in changed.changes], changed.restarted) == (["page", "unit"], ("tester.service",))
    assert inside(attach, "systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "tester.service") != began


def test_a_unit_that_does_not_start_is_told_with_its_journal(attach: list[str]) -> None:
    text = "[Service]\nType=notify\nExecStart=/bin/sh -c 'echo the port is taken; exit 3'\n"
    report = run(
        attach,
        File(id="file", path="/etc/systemd/system/sick.service", text=text),
        Unit(id="unit", name="sick.service", enabled=None),
    )
    assert report.failed == "unit"
    assert "the port is taken" in next(one for one in report.resources if one.id == "unit").output


NEEDS_NETWORK = """[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""


def of_the_base(address: str) -> list[Resource]:
    """What every container's state says of its network, for another address."""
    inventory = load(ROOT, site="lab")
    container = inventory.by_name("db")
    context = Context(inventory, container, cast(Materials, None), Templates(ROOT), catalog.installs)
    return [
        one.model_copy(update={"text": str(one.text).replace(str(container.address), address)})
        if isinstance(one, File)
        else one
        for one in base._network(context)
    ]


def test_no_start_waits_for_a_network_that_somebody_else_configures(runtime: LxcRuntime, attach: list[str]) -> None:
    """As Proxmox leaves a container whose template has ifupdown: measured there (notes on its behaviour, 51)."""
    needs = File(id="needs", path="/etc/systemd/system/needs.service", text=NEEDS_NETWORK)
    assert run(attach, needs).failed == ""
    for words in ("disable systemd-networkd.service", f"enable {network.WAITS}", "enable needs.service"):
        inside(attach, "systemctl", *words.split())
    restart(runtime)
    began = time.monotonic()
    wanted = [*of_the_base("10.10.40.51"), needs, Unit(id="unit", name="needs.service", reads=("needs",))]
    first = run(attach, *wanted)
    assert first.failed == "", first.model_dump_json()
    assert time.monotonic() - began < 40, "it gives up after two minutes"
    assert inside(attach, "systemctl", "is-system-running") == "running"

    restart(runtime)
    began = time.monotonic()
    inside(attach, "sh", "-c", "systemctl is-system-running --wait")
    assert time.monotonic() - began < 40
    assert inside(attach, "systemctl", "is-active", "needs.service", base.ADDRESS_UNIT) == "active\nactive"
    assert run(attach, *wanted).changes == ()


def restart(runtime: LxcRuntime) -> None:
    runtime.stop(VMID, quiet)
    runtime.start(VMID, CONFIG, quiet)
    attach = runtime.attach_argv(VMID)
    until = time.monotonic() + 60
    while subprocess.run([*attach, "test", "-S", "/run/dbus/system_bus_socket"], check=False).returncode:
        assert time.monotonic() < until
        time.sleep(0.1)
