"""Carries out the stages on a Proxmox server: each kind of stage is a few calls of the client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from zentoria_infra.errors import RefusedError, ZentoriaError
from zentoria_infra.execute.run.perform_firewall import FirewallPerformer
from zentoria_infra.execute.run.perform_parking import ParkingPerformer
from zentoria_infra.execute.run.perform_snapshots import SnapshotPerformer
from zentoria_infra.firewall.change.steps import Step
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.firewall import is_opening
from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.plan.model.change import Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.model.values import format_properties, truth
from zentoria_infra.plan.stages.types import (
    AnyStage,
    CloseSources,
    Configure,
    Converge,
    Create,
    CutConnections,
    Destroy,
    DropParking,
    DropSnapshots,
    ForgetFlows,
    GainFlows,
    GoBack,
    LoseFlows,
    MakeParking,
    MoveStorage,
    MoveVolume,
    OpenSources,
    ParkFirewall,
    PctSet,
    Resize,
    Restart,
    RollBack,
    Snapshot,
    Start,
    Stop,
    SwitchOn,
)
from zentoria_infra.plan.volumes.binding import MOUNT
from zentoria_infra.plan.volumes.changes import volume_text, with_volume_of_now
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.errors import ModifiedError
from zentoria_infra.proxmox.records import ContainerConfig

Say = Callable[[str], None]


class Converger(Protocol):
    """Brings the inside of a container to its state."""

    def apply(self, vmid: int, say: Say, packaged: Callable[[], None] = ...) -> GuestReport | None:
        """Apply; ``packaged`` is called when all packages are installed, if anything comes after them.

        None where guests have no inside (a lab without LXC). Raises GuestError.
        """
        ...

    def roll_back(self, vmid: int, back: int, by: str, say: Say) -> GuestReport:
        """Go back to a release that was there before. Raises GuestError."""
        ...

    def require_healthy(self, vmid: int, say: Say) -> None:
        """Wait until a container that was put back answers. Raises GuestError."""
        ...


class Performer:
    """Carries out stages. Safe from several threads.

    Args:
        proxmox: the node.
        desired: the containers of the inventory by VMID.
        converger: for what is inside.
        firewall: for the firewall's stages; without it there are none.
        passed: told of each point that stages pass on their way.
    """

    def __init__(
        self,
        proxmox: Proxmox,
        desired: Mapping[int, DesiredContainer],
        converger: Converger,
        firewall: FirewallPerformer | None = None,
        passed: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._proxmox = proxmox
        self._desired = desired
        self._converger = converger
        self._parking = ParkingPerformer(proxmox)
        self._snapshots = SnapshotPerformer(proxmox)
        self._firewall = firewall or FirewallPerformer(proxmox, {vmid: one.node for vmid, one in desired.items()})
        self._passed = passed
        self._closed: set[int] = set()
        """Containers whose package sources are closed as far as we have written it."""

    def __call__(self, stage: AnyStage, say: Say) -> GuestReport | None:
        """Carry out one stage.

        Raises:
            ZentoriaError: it did not work; the next run goes on from what is there.
        """
        if not stage.vmid:
            self._shared(stage, say)
            return None
        if isinstance(stage, Destroy) and stage.orphan is not None:
            self._destroy(stage.orphan, stage)
            return None
        desired = self._desired[stage.vmid]
        if not isinstance(stage, Create | Destroy):
            # Between the plan and now somebody else may have taken the VMID; Destroy looks for itself.
            config = self._proxmox.observe.config(stage.vmid, desired.node)
            require_ours(config, desired)
            if isinstance(stage, PctSet | Snapshot) and stage.digest not in ("", config.digest):
                # The key that is let in for `pct set` lets nothing but the features through, so no digest; and a
                # snapshot is taken without one.
                raise changed_since(desired)
        match stage:
            case Create(desired=made, without=without):
                self._create(made, without)
            case MakeParking(desired=replaced, parking=vmid):
                self._parking.make(replaced, vmid)
            case ParkFirewall(steps=steps, parking=vmid):
                self._parking.require(desired, vmid)
                self._firewall.carry_out(steps, say)
            case MoveVolume():
                self._parking.move(desired, stage)
            case MoveStorage(change=change):
                self._proxmox.write.move_to_storage(stage.vmid, change.key, change.sent, node=desired.node)
            case DropParking(parking=vmid):
                self._parking.drop(desired, vmid)
            case Stop():
                self._proxmox.write.shutdown(stage.vmid, node=desired.node)
            case Configure(changes=changes, digest=digest):
                values = {one.key: with_volume_of_now(one, config.values) for one in changes if one.after}
                self._proxmox.write.set_config(
                    stage.vmid,
                    {one.key: values[one.key] for one in changes if one.via is not Via.REVERT and one.after},
                    delete=[one.key for one in changes if one.via is not Via.REVERT and not one.after],
                    revert=[one.key for one in changes if one.via is Via.REVERT],
                    digest=digest or (config.digest if any(MOUNT.fullmatch(one.key) for one in changes) else None),
                    node=desired.node,
                )
            case Resize(change=change, digest=digest):
                self._proxmox.write.resize(
                    stage.vmid, change.key, change.sent, digest=digest or None, node=desired.node
                )
            case PctSet(changes=changes):
                self._proxmox.pct.set(stage.vmid, **{change.key: change.sent for change in changes})
            case Start(guarded=guarded):
                if guarded:
                    self._firewall.await_filter(stage.vmid, say)
                self._proxmox.write.start(stage.vmid, node=desired.node)
            case Restart():
                self._proxmox.write.reboot(stage.vmid, node=desired.node)
            case Destroy():
                self._destroy(desired, stage)
            case GainFlows(steps=steps) | ForgetFlows(steps=steps):
                self._firewall.carry_out(steps, say)
            case LoseFlows(steps=steps, through=through):
                self._firewall.carry_out(steps, say)
                if any(is_opening(step) for step in steps):
                    self._firewall.prove_closed(stage.vmid, through, say)
            case OpenSources(steps=steps):
                self._require_ends(stage.vmid, steps)
                self._firewall.carry_out(steps, say)
            case Converge():
                return self._converge(stage, say)
            case CloseSources():
                self._close(stage, say)
            case Snapshot() | DropSnapshots():
                self._snapshots(stage, desired, say)
            case GoBack(after_failure=after_failure):
                self._snapshots(stage, desired, say)
                if not after_failure:  # what was before a failure need not have been healthy either
                    self._converger.require_healthy(stage.vmid, say)
            case RollBack(back=back, by=by):
                return self._converger.roll_back(stage.vmid, back, by, say)
        return None

    def _shared(self, stage: AnyStage, say: Say) -> None:
        """A stage of the datacenter."""
        match stage:
            case GainFlows(steps=steps) | LoseFlows(steps=steps) | ForgetFlows(steps=steps):
                self._firewall.carry_out(steps, say)
            case SwitchOn():
                self._firewall.switch_on(say)
            case CutConnections(flows=flows):
                self._firewall.cut(flows, say)

    def _converge(self, stage: Converge, say: Say) -> GuestReport | None:
        """Package sources are closed again whatever happens: here what closes them is written, and nobody waits for it.

        What cannot be written is left to :class:`CloseSources`, which comes after in any case and tells.
        """
        self._require_ends(stage.vmid, stage.closing)

        def close() -> None:
            if stage.vmid not in self._closed:
                with contextlib.suppress(ZentoriaError):
                    self._firewall.carry_out(stage.closing, say)
                    self._closed.add(stage.vmid)

        def packaged() -> None:
            close()
            self._passed(stage.halfway)

        try:
            if stage.closing:
                self._firewall.await_sources(stage.vmid, stage.through, say)
            return self._converger.apply(stage.vmid, say, packaged)
        finally:
            close()

    def _close(self, stage: CloseSources, say: Say) -> None:
        left = stage.closing if stage.vmid not in self._closed else ()
        self._require_ends(stage.vmid, left)
        ends = {step.where.vmid for step in stage.closing} - {stage.vmid}
        self._firewall.close_sources(stage.vmid, left, stage.through, say, ends)

    def _require_ends(self, vmid: int, steps: Iterable[Step]) -> None:
        """The other end of a container's way to its package sources may be a container too."""
        for end in {step.where.vmid for step in steps} - {vmid}:
            require_ours(self._proxmox.observe.config(end, self._desired[end].node), self._desired[end])

    def _create(self, desired: DesiredContainer, without: tuple[str, ...]) -> None:
        parameters = create_parameters(desired)
        self._proxmox.write.create(
            desired.vmid,
            {key: value for key, value in parameters.items() if key not in without},
            node=desired.node,
            is_ours=lambda config: _is_ours(config, desired),
        )

    def _destroy(self, desired: DesiredContainer | Orphan, stage: Destroy) -> None:
        config = self._proxmox.observe.config(desired.vmid, desired.node)
        require_ours(config, desired)
        if stage.digest not in ("", config.digest):
            raise changed_since(desired)  # there may be a volume by now that nobody was asked about
        if truth(config.values.get("protection", "0")):
            raise RefusedError(
                f"destroy container {desired.vmid} ({desired.name})",
                got="it is protected",
                todo=f"set `protect: false` ({desired.said_at('protection')}) and run `zentoria up`, then try again",
            )
        if stage.emptied and (left := parking.data_volumes(config.values)):
            raise RefusedError(
                f"destroy container {desired.vmid} ({desired.name})",
                got=f"it still holds {', '.join(left)}, which was to be parked",
                todo="run it again: what is there is planned anew",
            )
        if self._proxmox.observe.status(desired.vmid, desired.node) == "running":
            self._proxmox.write.shutdown(desired.vmid, node=desired.node)
            # That may have taken a minute, and somebody else may have put something else in its place.
            after = self._proxmox.observe.config(desired.vmid, desired.node)
            require_ours(after, desired)
            if after.digest != config.digest:
                raise changed_since(desired)
        self._proxmox.write.destroy(desired.vmid, digest=config.digest, node=desired.node)


