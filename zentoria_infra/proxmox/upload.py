"""Uploads of templates: the one file that goes to a node by the API."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zentoria_infra.errors import TaskError
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.observe import Observer

TRIES = 4
"""How often a file is sent at most, while its answers get lost."""
_PATH = "/nodes/{node}/storage/{storage}/upload"


def upload_template(connection: Connection, file: Path, storage: str, *, pace: tasks.Pace | None = None) -> None:
    """Put a template on a storage of the connection's node, under the file's name. One of that name is replaced.

    The node compares its SHA-256 before it takes it. Needs Datastore.AllocateTemplate on the storage.

    Args:
        connection: the API, as whoever may upload.
        file: the archive.
        storage: name of the storage, with the content type ``vztmpl``.
        pace: how the task is polled.

    Raises:
        PermissionDeniedError: the right is missing.
        TaskError: it came broken, or there is no room.
        ZentoriaError: the node could not be reached, or refused.
    """
    node = connection.endpoint.node
    read = connection.reader()
    observer = Observer(read, node)
    tried = f"upload the template {file.name} to storage '{storage}'"
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size = file.stat().st_size
    for left in reversed(range(TRIES)):
        try:
            before = {one.volid for one in observer.templates(storage)}
            with file.open("rb") as stream:
                form: Mapping[str, Any] = {"content": "vztmpl", "checksum-algorithm": "sha256", "checksum": digest}
                upid = connection.call(
                    "POST", _PATH, {**form, "filename": stream}, tried=tried, node=node, storage=storage
                )
        except (errors.LostAnswerError, errors.TransientError):
            _settle(connection, observer)
            there = {one.volid: one.size for one in observer.templates(storage)}
            volid = f"{storage}:vztmpl/{file.name}"
            if volid not in before and there.get(volid) == size:
                return
            if not left:
                raise
            continue
        if not tasks.is_upid(upid):
            raise TaskError(
                tried, on=f"node {node}", got=f"no task id in the answer, but {upid!r}",
                todo="look at the node's task list; the server may be of a version that this tool does not know",
            )  # fmt: skip
        try:
            tasks.await_task(read, upid, tried=tried, on=f"node {node}", pace=pace)
        except tasks.TaskLockBusyError:
            if not left:
                raise
            continue
        return


def _settle(connection: Connection, observer: Observer) -> None:
    """Wait for uploads that are at work; how they end is not judged."""
    for task in observer.running_tasks():
        if task.kind == "imgcopy":
            with contextlib.suppress(TaskError):
                tasks.await_task(connection.reader(), task.upid, tried="wait for an upload")
