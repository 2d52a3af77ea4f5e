"""A part of the stack."""

import pytest

from tests.support.stack import ROOT
from zentoria_infra.errors import RefusedError
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.selection import Selection, explained, require_there, select


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load(ROOT, site="lab")


def chosen(inventory: Inventory, **wish: list[str]) -> Selection | None:
    return select(inventory, {one.vmid: one.needs for one in desired_containers(inventory)}, **wish)


def names(inventory: Inventory, selection: Selection | None) -> set[str]:
    assert selection is not None
    return {inventory.by_vmid(vmid).name for vmid in selection.vmids}


def test_nothing_asked_for_means_all(inventory: Inventory) -> None:
    assert chosen(inventory) is None


def test_names_zones_and_what_is_excluded(inventory: Inventory) -> None:
    assert names(inventory, chosen(inventory, only=["db", "zentoria-redis", "400"])) == {"db", "redis", "frontend"}
    data = {one.name for one in inventory.containers if one.zone == "data"}
    assert data and names(inventory, chosen(inventory, zones=["data"])) == data
    assert names(inventory, chosen(inventory, zones=["data"], only=["proxy"])) == data | {"proxy"}
    assert names(inventory, chosen(inventory, zones=["data"], exclude=["db"])) == data - {"db"}
    everybody = {one.name for one in inventory.containers}
    assert names(inventory, chosen(inventory, exclude=["db"])) == everybody - {"db"}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (
            {"only": ["backnd"]},
            "find the container 'backnd': the inventory has none of that name; did you mean 'backend'?",
        ),
        ({"exclude": ["nothing"]}, "find the container 'nothing'"),
        ({"zones": ["dat"]}, "find the zone 'dat': the inventory has none of that name; did you mean 'data'?"),
        ({"only": ["db"], "exclude": ["404"]}, "none is left"),
    ],
)
def test_what_cannot_be_chosen(inventory: Inventory, wish: dict[str, list[str]], words: str) -> None:
    with pytest.raises(RefusedError) as caught:
        chosen(inventory, **wish)
    assert words in str(caught.value)


def test_what_is_needed_and_not_chosen_is_told_and_must_be_there(inventory: Inventory) -> None:
    selection = chosen(inventory, only=["backend"])
    assert selection is not None
    needed = selection.needs[401]
    assert {404, 410} <= needed
    assert "taken as found" in "\n".join(explained(selection, inventory))
    require_there(selection, inventory, needed | {401})
    with pytest.raises(RefusedError, match=r"backend needs redis \(410\), which does not exist") as caught:
        require_there(selection, inventory, needed - {410})
    assert "--only redis" in str(caught.value)


def test_nobody_needs_what_is_chosen_too(inventory: Inventory) -> None:
    everything = chosen(inventory, only=[one.name for one in inventory.containers])
    assert everything is not None and everything.needs == {}
