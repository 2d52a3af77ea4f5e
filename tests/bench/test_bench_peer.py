"""What the comparison with Ansible is made of holds without a lab and without Ansible."""

from pathlib import Path

import ruamel.yaml

from tests.bench.ansible_peer import HERE, ratios
from tests.bench.five import SERVICES, VMIDS, change_one_file, write_five
from zentoria_infra.inventory.load import load
from zentoria_infra.roles.checks import check_roles


def test_the_five_containers_are_a_valid_inventory(tmp_path: Path) -> None:
    project = write_five(tmp_path / "five")
    found = load(project, site="lab", more=check_roles)
    assert {one.name: one.vmid for one in found.containers} == VMIDS
    assert {one.name: [service.name for service in one.services] for one in found.containers} == {
        name: [service] for name, service in SERVICES.items()
    }
    change_one_file(project)
    assert load(project, site="lab").site.upload_max != found.site.upload_max


def test_the_playbook_asks_for_one_apt_task_and_no_facts() -> None:
    plays = ruamel.yaml.YAML(typ="safe", pure=True).load((HERE / "playbook.yml").read_text())
    assert [play["gather_facts"] for play in plays] == [False, False]
    assert sum("ansible.builtin.apt" in task for play in plays for task in play["tasks"]) == 1


def test_a_ratio_says_how_many_times_more_the_peer_needs() -> None:
    theirs = {"seconds": 30.0, "api_calls": 5, "ssh_round_trips": 40}
    ours = {"seconds": 10.0, "api_calls": 10, "ssh_round_trips": 0}
    assert ratios(theirs, ours) == {"seconds_ratio": 3.0, "api_calls_ratio": 0.5, "ssh_round_trips_ratio": None}
