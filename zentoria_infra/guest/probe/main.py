"""The prober: reads one request from standard input, carries it out, and answers one JSON line."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

from . import attempt, listen

VERSION = 1


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out a request: ``listen``, ``probe``, or ``collect``, which also ends the listeners."""
    if request.get("version") != VERSION:
        raise listen.Refused(f"this prober speaks version {VERSION}, the request is of {request.get('version')!r}")
    mode = request["mode"]
    if mode == "listen":
        return listen.start(request)
    if mode == "probe":
        return attempt.run(request)
    if mode == "collect":
        try:
            return listen.ask({"do": "collect", "run": request["run"]})
        except ConnectionError:
            raise listen.Refused("the listeners are gone: they reached their deadline, or were ended") from None
    raise listen.Refused(f"there is no mode {mode!r}")


def main() -> None:
    """Entry point, called by the loader."""
    try:
        answer = handle(json.loads(sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))))
    except listen.Refused as error:
        answer = {"error": str(error)}
    except Exception:  # a bug, or a guest as nobody expected: told to the other side in full
        answer = {"error": "the prober broke", "output": traceback.format_exc()[-4000:]}
    print(json.dumps(answer), flush=True)
