"""Whether a container can be snapshotted, as the lab's API says."""

from collections.abc import Callable
from typing import Any

import pytest

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.proxmox import Proxmox


@pytest.fixture
def made(node: Any, client: Callable[[], Proxmox]) -> Proxmox:
    node.root(
        "POST", "/nodes/pve/lxc", vmid=404, ostemplate="local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
        rootfs="local:1", pool="zentoria", hostname="db", unprivileged=1,
    )  # fmt: skip
    found = client()
    found.write.settle(404)
    return found


def test_a_container_on_a_dir_storage_cannot(made: Proxmox) -> None:
    assert made.observe.can_snapshot(404) is False


def test_one_that_is_not_there_is_an_error(made: Proxmox) -> None:
    with pytest.raises(ZentoriaError):
        made.observe.can_snapshot(499)


@pytest.mark.parametrize(("said", "able"), [(1, True), ("1", True), (True, True), (0, False), ("", False)])
def test_every_shape_of_a_truth_is_read(
    made: Proxmox, monkeypatch: pytest.MonkeyPatch, said: object, *, able: bool
) -> None:
    monkeypatch.setattr(made.observe, "_read", lambda *_, **__: {"hasFeature": said})
    assert made.observe.can_snapshot(404) is able
