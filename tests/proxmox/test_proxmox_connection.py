"""Calls: who we are, what errors become, what is sent again and what is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.proxmox.proxmox_pki import FAST
from tests.proxmox.proxmox_scripted_server import Reply, data, failure
from zentoria_infra.errors import ApiError, AuthError, PermissionDeniedError, UnreachableError
from zentoria_infra.proxmox import errors
from zentoria_infra.proxmox.connection import ApiToken, Connection, Endpoint, Password, Repeat, RetryPolicy
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.session import RENEW_AFTER, TicketAuth

Connect = Callable[..., Connection]
CONFIG = "/nodes/{node}/lxc/{vmid}/config"


def test_token(connection: Connection) -> None:
    assert connection.call("GET", "/version")["version"].startswith("9")


def test_wrong_token_is_not_asked_twice(connect: Connect, endpoint: Endpoint, fakepve: Any) -> None:
    bad = connect(endpoint, ApiToken("root@pam", "zentoria", Secret("wrong-one")))
    with pytest.raises(AuthError) as caught:
        bad.call("GET", "/version")
    assert len(fakepve.requests) == 1
    assert "token" in caught.value.todo


def test_wrong_password(connect: Connect, endpoint: Endpoint) -> None:
    bad = connect(endpoint, Password("root@pam", Secret("canary-wrong")))
    with pytest.raises(AuthError, match="authentication failure") as caught:
        bad.call("GET", "/version")
    assert "canary" not in str(caught.value)


def test_password_writes_with_csrf_token(connect: Connect, endpoint: Endpoint, fakepve: Any) -> None:
    fakepve.add_ct(404, "db")
    ours = connect(endpoint, Password("root@pam", Secret("secret")))
    ours.call("PUT", CONFIG, {"memory": 768}, node="pve1", vmid=404)
    assert ours.call("GET", CONFIG, node="pve1", vmid=404)["memory"] == 768
    logins = [path for method, path, _ in fakepve.requests if path.endswith("/access/ticket")]
    assert len(logins) == 1


def test_revoked_ticket_is_renewed_once(connect: Connect, endpoint: Endpoint, fakepve: Any) -> None:
    ours = connect(endpoint, Password("root@pam", Secret("secret")))
    ours.call("GET", "/version")
    fakepve.revoke_tickets()
    assert ours.call("GET", "/version")
    fakepve.ticket_ttl = -1  # every new ticket is refused as well: one renewal, then the error
    fakepve.revoke_tickets()
    before = len(fakepve.requests)
    with pytest.raises(AuthError):
        ours.call("GET", "/version")
    assert [path.rpartition("/")[2] for _, path, _ in fakepve.requests[before:]] == ["version", "ticket", "version"]


def test_old_ticket_is_renewed_before_it_expires() -> None:
    now = 0.0
    made: list[Secret] = []

    def login() -> tuple[Secret, Secret]:
        made.append(Secret(f"ticket-{len(made)}"))
        return made[-1], Secret("csrf")

    auth = TicketAuth(login, verify=True, timeout=1, clock=lambda: now)
    assert auth.current() == auth.current() == made[0]
    now = RENEW_AFTER
    assert auth.current() == made[1]
    auth.forget(made[0])  # a slow thread reports the old one: the new one stays
    assert auth.current() == made[1]


def test_second_factor_is_explained(connect: Connect, endpoint: Endpoint, fakepve: Any) -> None:
    fakepve.tfa = True
    with pytest.raises(AuthError, match="second factor") as caught:
        connect(endpoint, Password("root@pam", Secret("secret"))).call("GET", "/version")
    assert "token" in caught.value.todo


def test_forbidden_names_path_and_privilege(connect: Connect, endpoint: Endpoint, fakepve: Any) -> None:
    fakepve.apitokens["zentoria@pve!up"] = "secret-of-it"
    fakepve.grant("zentoria@pve", "/pool/other", "VM.Audit")
    fakepve.add_ct(404, "db")
    ours = connect(endpoint, ApiToken("zentoria@pve", "up", Secret("secret-of-it")))
    with pytest.raises(PermissionDeniedError, match=r"/vms/404, VM\.Audit") as caught:
        ours.call("GET", CONFIG, node="pve1", vmid=404)
    assert caught.value.status == 403


def test_bad_parameters_keep_their_names(connection: Connection, fakepve: Any) -> None:
    fakepve.add_ct(404, "db")
    with pytest.raises(ApiError) as caught:
        connection.call("PUT", CONFIG, {"memory": "lots"}, node="pve1", vmid=404)
    assert caught.value.status == 400
    assert list(caught.value.errors) == ["memory"]
    assert "memory:" in str(caught.value)


def test_missing_container(connection: Connection) -> None:
    with pytest.raises(errors.MissingError, match=r"404\.conf"):
        connection.call("GET", CONFIG, node="pve1", vmid=404)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (500, "can't lock file '/run/lock/lxc/pve-config-404.lock' - got timeout", errors.LockBusyError),
        (595, "No route to host", errors.NotSentError),
    ],
)
def test_what_was_not_carried_out_is_sent_again(
    connection: Connection, fakepve: Any, status: int, message: str, kind: type[Exception]
) -> None:
    fakepve.add_ct(404, "db")
    path = "/nodes/pve1/lxc/404/config"
    fakepve.fail("PUT", path, status=status, message=message, times=2)
    connection.call("PUT", CONFIG, {"memory": 1024}, node="pve1", vmid=404)
    assert fakepve.guest(404).config["memory"] in (1024, "1024")
    assert connection.stats.by_path() == {"PUT /nodes/{node}/lxc/{vmid}/config": 3}
    fakepve.fail("PUT", path, status=status, message=message)
    with pytest.raises(kind):
        connection.call("PUT", CONFIG, {"memory": 1024}, node="pve1", vmid=404)
    assert connection.stats.total == 3 + FAST.attempts


@pytest.mark.parametrize("message", ["CT is locked (backup)", "some internal error", "unable to shrink disk size"])
def test_what_would_fail_again_is_said_at_once(connection: Connection, fakepve: Any, message: str) -> None:
    fakepve.add_ct(404, "db")
    fakepve.fail("PUT", "/nodes/pve1/lxc/404/config", status=500, message=message)
    with pytest.raises(ApiError) as caught:
        connection.call("PUT", CONFIG, {"memory": 1024}, repeat=Repeat.SAFE, node="pve1", vmid=404)
    assert message in str(caught.value)
    assert connection.stats.total == 1


def test_held_lock_of_a_backup_says_so(connection: Connection, fakepve: Any) -> None:
    fakepve.add_ct(404, "db", lock="backup")
    with pytest.raises(errors.HeldLockError, match=r"locked \(backup\)") as caught:
        connection.call("PUT", CONFIG, {"memory": 1024}, node="pve1", vmid=404)
    assert "pct unlock" in caught.value.todo


def test_lost_quorum_is_said_at_once(connection: Connection, fakepve: Any) -> None:
    fakepve.add_ct(404, "db")
    fakepve.lose_quorum()
    with pytest.raises(ApiError, match="no quorum") as caught:
        connection.call("PUT", CONFIG, {"memory": 1024}, node="pve1", vmid=404)
    assert "quorum" in caught.value.todo
    assert connection.stats.total == 1
    assert connection.call("GET", "/version")


def test_node_that_is_down(connection: Connection, fakepve: Any) -> None:
    fakepve.add_node("pve2")
    fakepve.set_node_offline("pve2")
    with pytest.raises(UnreachableError, match="595 No route to host"):
        connection.call("GET", "/nodes/{node}/status", node="pve2", repeat=Repeat.SAFE)


def test_flaky_network_is_survived_by_reads(endpoint: Endpoint, token: ApiToken, fakepve: Any) -> None:
    connection = Connection(endpoint, token, retry=RetryPolicy(attempts=50, first_wait=0, max_wait=0))
    fakepve.flaky_network(drop_rate=0.3, seed=7)
    for _ in range(20):
        assert connection.call("GET", "/version", repeat=Repeat.SAFE)
    assert connection.stats.total > 20
    connection.close()


def test_lost_answer_of_a_write_is_not_sent_again(scripted_connection: Any) -> None:
    connection, server = scripted_connection(lambda seen: Reply(drop=True))
    with pytest.raises(errors.LostAnswerError, match="the connection broke"):
        connection.call("POST", "/nodes/{node}/lxc", {"vmid": 404}, node="pve1")
    assert len(server.seen) == 1
    with pytest.raises(errors.LostAnswerError):
        connection.call("GET", "/version", repeat=Repeat.SAFE)
    assert len(server.seen) == 1 + FAST.attempts


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_errors_are_repeated_for_reads_only(scripted_connection: Any, status: int) -> None:
    replies = [Reply(status), data("fine")]
    connection, server = scripted_connection(lambda seen: replies.pop(0))
    assert connection.call("GET", "/version", repeat=Repeat.SAFE) == "fine"
    replies = [Reply(status)]
    with pytest.raises(errors.TransientError):
        connection.call("POST", "/pools", {"poolid": "x"})
    assert len(server.seen) == 3


def test_nobody_listens(connect: Connect) -> None:
    connection = connect(Endpoint("127.0.0.1", "pve1", port=1), ApiToken("a@pam", "b", Secret("canary-secret")))
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1.*refused") as caught:
        connection.call("GET", "/version")
    assert caught.value.exit_code == 4
    assert "host and port" in caught.value.todo
    assert caught.value.got.startswith("Failed to establish a new connection"), "no names of Python classes"


def test_a_name_that_is_none(connect: Connect) -> None:
    endpoint = Endpoint("pve.invalid", "pve1")
    connection = connect(endpoint, ApiToken("a@pam", "b", Secret("canary-secret")))
    with pytest.raises(errors.NotSentError, match=r"Failed to resolve 'pve\.invalid'") as caught:
        connection.call("GET", "/version")
    assert caught.value.got.startswith("Failed to resolve")


def test_read_timeout_is_waited_for_once(scripted_connection: Any) -> None:
    def slow(seen: Any) -> Reply:
        time.sleep(0.5)
        return data(None)

    connection, server = scripted_connection(slow, read=0.1)
    with pytest.raises(errors.AnswerTimeoutError, match="time limit"):
        connection.call("GET", "/version", repeat=Repeat.SAFE)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(200, raw=b"<html>router</html>"), "not JSON"),
        (Reply(200, ["x"]), "without `data`"),
        (Reply(302, headers={"Location": "https://elsewhere.invalid/"}), "redirect to https://elsewhere"),
    ],
)
def test_not_a_proxmox(scripted_connection: Any, reply: Reply, text: str) -> None:
    connection, _ = scripted_connection(lambda seen: reply)
    with pytest.raises(UnreachableError, match=text) as caught:
        connection.call("GET", "/version")
    assert "is that a Proxmox VE API" in caught.value.todo


def test_parameters_and_path_arrive_as_they_are(scripted_connection: Any) -> None:
    connection, server = scripted_connection(lambda seen: data(None))
    connection.call("DELETE", "/nodes/{node}/lxc/{vmid}", {"purge": True, "force": None}, node="pve1", vmid=404)
    member = "/nodes/{node}/lxc/{vmid}/firewall/ipset/{ipset}/{cidr}"
    path = {"node": "pve1", "vmid": 404, "ipset": "x", "cidr": "10.0.0.0/24"}
    connection.call("PUT", member, {"enable": False, "text": "ä;b\nc&d"}, **path)
    delete, put = server.seen
    assert (delete.path, delete.form) == ("/nodes/pve1/lxc/404", {"purge": "1"})
    assert "Content-Length" not in delete.headers or delete.headers["Content-Length"] == "0"
    assert (put.path, put.form) == (
        "/nodes/pve1/lxc/404/firewall/ipset/x/10.0.0.0/24",
        {"enable": "0", "text": "ä;b\nc&d"},
    )
    assert put.headers["Authorization"] == "PVEAPIToken=zentoria@pve!up=canary-token-secret"


def test_many_threads_share_few_connections(scripted_connection: Any) -> None:
    connection, server = scripted_connection(lambda seen: data(seen.path))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: connection.call("GET", "/nodes/{node}/status", node=n), range(80)))
    assert answers == [f"/nodes/{n}/status" for n in range(80)]
    assert server.connections <= 8
    assert connection.stats.by_path() == {"GET /nodes/{node}/status": 80}
    assert connection.stats.by_verb() == {"GET": 80}


def test_missing_ca_file(tmp_path: Path) -> None:
    bad = tmp_path / "none.pem"
    with pytest.raises(UnreachableError, match="No such file"):
        Connection(Endpoint("127.0.0.1", "pve1", ca_file=bad), ApiToken("a", "b", Secret("c")))
    bad.write_text("hello")
    with pytest.raises(UnreachableError, match="no certificate in it"):
        Connection(Endpoint("127.0.0.1", "pve1", ca_file=bad), ApiToken("a", "b", Secret("c")))


def test_bad_fingerprint_is_told_early() -> None:
    with pytest.raises(UnreachableError, match="not a SHA-256 fingerprint"):
        Endpoint("127.0.0.1", "pve1", fingerprint="AA:BB")


def test_multi_line_messages_survive(scripted_connection: Any) -> None:
    message = "invalid format - format error\nnet0.foo: property is not defined in schema"
    connection, _ = scripted_connection(lambda seen: failure(500, message))
    with pytest.raises(ApiError, match=r"net0\.foo"):
        connection.call("GET", "/version")
