"""Templates that are uploaded: checked before they are taken, and nothing left of those that are not."""

from __future__ import annotations

import hashlib

import pytest

UPLOAD = "/nodes/pve1/storage/local/upload"
NAME = "zentoria-test.tar.zst"
DATA = b"a template" * 1000


def send(client, name=NAME, data=DATA, **form):
    form = {"content": "vztmpl", **form}
    return client.call("POST", UPLOAD, form, files={"filename": (name, data, "application/octet-stream")})


def templates(lab):
    lines = lab.root.get("/nodes/pve1/storage/local/content", content="vztmpl").data
    return {one["volid"]: one["size"] for one in lines}


def left(lab):
    folder = lab.layout.root / "uploads"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_a_template_is_taken_with_its_checksum(lab):
    digest = hashlib.sha256(DATA).hexdigest()
    answer = send(lab.root, checksum=digest.upper(), **{"checksum-algorithm": "sha256"})
    assert lab.root.task(answer) == "OK"
    assert ":imgcopy::" in answer.data
    assert templates(lab)[f"local:vztmpl/{NAME}"] == len(DATA)
    assert left(lab) == []


@pytest.mark.parametrize(
    ("form", "name", "says"),
    [
        ({"checksum": "0" * 64}, NAME, "checksum-algorithm"),
        ({}, "zentoria.zip", "wrong file extension"),
        ({"content": "iso"}, "a.iso", "templates alone"),
        ({"more": "1"}, NAME, "more"),
    ],
)
def test_what_is_refused_leaves_nothing(lab, form, name, says):
    answer = send(lab.root, name, **form)
    assert answer.status in (400, 500)
    assert says in str(answer.body)
    assert left(lab) == []
    assert f"local:vztmpl/{name}" not in templates(lab)


def test_what_came_broken_is_not_taken(lab):
    status = lab.root.task(send(lab.root, checksum="0" * 64, **{"checksum-algorithm": "sha256"}))
    assert status.startswith("checksum mismatch: got '")
    assert left(lab) == []
    assert f"local:vztmpl/{NAME}" not in templates(lab)


def test_it_needs_its_own_right(lab):
    lab.root.post("/access/users", userid="bob@pve", password="very-secret")
    lab.root.post("/access/roles", roleid="Space", privs="Datastore.AllocateSpace,Datastore.Audit")
    lab.root.put("/access/acl", path="/storage/local", roles="Space", users="bob@pve")
    bob = lab.ticket("bob@pve", "very-secret")
    answer = send(bob)
    assert (answer.status, left(lab)) == (403, [])
    assert "Datastore.AllocateTemplate" in answer.reason
    lab.root.post("/access/roles", roleid="Upload", privs="Datastore.AllocateTemplate")
    lab.root.put("/access/acl", path="/storage/local", roles="Upload", users="bob@pve")
    assert bob.task(send(bob)) == "OK"
