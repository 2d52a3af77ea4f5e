"""Each value is made once, whoever asks; what is slow holds up nobody else."""

import threading

import pytest

from zentoria_infra.materials.once import Once

WAIT = 20


def test_two_that_ask_at_once_get_one_value_and_the_slow_one_holds_up_nobody_else() -> None:
    slow, begun = threading.Event(), threading.Event()
    made: list[str] = []

    def make(key: str) -> object:
        made.append(key)
        if key == "slow":
            begun.set()
            assert slow.wait(WAIT)
        return object()

    once = Once(make)
    found: list[object] = []
    askers = [threading.Thread(target=lambda: found.append(once("slow"))) for _ in range(3)]
    for one in askers:
        one.start()
    assert begun.wait(WAIT)
    once("quick")
    slow.set()
    for one in askers:
        one.join(WAIT)
    assert len(found) == 3
    assert len(set(map(id, found))) == 1
    assert made == ["slow", "quick"]


def test_what_was_begun_beforehand_is_not_made_again_and_what_failed_is_tried_again_by_who_asks() -> None:
    tries: list[int] = []
    done = {number: threading.Event() for number in range(6)}
    broken = True

    def make(key: int) -> str:
        tries.append(key)
        done[key].set()
        if key == 3 and broken:
            raise ValueError("no such wheel")
        return f"made {key}"

    once = Once(make)
    once.begin(range(6), 2)
    for one in done.values():
        assert one.wait(WAIT)
    with pytest.raises(ValueError, match="no such wheel"):
        once(3)
    broken = False
    assert once(3) == "made 3"
    assert [once(number) for number in range(6)] == [f"made {number}" for number in range(6)]
    assert sorted(set(tries)) == list(range(6))
    assert [one for one in range(6) if tries.count(one) > 1] == [3]
