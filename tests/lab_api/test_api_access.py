"""Logins, tickets, tokens, and who may do what."""

from __future__ import annotations


def test_version_needs_a_login(lab):
    assert lab.root.get("/version").data["release"] == "9.2"
    answer = lab.anyone.get("/version")
    assert (answer.status, answer.reason, answer.body) == (401, "No ticket", "")


def test_ticket_needs_csrf_for_writes(lab):
    client = lab.ticket()
    assert client.post("/access/users", userid="bob@pve").status == 200
    del client.session.headers["CSRFPreventionToken"]
    answer = client.post("/access/users", userid="eve@pve")
    assert (answer.status, answer.reason) == (401, "Permission denied - invalid csrf token")
    assert client.get("/access/users/bob@pve").status == 200
