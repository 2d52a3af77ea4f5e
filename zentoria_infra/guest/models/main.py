"""Files of models in a guest: which are there, bring one, remove some; and questions to a model server on this machine.

One JSON request a line comes in, one JSON answer a line goes out. A file appears whole, by rename, beside a mark that
says which content it has and which size and date it had then: so nothing is read again that was not touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import sys
from typing import Any, BinaryIO

Request = dict[str, Any]
CHUNK = 1 << 20


def main() -> None:
    """Entry point: answer requests until there are none."""
    stdin = sys.stdin.buffer
    while True:
        line = stdin.readline()
        if not line:
            return
        request = json.loads(line)
        try:
            OPERATIONS[request["op"]](request, stdin)
        except OSError as error:
            say({"error": "{}: {}".format(getattr(error, "filename", None) or request["op"], error.strerror or error)})
        except (ValueError, http.client.HTTPException) as error:
            say({"error": str(error) or type(error).__name__})


def say(answer: dict[str, Any]) -> None:
    """Send one answer."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def look(request: Request, stdin: BinaryIO) -> None:
    """Which of some files are there with the content that they should have, and how much of the others; free bytes."""
    found = {}
    for one in request["files"]:
        path = one["path"]
        found[path] = {"there": is_there(path, one["sha256"], one["size"]), "partial": size_of(beside(path, ".new"))}
    say({"files": found, "free": shutil.disk_usage(nearest(request["folder"])).free})


def put(request: Request, stdin: BinaryIO) -> None:
    """Take what is still missing of a file from the input, check the whole, and put it in its place."""
    path, sha256, size = request["path"], request["sha256"], request["size"]
    folder = os.path.dirname(path)
    make(folder)
    new = beside(path, ".new")
    left = size - request["from"]
    digest = hashlib.sha256()
    failure: Exception | None = None
    try:
        with open(new, "r+b" if request["from"] else "wb") as stream:
            while stream.tell() < request["from"]:
                piece = stream.read(min(CHUNK, request["from"] - stream.tell()))
                if not piece:
                    raise ValueError("what was there of it is gone")
                digest.update(piece)
            stream.truncate()
            while left:
                piece = stdin.read(min(CHUNK, left))
                if not piece:
                    return  # the sender is gone: what came stays, and is gone on with
                left -= len(piece)
                digest.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, ValueError) as error:
        failure = error
    while left:  # the sender does not know yet
        piece = stdin.read(min(CHUNK, left))
        if not piece:
            break
        left -= len(piece)
    if failure is not None:
        raise failure
    if digest.hexdigest() != sha256:
        os.unlink(new)
        raise ValueError(f"what arrived has SHA-256 {digest.hexdigest()}, and should have {sha256}")
    os.chmod(new, 0o644)
    os.replace(new, path)
    seen = os.stat(path)
    mark = beside(path, ".sha256")
    with open(mark + "-new", "w") as stream:
        json.dump([sha256, seen.st_size, seen.st_mtime_ns], stream)
    os.replace(mark + "-new", mark)
    say({"ok": True})


def remove(request: Request, stdin: BinaryIO) -> None:
    """Remove files, with what belongs to them, and folders that are empty then."""
    removed = []
    for path in request["paths"]:
        for one in (path, beside(path, ".new"), beside(path, ".sha256")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(one)
                removed.append(one)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
    say({"removed": [path for path in request["paths"] if path in removed]})


def ask(request: Request, stdin: BinaryIO) -> None:
    """Ask a server on this machine; each line of its answer is one of ours, the last says how it ended."""
    connection = http.client.HTTPConnection(request["host"], request["port"], timeout=request["timeout"])
    body = json.dumps(request["body"]) if request.get("body") is not None else None
    try:
        connection.request(request["method"], request["path"], body, {"content-type": "application/json"})
        answer = connection.getresponse()
        for line in answer:
            if line.strip():
                say({"line": line.decode("utf-8", "replace").strip()[:1000000]})
        say({"status": answer.status})
    finally:
        connection.close()


def is_there(path: str, sha256: str, size: int) -> bool:
    """Whether a file has this content, as far as its mark knows; without one, it is read once and marked."""
    try:
        seen = os.stat(path)
    except OSError:
        return False
    if seen.st_size != size:
        return False
    with contextlib.suppress(OSError, ValueError), open(beside(path, ".sha256")) as stream:
        if json.load(stream) == [sha256, seen.st_size, seen.st_mtime_ns]:
            return True
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(CHUNK), b""):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        return False
    with contextlib.suppress(OSError), open(beside(path, ".sha256"), "w") as stream:
        json.dump([sha256, seen.st_size, seen.st_mtime_ns], stream)
    return True


def make(folder: str) -> None:
    """Make a folder that everybody may read, with those above it."""
    if not os.path.isdir(folder):
        make(os.path.dirname(folder))
        os.mkdir(folder)
        os.chmod(folder, 0o755)  # noqa: S103 -- what serves the models reads them, as whatever user it is


def nearest(folder: str) -> str:
    """The folder, or the nearest one above it that is there."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def beside(path: str, ending: str) -> str:
    """A hidden file beside another."""
    folder, name = os.path.split(path)
    return os.path.join(folder, "." + name + ending)


def size_of(path: str) -> int:
    """Size of a file; 0 when there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


OPERATIONS = {"look": look, "put": put, "remove": remove, "ask": ask}
