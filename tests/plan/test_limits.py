"""What a run may do unasked."""

import pytest

from zentoria_infra.errors import RefusedError
from zentoria_infra.plan.limits import Allow, lost, require_possible
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.model.parking import Parking


def one(vmid: int, action: Action = Action.NONE, **more: object) -> ContainerPlan:
    return ContainerPlan(vmid, f"c{vmid}", f"zentoria-c{vmid}", "pve", action, "a reason", **more)  # type: ignore[arg-type]


def plan(restarts: int = 0, replaced: int = 0, quiet: int = 0, new: int = 0) -> Plan:
    found = [one(400 + n, Action.RESTART, restart=True) for n in range(restarts)]
    found += [one(500 + n, Action.REPLACE, start=True, parking=Parking(900, back=("mp0",))) for n in range(replaced)]
    found += [one(600 + n) for n in range(quiet)] + [one(700 + n, Action.CREATE, start=True) for n in range(new)]
    return Plan(tuple(found))


@pytest.mark.parametrize(
    ("found", "allow", "limit", "refused"),
    [
        (plan(quiet=3), [], 30, ""),
        (plan(new=17), [], 30, ""),
        (plan(restarts=3, quiet=7), [], 30, ""),
        (plan(restarts=4, quiet=6), [], 30, "--allow restarts"),
        (plan(restarts=4, quiet=6), [], 40, ""),
        (plan(restarts=4, quiet=6), [Allow.RESTARTS], 30, ""),
        (plan(restarts=1), [], 30, ""),
        (plan(restarts=2), [], 99, "--allow restarts"),
        (plan(restarts=2), [], 100, ""),
        (plan(restarts=2, new=15), [], 30, "--allow restarts"),
        (plan(replaced=1, quiet=9), [], 100, "--allow replace"),
        (plan(replaced=1, quiet=9), [Allow.RESTARTS], 100, "--allow replace"),
        (plan(replaced=1, quiet=9), [Allow.REPLACE], 30, ""),
        (plan(replaced=4, quiet=6), [Allow.REPLACE], 30, "--allow restarts"),
        (plan(replaced=2, restarts=2, quiet=6), [], 30, "--allow replace --allow restarts"),
    ],
)
def test_limits(found: Plan, allow: list[Allow], limit: int, refused: str) -> None:
    if not refused:
        require_possible(found, allow, restarts=limit)
        return
    with pytest.raises(RefusedError) as caught:
        require_possible(found, allow, restarts=limit)
    assert caught.value.todo.endswith(f"allow it with {refused}")


def test_a_selection_counts_against_the_whole_stack() -> None:
    require_possible(plan(restarts=2), of=17)
    with pytest.raises(RefusedError, match=r"2 of 6 containers would be restarted at once \(c400, c401\)"):
        require_possible(plan(restarts=2), of=6)


def test_what_is_not_ours_comes_before_what_goes_too_far_and_no_allowing_helps() -> None:
    found = Plan((one(400, Action.REFUSE), *plan(replaced=1)))
    with pytest.raises(RefusedError, match="is not Zentoria's") as caught:
        require_possible(found, list(Allow))
    assert "--allow" not in str(caught.value)


def test_the_question_names_what_will_be_lost() -> None:
    words = "\n".join(lost(plan(restarts=2, replaced=1)))
    assert "c500 (500) is destroyed and made again; its root file system will be lost, the data on mp0 is kept" in words
    assert "c400, c401 will be restarted" in words
    assert list(lost(plan(quiet=2, new=3))) == []
