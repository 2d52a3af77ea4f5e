"""A real container is destroyed and made again: what was on its data volume is there, and so is its whole firewall."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.stack import ROOT, Stack
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import connect
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.inventory.load import load
from zentoria_infra.lab import site_overlay
from zentoria_infra.plan.model.change import Action
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.firewall.records import guest

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

VMID = 405
OTHERS = "not Zentoria's"


@contextmanager
def deployed(stack: Stack) -> Iterator[tuple[Deployment, Proxmox]]:
    inventory = load(ROOT, site="lab", overlay_files=site_overlay.for_site("lab", stack.name))
    with connect(inventory.site) as proxmox:
        yield deployment_of(inventory, proxmox), proxmox


def run(proxmox: Proxmox, *argv: str) -> str:
    done = proxmox.pct.exec(VMID, list(argv))
    assert done.exit == 0, done
    return done.stdout.decode().strip()


def test_data_and_firewall_survive_a_replacement(stack: Stack) -> None:
    with deployed(stack) as (deployment, proxmox):
        config = proxmox.observe.config(VMID).values
        key = next(one for one in sorted(config) if one.startswith("mp"))
        path = dict(part.split("=") for part in config[key].split(",")[1:])["mp"]
        owner = run(proxmox, "stat", "-c", "%u:%g", path)
        run(proxmox, "sh", "-c", f"echo kept > {path}/kept; echo gone > /root/gone; sync")
        scope = guest(VMID, proxmox.endpoint.node)
        proxmox._connection.call(
            "POST", scope.rules, {"type": "in", "action": "ACCEPT", "source": "10.10.40.77", "enable": True,
                                  "comment": OTHERS}, tried="add a rule", **scope.path,
        )  # fmt: skip
        before = proxmox.firewall.rules(scope).rules
        assert before[0].comment == OTHERS
        plan, stages = deployment.plan(replace={VMID})
        (one,) = (one for one in plan.changed if one.vmid == VMID)
        assert one.action is Action.REPLACE
        result = deployment.run(stages)
        assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
        assert run(proxmox, "cat", f"{path}/kept") == "kept"
        assert run(proxmox, "stat", "-c", "%u:%g", path) == owner
        assert proxmox.pct.exec(VMID, ["test", "-e", "/root/gone"]).exit != 0
        assert proxmox.firewall.rules(scope).rules == before
        assert deployment.plan()[0].empty
        proxmox.write_firewall.rules.delete(scope, lambda rule: rule.comment == OTHERS)
