"""Models in containers: files that the workstation brings, and those that a server (Ollama) pulls by itself.

What a container serves stands in its service. Files are fetched into the cache, and from there into the guest's folder;
who serves them looks for them by itself, so nobody waits for this and nothing restarts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from zentoria_infra.errors import GuestError, ZentoriaError
from zentoria_infra.guest import bundle
from zentoria_infra.inventory.model import Container, Inventory, ServedModel, Service
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.materials.artifacts.weights import fetch_weights
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.shell.stream import PctSession

Step = Literal["fetch", "bring", "pull"]
Told = Callable[["Placed", Step, int, int], None]
"""Told how far a model is: the step, bytes that are done, of how many."""

SPARE = 128 << 20
"""Bytes of a container's disk that stay free."""
PULL_SECONDS = 300
"""That a server which pulls may be silent."""
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Placed:
    """A model at the service that serves it."""

    name: str
    model: ServedModel
    container: Container
    service: Service
    purposes: tuple[str, ...]

    @property
    def files(self) -> Mapping[str, str]:
        """Paths of its files in the guest, by name."""
        return {name: f"{self.service.models_folder}/{self.name}/{name}" for name in self.model.files}


@dataclasses.dataclass(frozen=True)
class Found:
    """How a model is in its guest.

    Args:
        placed: which.
        there: all of it is.
        missing: names of files that are not, with the bytes of each that came before.
        free: bytes of disk that are free there; None where it is not known.
        unknown: why nothing is known.
    """

    placed: Placed
    there: bool = False
    missing: Mapping[str, int] = dataclasses.field(default_factory=dict)
    free: int | None = None
    unknown: str = ""

    @property
    def lacks(self) -> int:
        """Bytes that are to be brought."""
        files = self.placed.model.files
        return sum(files[name].size - partial for name, partial in self.missing.items())


def placed(inventory: Inventory) -> tuple[Placed, ...]:
    """Every model that a service serves, each once a service, in the order of the inventory."""
    found: list[Placed] = []
    for container in inventory.containers:
        for service in container.services:
            purposes: dict[str, list[str]] = {}
            for one in service.models:
                purposes.setdefault(one.model, []).append(one.name)
            found += [
                Placed(name, inventory.site.models[name], container, service, tuple(used))
                for name, used in purposes.items()
            ]
    return tuple(found)


