"""The first installation goes without an fsync for each file; what a crash may have emptied is installed again."""

from pathlib import Path

import pytest

from tests.guest.guest_world import Guest, outcomes
from zentoria_infra.guest.state import Packages, Unit

UNSAFE = "-o Dpkg::Options::=--force-unsafe-io"
WANTED = Packages(id="p", names=("a", "b=2"))
RUNNING = "Id=a.service\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n"


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.fixture
def fresh(guest: Guest) -> Guest:
    """Its dpkg has `base`, and what apt-get was told to install: `a`, `b`, and `liba` that they need."""
    query = "base\\tii \\t1\\n"
    more = "a\\tii \\t1\\nb\\tii \\t2\\nliba:amd64\\tii \\t3\\n"
    guest.fake("dpkg-query", f'printf "{query}"; [ -e {guest.root}/done ] && printf "{more}"; exit 0')
    guest.fake("dpkg", "exit 0")
    guest.fake("apt-get", f'[ "$1" = install ] && touch {guest.root}/done; exit 0')
    return guest


def installs(guest: Guest) -> list[str]:
    return [line for line in guest.commands() if line.startswith("apt-get install")]


def restarts_the_machine(guest: Guest) -> None:
    (guest.root / "boot_id").write_text("second\n")


def test_all_is_on_the_disk_before_the_first_installation_counts_as_done(fresh: Guest) -> None:
    fresh.run(WANTED)
    assert UNSAFE in installs(fresh)[0]
    (sync,) = [at for at, line in enumerate(fresh.commands()) if line.startswith("sync -f /")]
    assert sync > fresh.commands().index(installs(fresh)[0])
    restarts_the_machine(fresh)
    assert outcomes(fresh.run(WANTED, mode="check")) == {"p": "unchanged"}


def test_what_a_loss_of_power_may_have_emptied_is_seen_and_installed_again(fresh: Guest) -> None:
    fresh.fake("sync", "exit 1")  # the machine went down before all was on the disk
    assert fresh.run(WANTED).failed == "p"
    fresh.fake("sync", "exit 0")
    restarts_the_machine(fresh)
    assert outcomes(fresh.run(WANTED, mode="check")) == {"p": "would-change"}
    report = fresh.run(WANTED)
    assert "install 3 again" in report.resources[0].detail
    assert installs(fresh)[-1].endswith(" a b=2 liba:amd64")
    assert "--reinstall" in installs(fresh)[-1]
    assert outcomes(fresh.run(WANTED, mode="check")) == {"p": "unchanged"}


def test_a_killed_run_loses_nothing_and_the_next_one_ends_it(fresh: Guest) -> None:
    fresh.fake("sync", "exit 1")
    assert fresh.run(WANTED).failed == "p"
    fresh.fake("sync", "exit 0")
    assert outcomes(fresh.run(WANTED)) == {"p": "unchanged"}
    restarts_the_machine(fresh)
    assert outcomes(fresh.run(WANTED)) == {"p": "unchanged"}
    assert len(installs(fresh)) == 1


def test_where_a_service_of_ours_has_started_every_file_is_synced(fresh: Guest) -> None:
    fresh.fake("systemctl", f"case $1 in show) printf '{RUNNING}';; is-failed) exit 1;; esac")
    unit = Unit(id="u", name="a.service", reads=("p",))
    fresh.run(WANTED, unit)
    (fresh.root / "done").unlink()
    fresh.run(WANTED, unit)
    assert [UNSAFE in line for line in installs(fresh)] == [True, False]


def test_units_that_shall_be_masked_are_masked_in_one_call(guest: Guest) -> None:
    units = [Unit(id=name, name=name, running=False, enabled=False, masked=True) for name in ("x.timer", "y.service")]
    gone = "Id=x\\nLoadState=loaded\\nActiveState=inactive\\nUnitFileState=enabled\\n"
    guest.fake("systemctl", f"case $1 in show) printf '{gone}\\n{gone}';; esac")
    assert outcomes(guest.run(*units)) == {"x.timer": "changed", "y.service": "changed"}
    assert [line for line in guest.commands() if " mask " in line] == ["systemctl mask x.timer y.service"]
