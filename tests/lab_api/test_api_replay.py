"""The recordings of the real server, played against ours: same status, reason, message and errors."""

from __future__ import annotations

from replay import Replay, load


def test_lifecycle_from_end_to_end(make_lab):
    entries = load("zentoria-lifecycle.json")
    lab = make_lab()
    replay = Replay(lab, {"root token": lab.root, "root ticket": lab.ticket()})
    first = replay.run(entries[:29])
    secret = first.answers[28].data["value"]
    replay.clients["zentoria token"] = lab.token("zentoria@pve!up", secret)
    rest = replay.run(entries[29:])
    assert first.differences | {29 + n: why for n, why in rest.differences.items()} == {}
    assert first.compared + rest.compared == len(entries) == 97
