"""A lab whose node is closed as Proxmox closes it: asked for at its start, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from zentoria_infra.errors import LabError
from zentoria_infra.lab import control, registry
from zentoria_infra.lab.control import Wanted
from zentoria_infra.lab.registry import Lab, Ports


def test_a_lab_stays_strict_and_one_that_runs_does_not_become_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZENTORIA_LAB_ROOT", str(tmp_path))
    new, _ = control._choose("t-strict", None, Wanted(guests="none"))
    assert new.strict, "as Proxmox, unless somebody says otherwise"
    plain, _ = control._choose("t-strict", new, Wanted(guests="none", strict=False))
    kept, _ = control._choose("t-strict", plain, Wanted(guests="none"))
    assert not kept.strict
    strict, _ = control._choose("t-strict", plain, Wanted(guests="none", strict=True))
    again, _ = control._choose("t-strict", strict, Wanted(guests="none"))
    assert [one.strict for one in (plain, strict, again)] == [False, True, True]
    again.save()
    assert registry.find("t-strict") == again
    control._same(strict, Wanted(strict=True))
    control._same(strict, Wanted())
    with pytest.raises(LabError, match="other settings"):
        control._same(plain, Wanted(strict=True))


def test_a_lab_of_before_is_not_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENTORIA_LAB_ROOT", str(tmp_path))
    Lab("t-strict", "none", Ports()).save()
    file = registry.root_of("t-strict") / "lab.json"
    file.write_text(file.read_text().replace(',\n "strict": false', ""))
    found = registry.find("t-strict")
    assert found is not None
    assert not found.strict
