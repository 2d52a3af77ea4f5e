"""Gates: one write a VMID and a few creates a storage, however many threads ask."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zentoria_infra.proxmox.gates import Gates

JOBS = st.lists(
    st.tuples(st.integers(400, 403), st.lists(st.sampled_from(["local", "fast", "slow"]), max_size=3)),
    min_size=1,
    max_size=24,
)


@settings(max_examples=40, deadline=None)
@given(JOBS, st.integers(1, 3))
def test_never_two_writes_on_a_vmid_nor_too_many_on_a_storage(jobs: list[tuple[int, list[str]]], width: int) -> None:
    gates = Gates(width)
    guard = threading.Lock()
    inside: Counter[object] = Counter()
    most: Counter[object] = Counter()
    done: list[int] = []

    def work(job: tuple[int, list[str]]) -> None:
        vmid, storages = job
        mine = [vmid, *set(storages)]
        with gates.vmid(vmid), gates.storages(storages):
            with guard:
                inside.update(mine)
                for one in mine:
                    most[one] = max(most[one], inside[one])
            threading.Event().wait(0.0005)
            with guard:
                inside.subtract(mine)
                done.append(vmid)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, jobs, timeout=30))
    assert sorted(done) == sorted(vmid for vmid, _ in jobs)
    for one, number in most.items():
        assert number <= (1 if isinstance(one, int) else width)


def test_an_error_opens_the_gate_again() -> None:
    gates = Gates(1)
    for _ in range(3):
        with pytest.raises(RuntimeError), gates.vmid(404), gates.storages(["local"]):
            raise RuntimeError
    with gates.vmid(404), gates.storages(["local"]):
        pass


def test_different_vmids_do_not_wait() -> None:
    gates = Gates()
    with gates.vmid(404), gates.vmid(405):
        pass


def test_width() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Gates(0)
