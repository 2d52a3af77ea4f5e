"""Turning the datacenter's firewall on: never without us in ``management``, and back off when we cannot come in.

Time is the test's own; the node is the lab's API, which a test closes for new connections while the switch is on.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxmox.proxmox_faulty_lab import FaultyLab
from tests.proxmox.proxmox_scripted_server import Reply, Seen, failure
from zentoria_infra.errors import PermissionDeniedError, RefusedError, UnreachableError
from zentoria_infra.firewall.config import Alias, Entry
from zentoria_infra.proxmox import errors
from zentoria_infra.proxmox.connection import Endpoint
from zentoria_infra.proxmox.reachable import (
    OWN_COMMENT,
    SITE_COMMENT,
    LockedOutError,
    Patience,
    TurnedOn,
    holds,
    own_address,
    turn_on,
)

OPTIONS = "/cluster/firewall/options"
MANAGEMENT = "/cluster/firewall/ipset/management"


class Time:
    """A clock that moves only when somebody sleeps; ``at`` does things then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0
        self.at: dict[int, Callable[[], object]] = {}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        self.at.get(self.slept, lambda: None)()


@pytest.fixture
def time() -> Time:
    return Time()


def _turn_on(faulty: FaultyLab, time: Time, management: tuple[str, ...] = ()) -> TurnedOn:
    return turn_on(faulty.proxmox, management, patience=Patience(connect=2), clock=time.clock, sleep=time.sleep)


def _is_on(faulty: FaultyLab) -> bool:
    return bool(faulty.other.get(OPTIONS).data.get("enable"))


def _members(faulty: FaultyLab) -> dict[str, str]:
    answer = faulty.other.get(MANAGEMENT)
    return {line["cidr"]: line.get("comment", "") for line in answer.data} if answer.status == 200 else {}


def _sets(seen: Seen, value: str) -> bool:
    return seen.method == "PUT" and seen.path == OPTIONS and seen.form.get("enable") == value


def _closed(faulty: FaultyLab, *, old_too: bool = False, forever: bool = False) -> None:
    """While the switch is on, nothing comes in on a connection that was made since, or with ``old_too`` on any."""
    mine = threading.local()  # the server has a thread a connection
    shut = [False]

    def hook(seen: Seen) -> Reply | None:
        closed = _is_on(faulty) or (forever and shut[0])
        shut[0] = shut[0] or closed
        if not hasattr(mine, "new"):
            mine.new = closed
        return Reply(drop=True) if closed and (mine.new or old_too) else None

    faulty.before.append(hook)


def test_it_is_on_already(faulty: FaultyLab, time: Time) -> None:
    faulty.other.put(OPTIONS, enable=1)
    faulty.calls()
    assert _turn_on(faulty, time, ("10.1.0.0/16",)) == TurnedOn(changed=False)
    assert faulty.calls() == [("GET", OPTIONS)]
    assert time.slept == 0
    assert _members(faulty) == {}


def test_it_is_turned_on(faulty: FaultyLab, time: Time) -> None:
    done = _turn_on(faulty, time)
    assert done == TurnedOn(True, "127.0.0.1", ("127.0.0.1",))
    assert _is_on(faulty)
    assert _members(faulty) == {"127.0.0.1": OWN_COMMENT}
    assert time.now - 1000 >= Patience().cycle, "not before the switch is in force can it be told"
    writes = [call for call in faulty.calls() if call[0] != "GET"]
    assert writes == [("POST", "/cluster/firewall/ipset"), ("POST", MANAGEMENT), ("PUT", OPTIONS)]


def test_new_connections_are_tried_until_the_switch_is_in_force(faulty: FaultyLab, time: Time) -> None:
    before = faulty.server.connections
    _turn_on(faulty, time)
    assert faulty.server.connections - before >= Patience().cycle / Patience().pause


@pytest.mark.parametrize(
    ("there", "management", "added"),
    [
        ((), ("10.1.0.0/16",), {"10.1.0.0/16": SITE_COMMENT, "127.0.0.1": OWN_COMMENT}),
        ((), ("127.0.0.0/8", "127.0.0.1/32"), {"127.0.0.0/8": SITE_COMMENT, "127.0.0.1": SITE_COMMENT}),
        ((), ("127.0.0.1/32", "127.0.0.1"), {"127.0.0.1": SITE_COMMENT}),
        ((Entry("127.0.0.0/8"),), (), {}),
        ((Entry("127.0.0.0/8"),), ("127.0.0.0/8",), {}),
        ((Entry("127.0.0.0/8"), Entry("127.0.0.0/24", nomatch=True)), (), {"127.0.0.1": OWN_COMMENT}),
        ((Entry("admins"),), (), {}),
        ((Entry("dc/Admins"),), (), {}),
        ((Entry("2001:db8::/32"), Entry("10.0.0.0/8")), (), {"127.0.0.1": OWN_COMMENT}),
    ],
)
def test_who_joins_management(
    faulty: FaultyLab, time: Time, there: tuple[Entry, ...], management: tuple[str, ...], added: dict[str, str]
) -> None:
    faulty.other.post("/cluster/firewall/aliases", name="Admins", cidr="127.0.0.0/16")
    if there:
        faulty.other.post("/cluster/firewall/ipset", name="management")
    for entry in there:
        assert faulty.other.post(MANAGEMENT, cidr=entry.cidr, nomatch=int(entry.nomatch)).status == 200
    done = _turn_on(faulty, time, management)
    assert done.changed and _is_on(faulty)
    assert set(done.added) == set(added)
    assert _members(faulty) == {**{entry.cidr: "" for entry in there}, **added}


