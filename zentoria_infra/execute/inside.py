"""The inside of containers: makes their desired states, and brings them there through the agent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property

from pydantic import BaseModel, ConfigDict, TypeAdapter

from zentoria_infra.errors import AuthError, GuestError, RefusedError, UnreachableError
from zentoria_infra.guest import bundle, protocol
from zentoria_infra.guest.secrets import new_password
from zentoria_infra.guest.state import GuestReport, GuestState, Migration, Release, ResourceReport, Restore, Rollback
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.materials.once import Once
from zentoria_infra.materials.sources import Materials
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.roles.compile import compile_with_places
from zentoria_infra.roles.compile import gate as compile_gate

NO_SSH = "there is no SSH to the node (`proxmox.ssh.host_key` is not set), so nothing can be run in its containers"
_BACK = "rollback "
GATE = 180
"""Seconds that a service has in a container that was put back to a snapshot: from a cold start, on storage that may
still be at work on the snapshot (48 s were seen)."""
BUILDS = 4
"""States that are made at once beforehand: most of them wait for pip, npm or a download."""
KEY_PATH = "zentoria/site/fingerprints"
"""Where the secret store holds the key of fingerprints."""
NO_INSIDE = "its containers have no inside (`proxmox.ssh.inside` is false, as in a lab without LXC)"


class KeptRelease(BaseModel):
    """A release that a guest keeps."""

    model_config = ConfigDict(frozen=True)

    version: str
    built: datetime
    passed: bool
    """Whether it ever passed its health gate."""
    current: bool


class GuestsInside:
    """Looks into guests and changes them. Safe from several threads.

    Args:
        inventory: says what shall be in them.
        proxmox: the node.
        forced: VMIDs whose services are deployed anew even where nothing changed.
    """

    def __init__(self, inventory: Inventory, proxmox: Proxmox, *, forced: Collection[int] = ()) -> None:
        self._inventory = inventory
        self._proxmox = proxmox
        self._nonce = f"{time.time_ns():x}"
        self._forced = frozenset(forced)
        self._making = threading.Lock()
        self._states = Once(self._compiled)

    @property
    def missing(self) -> str:
        """Why nothing can be done inside containers; empty where it can."""
        if self._proxmox.has_ssh:
            return ""
        return NO_SSH if self._inventory.site.proxmox.ssh.host_key is None else NO_INSIDE

    def check(self, vmid: int) -> GuestReport:
        """What the agent would change, in one round trip; once more if the connection breaks, since it changes nothing.

        Raises:
            GuestError: the agent could not look.
        """
        try:
            return self._converge(vmid, "check", lambda text: None)
        except AuthError:
            raise
        except UnreachableError:
            return self._converge(vmid, "check", lambda text: None)

    def apply(
        self, vmid: int, say: Callable[[str], None], packaged: Callable[[], None] = lambda: None
    ) -> GuestReport | None:
        """Bring a guest to its state, in one round trip.

        Args:
            vmid: the guest.
            say: told of progress.
            packaged: called once all packages are installed, before what comes after them.

        Raises:
            GuestError: a resource failed; command and output are in it.
        """
        if self.missing:
            return None
        report = self._talk(vmid, self.state(vmid), "apply", say, packaged)
        if report.failed:
            raise failure(self._inventory.by_vmid(vmid).name, report)
        return report

    def require_releases(self, vmid: int) -> None:
        """See that there is something to roll back.

        Raises:
            RefusedError: none of its services is deployed in releases, or nothing can be run inside.
        """
        if self.missing:
            raise RefusedError(
                f"roll back {self._inventory.by_vmid(vmid).name}",
                got=self.missing,
                todo="give Zentoria a way into containers: `zentoria bootstrap`, and `proxmox.ssh` in the site's file",
            )
        self._back(vmid, 0, "")

    def has_releases(self, vmid: int) -> bool:
        """Whether a service of a guest is deployed in releases."""
        return any(isinstance(one, Release) for one in self.state(vmid).resources)

    def releases(self, vmid: int) -> Mapping[str, tuple[KeptRelease, ...]]:
        """The releases that a guest keeps, newest first, by the id of the service's release.

        Raises:
            RefusedError: none of its services is deployed in releases.
            GuestError: the agent could not look.
        """
        report = self._talk(vmid, self._back(vmid, 0, ""), "check", lambda text: None)
        if report.failed:
            raise failure(self._inventory.by_vmid(vmid).name, report)
        read = TypeAdapter(tuple[KeptRelease, ...]).validate_json
        return {one.id.removeprefix(_BACK): read(one.detail) for one in report.resources}

    def roll_back(self, vmid: int, back: int, by: str, say: Callable[[str], None]) -> GuestReport:
        """Go back to a release that was there before, behind its health gate.

        Args:
            vmid: the guest.
            back: how many of those before the current one that were healthy.
            by: who asked, for the next plan to say.
            say: told of progress.

        Raises:
            RefusedError: none of its services is deployed in releases.
            GuestError: there is no such release, or it is not healthy; then the one before goes on.
        """
        report = self._talk(vmid, self._back(vmid, back, by), "apply", say)
        if report.failed:
            raise self._no_way_back(vmid, report)
        return report

    def lost_by_roll_back(self, vmid: int, back: int) -> tuple[ResourceReport, ...]:
        """What a rollback would take back besides programs: databases that are restored from a dump. Changes nothing.

        Raises:
            RefusedError: none of its services is deployed in releases.
            GuestError: the agent could not look, or there is no such release or dump.
        """
        state = self._back(vmid, back, "")
        if not any(isinstance(one, Restore) for one in state.resources):
            return ()
        report = self._talk(vmid, state, "check", lambda text: None)
        if report.failed:
            raise self._no_way_back(vmid, report)
        restored = {one.id for one in state.resources if isinstance(one, Restore)}
        return tuple(one for one in report.changes if one.id in restored)

    def _no_way_back(self, vmid: int, report: GuestReport) -> GuestError:
        name = self._inventory.by_vmid(vmid).name
        error = failure(name, report, "roll back")
        error.todo = (
            f"`zentoria rollback {name} --list` shows the releases and snapshots that are kept; what is not there any "
            f"more comes of the inventory of then: `git revert`, then `zentoria up --only {name}`"
        )
        return error

    def require_healthy(self, vmid: int, say: Callable[[str], None]) -> None:
        """Wait until a container that was put back answers: systemd, then each service that has a check.

        Raises:
            GuestError: one did not in time.
        """
        if self.missing:
            return
        name = self._inventory.by_vmid(vmid).name
        say("wait until it answers")
        report = self._talk(vmid, compile_gate(self._inventory.by_vmid(vmid), GATE), "apply", say)
        if report.failed:
            error = failure(name, report, "after it was put back to its snapshot and started, wait for")
            error.todo = (
                f"`zentoria status` and `zentoria logs {name}` show what it is at; what the snapshot has may not be "
                "what the inventory says by now: `zentoria plan`"
            )
            raise error

    def _back(self, vmid: int, back: int, by: str) -> GuestState:
        state = self.state(vmid)
        found = tuple(
            Rollback(id=f"{_BACK}{one.id}", release=one, back=back, by=by)
            for one in state.resources
            if isinstance(one, Release)
        )
        if not found:
            name = self._inventory.by_vmid(vmid).name
            raise RefusedError(
                f"roll back {name}",
                got="none of its services is deployed in releases: what it runs comes from Debian packages",
                todo=f"undo the change in the inventory (`git revert`), then `zentoria redeploy {name}`; or, if "
                f"`zentoria rollback {name} --list` shows a snapshot, `zentoria rollback {name} --snapshot`",
            )
        # Before the release that knows how to: what is older need not know of it.
        restores = tuple(
            Restore(id=f"restore:{one.database}", migration=one, release=back_to.release, back=back)
            for one in state.resources
            for back_to in found
            if back and isinstance(one, Migration) and back_to.release.root == one.root
        )
        return GuestState(vmid=vmid, hostname=state.hostname, resources=(*restores, *found))

    def state(self, vmid: int) -> GuestState:
        """The desired state of one guest. Makes passwords, certificates and releases where there are none."""
        return self._states(vmid)[0]

    def begin(self, vmids: Collection[int]) -> None:
        """Make the states of some guests beforehand, with what is built and fetched for them, and go on meanwhile.

        What cannot be built is told by who needs it: the container's own stage fails for it.
        """
        if not self.missing:
            self._states.begin(sorted(vmids), BUILDS)

    def places(self, vmid: int) -> Mapping[str, str]:
        """file:line:column of what asks for each resource of a guest's state, by id."""
        return self._states(vmid)[1]

    def _compiled(self, vmid: int) -> tuple[GuestState, Mapping[str, str]]:
        nonce = self._nonce if vmid in self._forced else ""
        container = self._inventory.by_vmid(vmid)
        return compile_with_places(self._inventory, container, self._all_materials(), nonce=nonce)

    def _all_materials(self) -> Materials:
        with self._making:
            return self._materials

    @property
    def key(self) -> bytes:
        """The site's key for fingerprints of what may be secret; made at its first use.

        Raises:
            PrivateFileError: the file of secrets cannot be used.
        """
        with self._making:
            return self._key

    @cached_property
    def _key(self) -> bytes:
        made = self._materials.secrets.get_or_create(KEY_PATH, new_password)
        return made.get_secret_value().encode()

    @cached_property
    def _cache(self) -> BlobCache:
        return BlobCache()

    @cached_property
    def _materials(self) -> Materials:
        return Materials(self._inventory, self._cache)

    def _converge(self, vmid: int, mode: protocol.Mode, say: Callable[[str], None]) -> GuestReport:
        return self._talk(vmid, self.state(vmid), mode, say)

    def _talk(
        self,
        vmid: int,
        state: GuestState,
        mode: protocol.Mode,
        say: Callable[[str], None],
        packaged: Callable[[], None] = lambda: None,
    ) -> GuestReport:
        kinds = {one.id: one.kind for one in state.resources}
        at = ""

        def heard(event: Mapping[str, object]) -> None:
            nonlocal at
            if event.get("event") == "start":
                before, at = at, kinds.get(str(event.get("id")), "")
                if before == "packages" != at:
                    packaged()
            say(str(event["text"] if event.get("event") == "progress" else event.get("id", "")))

        def once() -> GuestReport:
            tried = f"{'look into' if mode == 'check' else 'converge'} {self._inventory.by_vmid(vmid).name}"
            with self._proxmox.pct.session(vmid, bundle.agent_argv(), tried=tried) as session:
                return protocol.converge(session, state, self._cache, mode, heard, self.key)

        try:
            return once()
        except protocol.NoPythonError:
            if mode == "check":
                raise
        say("install python3")
        self._bootstrap(vmid)
        return once()

    def _bootstrap(self, vmid: int) -> None:
        tried = f"install python3 in container {vmid}"
        result = self._proxmox.pct.exec(vmid, bundle.bootstrap_argv(self._inventory.site.proxy), tried=tried)
        if result.exit:
            said = (result.stdout + result.stderr).decode(errors="replace").strip().splitlines()[-15:]
            raise GuestError(
                tried,
                got="\n  ".join([f"apt-get ended with {result.exit}", *said]),
                todo="check the guest's package sources and the site's `proxy`, or use a template with Python",
            )


def failure(name: str, report: GuestReport, tried: str = "converge") -> GuestError:
    """The error for a guest whose convergence, or what else was tried, stopped."""
    bad = next((one for one in report.resources if one.id == report.failed), None)
    if bad is None:
        return GuestError(
            f"{tried} {name}",
            got=f"{report.failed} failed",
            todo="run the command again; `zentoria logs` shows what the container says",
        )
    said = [bad.detail or "it failed"]
    if bad.command:
        said.append(f"command: {bad.command}")
    if bad.output:
        said += ["output:", *(f"  {line}" for line in bad.output.rstrip().splitlines())]
    return GuestError(
        f"{tried} {name}: {bad.id}",
        got="\n  ".join(said),
        todo=f"put it right and run the command again: it goes on with {bad.id}; `zentoria logs {name}` shows more",
    )