class GuestModels:
    """Models of one container, over one session with it.

    Args:
        session: talks with the program that runs there.
        container: which.
        cache: where fetched files are.
    """

    def __init__(self, session: PctSession, container: Container, cache: BlobCache) -> None:
        self._session, self._container, self._cache = session, container, cache

    def look(self, one: Placed) -> Found:
        """See whether a model is there.

        Raises:
            GuestError: the guest cannot tell.
        """
        if one.model.pull:
            names = {str(found.get("name", "")).removesuffix(":latest") for found in self._tags(one)}
            return Found(one, one.name in names)
        files = [
            {"path": one.files[name], "sha256": file.sha256, "size": file.size}
            for name, file in one.model.files.items()
        ]
        said = self._ask({"op": "look", "files": files, "folder": one.service.models_folder}, f"look for {one.name}")
        missing = {
            name: min(int(said["files"][path]["partial"]), one.model.files[name].size)
            for name, path in one.files.items()
            if not said["files"][path]["there"]
        }
        return Found(one, not missing, missing, int(said["free"]))

    def bring(self, found: Found, told: Told) -> None:
        """Fetch a model and bring it, or have it pulled.

        Raises:
            ArtifactError: it cannot be fetched.
            GuestError: there is no room for it, or it does not arrive.
        """
        one = found.placed
        if found.there:
            return
        if one.model.pull:
            self._pull(one, told)
            return
        if found.free is not None and found.free < found.lacks + SPARE:
            raise _no_room(one, found.free, found.lacks)
        fetch_weights(one.name, one.model, self._cache, lambda done, total: told(one, "fetch", done, total))
        total, done = one.model.size, one.model.size - found.lacks
        for name, partial in found.missing.items():
            done = self._put(one, name, partial, done, lambda so_far: told(one, "bring", so_far, total))

    def _put(self, one: Placed, name: str, partial: int, done: int, progress: Callable[[int], None]) -> int:
        file, path = one.model.files[name], self._cache.path(one.model.files[name].sha256)
        request = {
            "op": "put", "path": one.files[name], "sha256": file.sha256, "size": file.size, "from": partial,
        }  # fmt: skip
        self._session.write(json.dumps(request).encode() + b"\n")
        with path.open("rb") as stream:
            stream.seek(partial)
            while chunk := stream.read(_CHUNK):
                self._session.write(chunk)
                done += len(chunk)
                progress(done)
        self._answer(f"bring {name} of the model {one.name}")
        return done

    def remove(self, one: Placed) -> bool:
        """Remove a model from the guest. False: nothing of it was there.

        Raises:
            GuestError: it cannot be removed.
        """
        if one.model.pull:
            there = self.look(one).there
            if there:
                self._server(one, "DELETE", "/api/delete", {"model": one.name}, f"remove the model {one.name}")
            return there
        said = self._ask({"op": "remove", "paths": list(one.files.values())}, f"remove the model {one.name}")
        return bool(said.get("removed"))

    def _pull(self, one: Placed, told: Told) -> None:
        """Have Ollama pull a model, and derive ours from it, which pins its context: Ollama's own default cuts."""
        tried = f"pull the model {one.model.pull}"
        layers: dict[str, tuple[int, int]] = {}
        folder = one.service.models_folder or "/"
        free = int(self._ask({"op": "look", "files": [], "folder": folder}, tried)["free"])

        def heard(line: Mapping[str, Any]) -> None:
            if line.get("digest") and line.get("total"):
                known = str(line["digest"]) in layers
                layers[str(line["digest"])] = (int(line.get("completed") or 0), int(line["total"]))
                done, total = (sum(column) for column in zip(*layers.values(), strict=True))
                if not known and total - done + SPARE > free:
                    # Its sizes are not known before. Ollama stops when the asker leaves, and goes on later.
                    raise _no_room(one, free, total - done)
                told(one, "pull", done, total)

        self._server(one, "POST", "/api/pull", {"model": one.model.pull}, tried, heard)
        parameters = {"num_ctx": one.model.context} if one.model.context else {}
        body = {"model": one.name, "from": one.model.pull, "parameters": parameters}
        self._server(one, "POST", "/api/create", body, f"make the model {one.name} of {one.model.pull}")

    def _tags(self, one: Placed) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        tried = f"ask {one.service.name} for its models"
        self._server(one, "GET", "/api/tags", None, tried, lambda line: found.extend(line.get("models") or ()))
        return found

    def _server(
        self,
        one: Placed,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        tried: str,
        heard: Callable[[Mapping[str, Any]], None] = lambda line: None,
    ) -> None:
        request = {
            "op": "ask", "host": str(one.container.address), "port": one.service.port("http").first,
            "method": method, "path": path, "body": body, "timeout": PULL_SECONDS,
        }  # fmt: skip
        self._session.write(json.dumps(request).encode() + b"\n")
        failure = ""
        while True:
            said = self._answer(tried)
            if "status" in said:
                break
            try:
                line = json.loads(said["line"])
            except ValueError:
                line = {}
            if isinstance(line, dict):
                failure = str(line.get("error") or failure)
                heard(line)
        if failure or said["status"] >= 400:
            raise self._failed(tried, failure or f"it answered {said['status']}")

    def _ask(self, request: Mapping[str, Any], tried: str) -> dict[str, Any]:
        self._session.write(json.dumps(request).encode() + b"\n")
        return self._answer(tried)

    def _answer(self, tried: str) -> dict[str, Any]:
        line = self._session.read_line(PULL_SECONDS)
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise self._failed(tried, f"the container said {line[:200]!r}")
        if "error" in said:
            raise self._failed(tried, str(said["error"]))
        return said

    def _failed(self, tried: str, got: str) -> GuestError:
        return GuestError(
            tried,
            on=f"{self._container.vmid} ({self._container.name})",
            got=got,
            todo=f"`zentoria status` and `zentoria logs {self._container.name}` show what it is at; "
            "`zentoria models pull` goes on where it stopped",
        )


def _no_room(one: Placed, free: int, lacks: int) -> GuestError:
    return GuestError(
        f"bring the model {one.name}",
        on=f"{one.container.vmid} ({one.container.name}), {one.service.models_folder}",
        got=f"{free >> 20} MiB are free there, and {(lacks + SPARE) >> 20} MiB are wanted",
        todo="give its volume more (`size` in the inventory, then `zentoria up`), or remove a model",
    )


@contextmanager
def inside(proxmox: Proxmox, container: Container, cache: BlobCache | None = None) -> Iterator[GuestModels]:
    """Talk with a container about its models.

    Raises:
        GuestError: it is not there, or does not run.
    """
    tried = f"look for the models of {container.name}"
    with proxmox.pct.session(container.vmid, bundle.agent_argv(), PULL_SECONDS, tried=tried) as session:
        session.write(bundle.models())
        yield GuestModels(session, container, cache or BlobCache())
        session.close_stdin()
        session.close()


def look_at(proxmox: Proxmox, models: tuple[Placed, ...]) -> tuple[Found, ...]:
    """How some models are in their guests: one round trip for each container. What cannot be seen says why."""
    found: list[Found] = []
    for container, those in by_container(models):
        try:
            with inside(proxmox, container) as guest:
                found += [guest.look(one) for one in those]
        except ZentoriaError as error:
            known = {one.placed.name for one in found if one.placed.container is container}
            found += [Found(one, unknown=str(error.got or error)) for one in those if one.name not in known]
    return tuple(found)


def by_container(models: tuple[Placed, ...]) -> tuple[tuple[Container, tuple[Placed, ...]], ...]:
    """Models by the container that serves them."""
    grouped: dict[int, list[Placed]] = {}
    for one in models:
        grouped.setdefault(one.container.vmid, []).append(one)
    return tuple((those[0].container, tuple(those)) for those in grouped.values())