def create_parameters(desired: DesiredContainer) -> dict[str, str | int | bool]:
    """Parameters of ``POST /nodes/{node}/lxc``: all that pool rights allow in that call.

    Tags and the features that only root@pam may set are left out: stages after it set them.
    """
    parameters: dict[str, str | int | bool] = {
        "ostemplate": desired.ostemplate,
        "unprivileged": desired.unprivileged,
        "rootfs": volume_text(desired.rootfs),
        **{volume.key: volume_text(volume) for volume in desired.volumes},
        **{key: value for key, value in desired.options.items() if key != "protection"},
        **{key: format_properties(net) for key, net in desired.nets.items()},
    }
    if desired.pool:
        parameters["pool"] = desired.pool
    if desired.api_features:
        parameters["features"] = ",".join(f"{name}=1" for name in sorted(desired.api_features))
    return parameters


def _is_ours(config: ContainerConfig, desired: DesiredContainer | Orphan) -> bool:
    text = config.values.get("description", "")
    return ownership.owner(text, desired.site_id, desired.vmid) is ownership.Owner.OURS


def require_ours(config: ContainerConfig, desired: DesiredContainer | Orphan) -> None:
    """Refuse to go on when a container is not ours.

    Raises:
        RefusedError: it does not carry our mark.
    """
    if not _is_ours(config, desired):
        values = config.values
        why = ownership.why_foreign(
            values.get("description", ""), values.get("tags", ""), desired.site_id, desired.vmid
        )
        raise foreign(desired.vmid, desired.name, why)


def changed_since(desired: DesiredContainer | Orphan) -> ZentoriaError:
    """The error for a container that somebody else changed after it was looked at, as Proxmox has it for a digest."""
    return ModifiedError(
        f"change container {desired.vmid} ({desired.name})",
        got="its configuration is not the one that the change was planned from",
        todo="somebody else changed it: run again, so that the change is planned anew",
    )


def foreign(vmid: int, name: str, why: str) -> ZentoriaError:
    """The error for a VMID that is not ours."""
    return RefusedError(
        f"touch container {vmid}",
        got=f"it is not Zentoria's: {why}",
        todo=f"move it to another VMID, or give '{name}' another one in the inventory; Zentoria leaves it as it is",
    )
