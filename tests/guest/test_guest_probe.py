"""The prober between real network namespaces: what it finds out, and that it leaves nothing behind."""

from __future__ import annotations

import ast
import contextlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.probe_world import RUN, ProbeGuest, ProbeWorld, probe_world
from zentoria_infra.guest import bundle
from zentoria_infra.guest.probe import packets
from zentoria_infra.lab.network import netns

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
ANY = str(ipaddress.IPv4Address(0))
ADDRESSES = st.ip_addresses(v=4).map(str)
PORTS = st.integers(0, 65535)
SYNS = st.tuples(ADDRESSES, ADDRESSES, PORTS, PORTS, st.integers(0, 2**32 - 1))


@pytest.fixture
def world() -> Iterator[ProbeWorld]:
    with probe_world("a", "b", "c") as found:
        yield found


def service(guest: ProbeGuest, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A service of the guest that holds a port."""
    one = netns.socket_in(guest.netns, kind=kind)
    one.bind((address, port))
    if kind == socket.SOCK_STREAM:
        one.listen()
    return one


def test_the_bundle_has_every_module_after_those_it_imports() -> None:
    folder = resources.files("zentoria_infra.guest") / "probe"
    names = {path.name.removesuffix(".py") for path in folder.iterdir() if path.name.endswith(".py")} - {"__init__"}
    assert set(bundle.PROBER) == names
    for place, name in enumerate(bundle.PROBER):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                wanted = [node.module] if node.module else [one.name for one in node.names]
                assert set(wanted) <= set(bundle.PROBER[:place]), name
            elif isinstance(node, ast.Import):
                assert {one.name for one in node.names} <= sys.stdlib_module_names


@given(packet=SYNS)
def test_a_syn_reads_back_and_its_checksum_holds(packet: packets.Syn) -> None:
    made = packets.syn(packet)
    assert packets.read_syn(made) == packet
    pseudo = made[12:20] + b"\0\x06" + (20).to_bytes(2, "big")
    assert packets.checksum(pseudo + made[20:]) == 0
    assert packets.read_datagram(made) is None


@given(data=st.binary(max_size=80))
def test_anything_may_come_in(data: bytes) -> None:
    for packet in (data, b"\x45" + data, bytes(9).join([b"\x4f", data]), packets.syn(("1.2.3.4", "1.2.3.5", 1, 2, 3))):
        for length in range(len(packet)):
            assert packets.read_syn(packet[:length]) is None or length >= 34
            assert packets.read_token(packets.read_datagram(packet[:length]) or b"", RUN) is None


@given(number=st.integers(0, 2**32 - 1))
def test_a_token_is_read_by_its_own_run_only(number: int) -> None:
    data = packets.token(RUN, number)
    assert packets.read_token(data, RUN) == number
    assert packets.read_token(data, RUN[::-1]) is None
    assert packets.read_token(data + b"x", RUN) is None


@needs_root
@pytest.mark.root
def test_what_a_filter_lets_through_is_told_from_what_it_drops(world: ProbeWorld) -> None:
    a, b = world.guests["a"], world.guests["b"]
    world.filter(f"ip saddr {a.address} ip daddr {b.address} tcp dport {{ 80, 81 }} accept", "udp dport 53 accept")
    assert b.listen(("tcp", 80), ("tcp", 5432), ("udp", 53), ("udp", 161)) == {"held": [], "failed": [], "sniffing": ""}
    targets = [(b, "tcp", 80), (b, "tcp", 81), (b, "tcp", 5432), (b, "udp", 53), (b, "udp", 161)]
    found = a.probe(*targets, ("203.0.113.1", "tcp", 80))["results"]
    assert found == {
        "0": "connected",
        "1": "refused",  # let through, and nobody listens there
        "2": "silent",
        "3": "connected",
        "4": "silent",
        "5": "unreachable",  # the router has no way to it, and says so
    }
    assert b.ask("collect") == {"seen": [3]}
    assert a.pids() == b.pids() == []


@needs_root
@pytest.mark.root
def test_what_cannot_leave_the_guest_is_told_apart(world: ProbeWorld) -> None:
    a = world.guests["a"]
    subprocess.run(a.command("ip", "route", "del", "default"), check=True)
    assert a.probe(("203.0.113.1", "tcp", 80), ("203.0.113.1", "udp", 53))["results"] == {
        "0": "local: Network is unreachable",
        "1": "local: Network is unreachable",
    }


@needs_root
@pytest.mark.root
def test_a_router_tells_that_something_left_although_it_goes_no_further(world: ProbeWorld) -> None:
    a, b = world.guests["a"], world.guests["b"]
    b.listen(("tcp", 80), ("udp", 53))
    targets = ((b, "tcp", 80), (b, "udp", 53))
    assert a.probe(*targets, hops=1)["results"] == {"0": "unreachable", "1": "unreachable"}
    assert a.probe(*targets, hops=2)["results"] == {"0": "connected", "1": "connected"}
    assert b.ask("collect") == {"seen": [1]}


@needs_root
@pytest.mark.root
def test_a_neighbour_that_is_not_there_is_no_router(world: ProbeWorld) -> None:
    subprocess.run(world.guests["a"].command("sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=50"), check=True)
    found = world.guests["a"].probe(("10.77.1.99", "tcp", 80), ("10.77.1.98", "udp", 53), wait=3.0)["results"]
    assert found == {"0": "local: No route to host", "1": "local: No route to host"}


@needs_root
@pytest.mark.root
def test_services_keep_their_ports(world: ProbeWorld) -> None:
    a, b = world.guests["a"], world.guests["b"]
    with (
        service(b, ANY, 80),
        service(b, "127.0.0.1", 81) as inner,
        service(b, ANY, 53, socket.SOCK_DGRAM) as datagrams,
    ):
        report = b.listen(("tcp", 80), ("tcp", 81), ("udp", 53))
        # What listens on loopback only is not reached from outside: a listener stands beside it.
        assert report == {"held": [["tcp", b.address, 80], ["udp", b.address, 53]], "failed": [], "sniffing": ""}
        found = a.probe((b, "tcp", 80), (b, "tcp", 81), (b, "udp", 53))["results"]
        assert found == {"0": "connected", "1": "connected", "2": "silent"}
        # The service does not answer to a datagram of ours, yet it is seen to have come in.
        assert b.ask("collect") == {"seen": [2]}
        inner.setblocking(False)
        with pytest.raises(BlockingIOError):
            inner.accept()
        datagrams.setblocking(False)
        assert packets.read_token(datagrams.recv(100), RUN) == 2
    # The ports are free at once, also for a service that does not reuse addresses.
    service(b, b.address, 81).close()


@needs_root
@pytest.mark.root
def test_an_address_that_the_guest_lacks_is_named(world: ProbeWorld) -> None:
    b = world.guests["b"]
    report = b.ask("listen", listen=[["tcp", "10.77.9.9", 80]], syns=[], seconds=20)
    assert report["failed"] == [["tcp", "10.77.9.9", 80, "Cannot assign requested address"]]
    b.ask("collect")


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("checked", [False, True])
def test_a_forged_source_is_seen_unless_it_is_dropped(world: ProbeWorld, checked: bool) -> None:
    a, b, c = (world.guests[name] for name in "abc")
    rules = [f"ip saddr {b.address} tcp dport 80 accept"]
    if checked:
        rules.insert(0, f'iifname "va" ip saddr != {a.address} drop')
    world.filter(*rules)
    forged = [1, [b.address, c.address, 1111, 80, 77]]
    control = [2, [b.address, c.address, 1111, 80, 78]]
    c.listen(("tcp", 80), syns=[forged, control])
    assert a.probe(syns=[forged])["sent"] == {"1": ""}
    assert b.probe(syns=[control])["sent"] == {"2": ""}
    assert c.ask("collect") == {"seen": [2] if checked else [1, 2]}


@needs_root
@pytest.mark.root
def test_nothing_is_left_when_it_is_told_to_end(world: ProbeWorld) -> None:
    a, b = world.guests["a"], world.guests["b"]
    before = b.sockets()
    b.listen(*(("tcp", port) for port in range(1000, 1100)), *(("udp", port) for port in range(1000, 1010)))
    (pid,) = b.pids()
    # Nothing of the command that began it, and no file.
    held = {os.readlink(f"/proc/{pid}/fd/{name}").partition("[")[0] for name in os.listdir(f"/proc/{pid}/fd")}
    assert held == {"socket:", "anon_inode:", "/dev/null"}
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)
    assert b.sockets() != before
    found = a.probe(*((b, "tcp", port) for port in range(1000, 1100)))["results"]
    assert set(found.values()) == {"connected"}
    b.ask("collect")
    assert b.pids() == a.pids() == []
    assert b.sockets() == before
    assert b.ask("collect") == {"error": "the listeners are gone: they reached their deadline, or were ended"}


@needs_root
@pytest.mark.root
def test_listeners_end_at_their_deadline(world: ProbeWorld) -> None:
    b = world.guests["b"]
    b.listen(("tcp", 80), seconds=1)
    with netns.socket_in(b.netns) as client:
        client.settimeout(10)
        client.connect((b.address, 80))
        # Whoever is connected sees the end.
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert b.pids() == []


@needs_root
@pytest.mark.root
def test_a_later_run_takes_over(world: ProbeWorld) -> None:
    b = world.guests["b"]
    b.listen(("tcp", 80))
    (first,) = b.pids()
    assert b.listen(("tcp", 80), run="ffffffffffffffff") == {"held": [], "failed": [], "sniffing": ""}
    (second,) = b.pids()
    assert first != second
    assert b.ask("collect") == {"error": "another verification has taken over in this guest"}
    assert b.ask("collect", run="ffffffffffffffff") == {"seen": []}


@needs_root
@pytest.mark.root
def test_only_root_gives_orders(world: ProbeWorld) -> None:
    b = world.guests["b"]
    b.listen(("tcp", 80))
    with netns.socket_in(b.netns, socket.AF_UNIX) as line:
        line.settimeout(10)
        child = os.fork()
        if child == 0:
            said = b"never asked"
            with contextlib.suppress(BaseException):
                os.setuid(65534)
                line.connect("\0zentoria-probe")
                said = b""
                line.send(b'{"do": "stop"}\n')
                said = line.recv(9)
            os._exit(bool(said))  # it was hung up without a word
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b.ask("collect") == {"seen": []}


@needs_root
@pytest.mark.root
def test_more_probes_than_may_be_under_way_all_end(world: ProbeWorld) -> None:
    a, b = world.guests["a"], world.guests["b"]
    world.filter("tcp dport 100-149 accept")
    b.listen(*(("tcp", port) for port in range(100, 200)))
    targets = [[port, "tcp", b.address, port, 0.3, 0] for port in range(100, 200)]
    found = a.ask("probe", targets=targets, syns=[], at_once=7)["results"]
    assert found == {str(port): "connected" if port < 150 else "silent" for port in range(100, 200)}
    b.ask("collect")


@needs_root
@pytest.mark.root
def test_a_prober_that_is_killed_leaves_nothing(world: ProbeWorld) -> None:
    a, b = world.guests["a"], world.guests["b"]
    world.filter()
    text = b'{"version":1,"mode":"probe","run":"%s","syns":[],"at_once":9,"targets":[[1,"tcp","%s",80,60,0]]}' % (
        RUN.encode(),
        b.address.encode(),
    )
    with subprocess.Popen(
        a.command(*bundle.agent_argv()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        assert running.stdin is not None
        running.stdin.write(bundle.prober() + b"%d\n" % len(text) + text)
        running.stdin.flush()
        while not any(line.startswith("tcp") for line in a.sockets()):
            assert running.poll() is None
        running.kill()
    assert a.pids() == []
    assert not any(line.startswith(("tcp", "udp")) for line in a.sockets())


@pytest.mark.parametrize("request_", [{"version": 2}, {"version": 1, "mode": "sing"}, {"version": 1}, {}])
def test_a_wrong_request_is_answered_with_words(request_: dict[str, object]) -> None:
    text = json.dumps(request_).encode()
    done = subprocess.run(
        bundle.agent_argv(),
        input=bundle.prober() + b"%d\n" % len(text) + text,
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert json.loads(done.stdout)["error"]
    assert done.stderr == b""
