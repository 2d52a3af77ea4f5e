"""What happens to a container in tasks: create, start, stop, destroy. Each holds the container's lock."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

from zentoria_infra.lab.api.faults import Fault, internal
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.guests import check_lock
from zentoria_infra.lab.api.lxc import changes, volumes
from zentoria_infra.lab.api.lxc import options as guestoptions
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.runtime import Log, RuntimeFailure

REBOOT_TIMEOUT = 60
"""Seconds that a container has to shut down before a reboot (PVE::LXC)."""


@dataclasses.dataclass(frozen=True)
class Creation:
    """What a create task works from. ``disks`` are rootfs and mpN as they were asked for."""

    vmid: int
    template: str
    disks: Mapping[str, str]
    pool: str | None = None


def running(node: Node, vmid: int) -> bool:
    """Whether a container runs."""
    return node.runtime.status(vmid).running


def os_type(template: str) -> str:
    """The ``ostype`` that a template's name tells."""
    return next((name for name in guestoptions.OS_TYPES if template.lower().startswith(name)), "debian")


def create(node: Node, what: Creation, log: Log) -> None:
    """Make a container whose configuration is there already, locked. On failure nothing of it stays."""
    vmid = what.vmid
    with node.locks.guest(vmid):
        try:
            _create(node, what, log)
        except (Fault, RuntimeFailure, OSError) as error:
            discard(node, vmid, log)
            raise internal(f"unable to create CT {vmid} - {error}") from error


def _create(node: Node, what: Creation, log: Log) -> None:
    vmid = what.vmid
    conf = node.guests.edit(vmid)
    for key, text in what.disks.items():
        conf.options[key] = volumes.place(node, vmid, key, text, conf, log)
        node.guests.save(vmid, conf)
    name = volumes.split(what.template)[1]
    file_name = name.removeprefix("vztmpl/")
    if file_name not in node.runtime.templates():
        raise internal(f"volume '{what.template}' does not exist")
    log(f"extracting archive '{node.layout.storage}/template/cache/{file_name}'")
    conf.options.setdefault("arch", "amd64")
    conf.options.setdefault("ostype", os_type(file_name))
    for key, default in (("hostname", f"CT{vmid}"), ("memory", "512"), ("swap", "512")):
        conf.options.setdefault(key, default)
    options = {key: value for key, value in conf.options.items() if key != "lock"}
    node.runtime.unpack(vmid, file_name, options, log)
    log(f"Detected container architecture: {conf.options['arch']}")
    nesting = guestoptions.properties("features", conf.options.get("features", "")).get("nesting", "0")
    if node.release.major >= 9 and nesting != "1":
        # measured on 9.2.11: the task ends "WARNINGS: 1" then
        log("WARN: Systemd 257 detected. You may need to enable nesting.")
    if what.pool:
        with node.access.change() as config:
            if what.pool in config.pools:
                config.pools[what.pool].vms.add(vmid)
    conf.options.pop("lock", None)
    node.guests.save(vmid, conf)


def discard(node: Node, vmid: int, log: Log) -> None:
    """Remove all of a half-made container."""
    with contextlib.suppress(RuntimeFailure):
        node.runtime.destroy(vmid, log)
    for volid in volumes.of_guest(node, vmid):
        with contextlib.suppress(RuntimeFailure):
            node.runtime.free(volid)
    node.guests.remove(vmid)


def forget(node: Node, vmid: int) -> None:
    """Take a container out of its pool, drop the rights on it and its firewall."""
    with node.access.change() as config:
        for pool in config.pools.values():
            pool.vms.discard(vmid)
        config.acl.pop(f"/vms/{vmid}", None)
    node.firewall.remove(vmid)


def start(node: Node, vmid: int, log: Log) -> None:
    """Start a container; pending changes hold from now on."""
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        check_lock(conf)
        if conf.options.get("template") == "1":
            raise internal("you can't start a CT if it's a template")
        if running(node, vmid):
            raise internal(f"CT {vmid} already running")
        _start(node, vmid, conf, log)


def _start(node: Node, vmid: int, conf: GuestConf, log: Log) -> None:
    if conf.pending or conf.delete:
        for error in changes.apply_pending(node, vmid, conf, log).values():
            log(error.strip())
        node.guests.save(vmid, conf)
    for key, text in sorted(conf.options.items()):
        if not guestoptions.is_net(key):
            continue
        bridge = guestoptions.properties(key, text).get("bridge")
        if bridge is not None and not node.interfaces.has_bridge(bridge):
            log(f"bridge '{bridge}' does not exist")
            raise internal(f"startup for container '{vmid}' failed")
    node.runtime.start(vmid, conf.options, log)


def stop(node: Node, vmid: int, log: Log) -> None:
    """Stop a container at once."""
    with node.locks.guest(vmid):
        check_lock(node.guests.get(vmid))
        node.runtime.stop(vmid, log)


def shutdown(node: Node, vmid: int, timeout: int, force: bool, log: Log) -> None:
    """Ask a container to halt; ``force`` stops it when it did not within ``timeout`` seconds."""
    with node.locks.guest(vmid):
        check_lock(node.guests.get(vmid))
        _shutdown(node, vmid, timeout, force, log)


def _shutdown(node: Node, vmid: int, timeout: int, force: bool, log: Log) -> None:
    if node.runtime.shutdown(vmid, timeout, log):
        return
    if not force:
        raise internal(f"command 'lxc-stop -n {vmid} --nokill --timeout {timeout}' failed: exit code 1")
    node.runtime.stop(vmid, log)


def reboot(node: Node, vmid: int, timeout: int, log: Log) -> None:
    """Shut a container down and start it, with the pending changes."""
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        check_lock(conf)
        _shutdown(node, vmid, timeout, True, log)
        _start(node, vmid, conf, log)


def check_destroy(node: Node, vmid: int, *, force: bool) -> None:
    """Raise a 500 Fault when a container must not be destroyed."""
    conf = node.guests.get(vmid)
    if changes.is_protected(conf):
        raise internal(f"can't remove CT {vmid} - protection mode enabled")
    if conf.options.get("lock") != "create":
        check_lock(conf)
    if not force and running(node, vmid):
        raise internal(f"unable to destroy CT {vmid} - container is running")


def destroy(node: Node, vmid: int, log: Log, *, force: bool, purge: bool, unreferenced: bool) -> None:
    """Destroy a container: its volumes, its firewall, its rights, at last its configuration."""
    with node.locks.guest(vmid):
        check_destroy(node, vmid, force=force)
        if running(node, vmid):
            log(f"forced to stop CT {vmid} before destroying!")
            node.runtime.stop(vmid, log)
        conf = node.guests.edit(vmid)
        conf.options["lock"] = "destroyed"
        node.guests.save(vmid, conf)
        node.runtime.destroy(vmid, log)
        mine = {volid for volid in volumes.named_in(conf) if volumes.owner(volumes.split(volid)[1]) == vmid}
        if unreferenced:
            mine.update(volumes.of_guest(node, vmid))
        for volid in sorted(mine):
            volumes.free(node, volid)
        forget(node, vmid)
        if purge:
            log(f"purging CT {vmid} from related configurations..")
        node.guests.remove(vmid)