@pytest.mark.parametrize(
    ("barred", "management"), [("127.0.0.1", ()), ("127.0.0.1", ("127.0.0.0/8",)), ("10.1.0.0/16", ("10.1.0.0/16",))]
)
def test_somebody_has_taken_us_out_of_management(
    faulty: FaultyLab, time: Time, barred: str, management: tuple[str, ...]
) -> None:
    """A ``nomatch`` is somebody's will: it is not turned over, and the switch stays off."""
    faulty.other.post("/cluster/firewall/ipset", name="management")
    faulty.other.post(MANAGEMENT, cidr=barred, nomatch=1)
    with pytest.raises(RefusedError, match=barred) as caught:
        _turn_on(faulty, time, management)
    assert "management" in caught.value.todo + caught.value.got
    assert not _is_on(faulty)
    assert not any(_sets(seen, "1") for seen in faulty.server.seen)


def test_somebody_takes_us_out_meanwhile(faulty: FaultyLab, time: Time) -> None:
    """What was written is read again before the switch is turned."""

    def remove(seen: Seen) -> Reply | None:
        if seen.method == "POST" and seen.path == MANAGEMENT:
            faulty.other.delete(f"{MANAGEMENT}/{seen.form['cidr']}")
            return Reply(200, {"data": None})
        return None

    faulty.after.append(remove)
    with pytest.raises(RefusedError, match=r"does not hold 127\.0\.0\.1"):
        _turn_on(faulty, time)
    assert not _is_on(faulty)


def test_somebody_changes_the_options_meanwhile(faulty: FaultyLab, time: Time) -> None:
    faulty.meanwhile("PUT", lambda: faulty.other.put(OPTIONS, policy_in="REJECT"))
    with pytest.raises(errors.ModifiedError):
        _turn_on(faulty, time)
    assert faulty.other.get(OPTIONS).data["policy_in"] == "REJECT"
    assert not _is_on(faulty)
    assert time.slept == 0


def test_without_the_right_nothing_is_done(faulty: FaultyLab, time: Time) -> None:
    ours = faulty.user(("/", "Sys.Audit"))
    with pytest.raises(PermissionDeniedError, match=r"Sys\.Modify on /"):
        turn_on(ours, clock=time.clock, sleep=time.sleep)
    assert not _is_on(faulty)


def test_locked_out_it_is_taken_back(faulty: FaultyLab, time: Time) -> None:
    _closed(faulty)
    with pytest.raises(LockedOutError) as caught:
        _turn_on(faulty, time)
    assert caught.value.taken_back
    assert not _is_on(faulty)
    assert "127.0.0.1" in caught.value.todo and "firewall.management" in caught.value.todo
    assert "has been turned off again" in caught.value.got
    assert time.now - 1000 == pytest.approx(Patience().after, abs=2)


@pytest.mark.parametrize(
    ("begins", "ends", "done"),
    [
        pytest.param(1003, 1012, 1012, id="in between"),
        pytest.param(1008, 1017, 1017, id="when the switch comes into force"),
    ],
)
def test_nothing_comes_in_for_a_while(faulty: FaultyLab, time: Time, begins: int, ends: int, done: int) -> None:
    """Shorter than our patience, and the last connection came about: that is no lock-out."""
    faulty.before.append(
        lambda seen: Reply(drop=True) if seen.path == "/version" and begins <= time.now < ends else None
    )
    assert _turn_on(faulty, time).changed
    assert _is_on(faulty)
    assert time.now == done


def test_locked_out_with_the_held_connection_cut_too(faulty: FaultyLab, time: Time) -> None:
    """Somebody else has turned it off: then what cannot be turned off again need not be."""
    _closed(faulty, old_too=True)
    time.at[14] = lambda: faulty.other.put(OPTIONS, enable=0)
    with pytest.raises(LockedOutError) as caught:
        _turn_on(faulty, time)
    assert caught.value.taken_back
    assert not _is_on(faulty)


