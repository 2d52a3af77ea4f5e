"""Bringing models from the command line: asked for by ``models pull``, and by ``up`` as its last thing."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence

from zentoria_infra.cli import output
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.execute.models import Found, Placed, Step, by_container, inside, look_at
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.roles.catalog import is_built

_EVERY = 0.5
"""Seconds between two figures on a terminal; elsewhere each tenth is told."""
_WORDS = {"fetch": "fetch", "bring": "bring into the container", "pull": "pull"}


class Told:
    """Tells how far models are: JSON lines, a line that is written over on a terminal, else a line for each tenth."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._terminal = not as_json and sys.stderr.isatty()
        self._last: tuple[str, str, int] = ("", "", -1)
        self._at = 0.0

    def __call__(self, one: Placed, step: Step, done: int, total: int) -> None:
        """Tell it, unless that was just done."""
        tenth = 10 * done // total if total else 0
        now = time.monotonic()
        key = (one.name, step, tenth)
        if key == self._last and not (self._terminal and now - self._at >= _EVERY):
            return
        self._last, self._at = key, now
        if self._json:
            output.json_line(
                {"event": "model", "model": one.name, "container": one.container.name, "step": step, "done": done,
                 "total": total}
            )  # fmt: skip
            return
        text = f"model {one.name}: {_WORDS[step]}, {done >> 20} of {total >> 20} MiB"
        if self._terminal:
            sys.stderr.write(f"\r{text}\x1b[K" + ("\n" if done >= total else ""))
            sys.stderr.flush()
        elif done in (0, total) or tenth % 5 == 0:
            output.note(text)


def bring(
    proxmox: Proxmox, models: Sequence[Placed], *, as_json: bool, cache: BlobCache | None = None
) -> tuple[Found, ...]:
    """Bring those of some models that are not there, one after the other; a failure of one is told and ends no other.

    Args:
        proxmox: the node.
        models: which.
        as_json: tell in JSON lines.
        cache: where fetched files are.

    Returns:
        Those that are not there in the end, with the reason.
    """
    told = Told(as_json=as_json)
    lacking: list[Found] = []
    for container, those in by_container(tuple(models)):
        for one in those:
            try:
                # A session of its own for each: downloads between may take as long as they like.
                with inside(proxmox, container, cache) as guest:
                    guest.bring(guest.look(one), told)
            except ZentoriaError as error:
                lacking.append(Found(one, unknown=str(error)))
    for found in lacking:
        if as_json:
            output.json_line({"event": "model", "model": found.placed.name, "container": found.placed.container.name,
                              "error": found.unknown})  # fmt: skip
        else:
            output.problem(f"model {found.placed.name}: {found.unknown}")
    return tuple(lacking)


def bring_last(proxmox: Proxmox, models: Sequence[Placed], vmids: Collection[int] | None, *, as_json: bool) -> None:
    """The last thing of a run: bring what is not there of the models of some containers. Nothing waits for it.

    Args:
        proxmox: the node.
        models: of the inventory.
        vmids: the run's containers; None means all.
        as_json: tell in JSON lines.
    """
    chosen = tuple(
        one for one in models if (vmids is None or one.container.vmid in vmids) and is_built(one.service.component)
    )
    wanted = [one.placed for one in look_at(proxmox, chosen) if not one.there]
    if not wanted:
        return
    names = ", ".join(dict.fromkeys(one.name for one in wanted))
    if not as_json:
        output.note(f"Models that are not there yet: {names}. Everything else is up; Ctrl-C is safe here.")
    if bring(proxmox, wanted, as_json=as_json) and not as_json:
        output.note("The stack is up without them: `zentoria models pull` tries again.")