def test_locked_out_for_good(faulty: FaultyLab, time: Time) -> None:
    _closed(faulty, old_too=True, forever=True)
    with pytest.raises(LockedOutError) as caught:
        _turn_on(faulty, time)
    assert not caught.value.taken_back
    assert "could not be turned off again" in caught.value.got
    assert "pve-firewall stop" in caught.value.todo and "127.0.0.1" in caught.value.todo
    assert _is_on(faulty)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("when", [1, 5])
def test_interrupted_it_is_taken_back(faulty: FaultyLab, time: Time, stop: type[BaseException], when: int) -> None:
    def interrupt() -> None:
        raise stop("now")

    time.at[when] = interrupt
    with pytest.raises(stop):
        _turn_on(faulty, time)
    assert not _is_on(faulty)
    assert [seen.form["enable"] for seen in faulty.server.seen if seen.method == "PUT"] == ["1", "0"]


def test_the_answer_of_the_switch_gets_lost(faulty: FaultyLab, time: Time) -> None:
    faulty.lose("PUT", carried_out=True)
    assert _turn_on(faulty, time).changed
    assert _is_on(faulty)


def test_the_switch_was_never_turned(faulty: FaultyLab, time: Time) -> None:
    faulty.lose("PUT", carried_out=False)
    with pytest.raises(UnreachableError):
        _turn_on(faulty, time)
    assert not _is_on(faulty)


@pytest.mark.parametrize("answer", [Reply(drop=True), failure(500, "internal error")], ids=["silence", "error"])
def test_it_is_not_known_whether_it_was_turned(faulty: FaultyLab, time: Time, answer: Reply) -> None:
    """The answer got lost, and nothing tells how it stands: then it is turned off."""
    faulty.lose("PUT", carried_out=True)
    state = {"turned": False}

    def hook(seen: Seen) -> Reply | None:
        state["turned"] = state["turned"] or _sets(seen, "1")
        return answer if seen.method == "GET" and state["turned"] else None

    faulty.before.append(hook)
    with pytest.raises(errors.LostAnswerError):
        _turn_on(faulty, time)
    assert not _is_on(faulty)


def test_a_refusal_is_told_as_it_is(faulty: FaultyLab, time: Time) -> None:
    faulty.before.append(lambda seen: failure(500, "cluster not ready - no quorum?") if _sets(seen, "1") else None)
    with pytest.raises(errors.ApiError, match="no quorum"):
        _turn_on(faulty, time)
    assert not any(_sets(seen, "0") for seen in faulty.server.seen), "nothing was turned on that must be taken back"


# -- whether a set holds an address ----------------------------------------------------------------------------------

ALIASES = (Alias("Admins", "10.1.0.0/16"), Alias("host", "10.1.0.7"))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], False),
        (["10.1.0.7"], True),
        (["10.1.0.6"], False),
        (["10.1.0.0/24", "!10.1.0.7"], False),
        (["!10.1.0.0/24", "10.1.0.7"], True),
        (["10.0.0.0/8", "!10.1.0.0/16", "10.1.0.0/24"], True),
        (["admins"], True),
        (["dc/ADMINS", "!host"], False),
        (["gone"], False),
        (["gone", "10.1.0.0/16"], True),
        (["10.1.0.9/24"], True),
        (["::/1", "fe80::/10"], False),
    ],
)
def test_holds(entries: list[str], expected: bool) -> None:
    members = [Entry(text.removeprefix("!"), text.startswith("!")) for text in entries]
    assert holds(members, ALIASES, "10.1.0.7") is expected


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32), st.booleans()), max_size=6), st.integers(0, 255))
def test_holds_as_a_list_of_bits_would(rows: list[tuple[int, int, bool]], last: int) -> None:
    """The member with the longest common beginning decides."""
    unique = {(number >> (32 - prefix), prefix): (number, prefix, no) for number, prefix, no in rows}
    members = [Entry(f"10.0.0.{number}/{prefix}", no) for number, prefix, no in unique.values()]
    fitting = [(prefix, not no) for (bits, prefix), (_, _, no) in unique.items() if bits == last >> (32 - prefix)]
    assert holds(members, (), f"10.0.0.{last}") is max(fitting, default=(0, False))[1]


def test_own_address(faulty: FaultyLab) -> None:
    assert own_address(faulty.proxmox.endpoint) == "127.0.0.1"


def test_own_address_without_a_way(unused_port: int) -> None:
    with pytest.raises(UnreachableError) as caught:
        own_address(Endpoint("127.0.0.1", "pve1", unused_port))
    assert caught.value.on == f"127.0.0.1:{unused_port}"
    assert caught.value.todo


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound and not listening: refused for as long as the test runs
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
