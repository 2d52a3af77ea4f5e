"""Changes to a container's configuration: what holds at once, what waits for a restart (PVE::LXC::Config)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from zentoria_infra.lab.api.faults import Fault, bad_params, internal
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.lxc import options, volumes
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.runtime import Log, RuntimeFailure

_REQUIRED = frozenset({"memory", "rootfs", "ostype"})
_SILENT = frozenset({"description", "onboot", "startup", "protection", "hookscript", "tags", "lock", "template"})
"""Options that hold at once because no running container reads them."""
_HOT = frozenset({"memory", "swap", "cores", "cpulimit", "hostname"})
"""Options that a running container takes at once, beside NICs. A new mount point waits for the next start here."""


def is_protected(conf: GuestConf) -> bool:
    """Whether the container is protected against removal."""
    return conf.options.get("protection") == "1"


def check_unknown(parameter: str, names: Iterable[str]) -> None:
    """Raise a 400 Fault for ``delete`` or ``revert`` of an option that does not exist."""
    for name in names:
        if not options.known(name):
            raise bad_params({parameter: f"unknown option '{name}'"})


def normalise(name: str, value: str) -> str:
    """A value as it is stored."""
    if options.is_net(name):
        return options.normalise_net(value)
    if name == "tags":
        return options.normalise_tags(value)
    if name in ("nameserver", "searchdomain"):
        return " ".join(value.replace(",", " ").replace(";", " ").split())
    if options.is_volume(name):
        return options.join_properties(name, options.properties(name, value))
    return value


def stage(conf: GuestConf, vmid: int, new: Mapping[str, str], delete: Iterable[str], revert: Iterable[str]) -> None:
    """Put changes among the pending ones. Raises a Fault for those that can never be."""
    for name in revert:
        conf.pending.pop(name, None)
        conf.delete.pop(name, None)
    for name in delete:
        if name in _REQUIRED:
            raise internal(f"unable to delete required option '{name}'")
        if name == "unprivileged":
            raise internal(f"unable to delete read-only option: '{name}'")
        if is_protected(conf) and (options.is_volume(name) or name.startswith("unused")):
            raise internal(f"can't remove CT {vmid} drive '{name}' - protection mode enabled")
        conf.pending.pop(name, None)
        conf.delete[name] = False
    for name, value in new.items():
        if name == "unprivileged":
            raise internal(f"unable to modify read-only option: '{name}'")
        if name.startswith("unused"):
            raise internal("unable to modify unused volumes")
        if is_protected(conf) and options.is_volume(name):
            raise internal(f"can't update CT {vmid} drive '{name}' - protection mode enabled")
        conf.delete.pop(name, None)
        conf.pending[name] = normalise(name, value)


def apply_pending(node: Node, vmid: int, conf: GuestConf, log: Log) -> dict[str, str]:
    """Make all pending changes hold (the container does not run). Gives the errors by option; those stay pending."""
    errors: dict[str, str] = {}
    for name in list(conf.delete):
        _attempt(name, errors, "unable to apply pending change", _delete, node, vmid, conf, name)
    for name in list(conf.pending):
        _attempt(name, errors, "unable to apply pending change", _set, node, vmid, conf, name, log)
    return errors


def hotplug(node: Node, vmid: int, conf: GuestConf, log: Log) -> dict[str, str]:
    """Make those pending changes hold that a running container can take. Gives the errors by option."""
    errors: dict[str, str] = {}
    changed: set[str] = set()
    before = dict(conf.options)
    for name in list(conf.delete):
        if name in _SILENT or name in _HOT or options.is_net(name) or name.startswith("unused"):
            _attempt(name, errors, f"unable to hotplug {name}", _delete, node, vmid, conf, name)
        elif name not in conf.options:
            del conf.delete[name]
    for name in list(conf.pending):
        if conf.pending[name] == conf.options.get(name):
            del conf.pending[name]
        elif options.is_net(name) and not _bridge_up(node, conf.pending[name]):
            bridge = options.properties(name, conf.pending[name]).get("bridge", "")
            errors[name] = f"unable to hotplug {name}: bridge '{bridge}' does not exist\n"
        elif name in _SILENT or name in _HOT or options.is_net(name):
            _attempt(name, errors, f"unable to hotplug {name}", _set, node, vmid, conf, name, log)
    changed = {name for name in {*before, *conf.options} if before.get(name) != conf.options.get(name)}
    changed = {name for name in changed if name not in _SILENT and not name.startswith("unused")}
    if changed:
        _tell_runtime(node, vmid, conf, before, changed, errors, log)
    return errors


def _tell_runtime(
    node: Node,
    vmid: int,
    conf: GuestConf,
    before: Mapping[str, str],
    changed: set[str],
    errors: dict[str, str],
    log: Log,
) -> None:
    try:
        node.runtime.apply(vmid, conf.options, frozenset(changed), log)
    except RuntimeFailure as failure:
        for name in changed:
            errors[name] = f"unable to hotplug {name}: {failure}\n"
            if name in conf.options:
                conf.pending[name] = conf.options.pop(name)
            else:
                conf.delete[name] = False
            if name in before:
                conf.options[name] = before[name]


def _bridge_up(node: Node, net: str) -> bool:
    bridge = options.properties("net0", net).get("bridge")
    return bridge is None or node.interfaces.has_bridge(bridge)


def _attempt(name: str, errors: dict[str, str], prefix: str, action: Callable[..., None], *args: object) -> None:
    try:
        action(*args)
    except (Fault, RuntimeFailure) as failure:
        errors[name] = f"{prefix}: {failure}\n"


def _delete(node: Node, vmid: int, conf: GuestConf, name: str) -> None:
    text = conf.options.get(name)
    if text is not None and name.startswith("unused"):
        volid = options.properties(name, text)["volume"]
        if not volumes.in_use(conf, volid):
            volumes.free(node, volid)
    conf.options.pop(name, None)
    conf.delete.pop(name, None)
    if text is not None and options.is_volume(name):
        _let_go(conf, vmid, name, text)


def _set(node: Node, vmid: int, conf: GuestConf, name: str, log: Log) -> None:
    value = conf.pending[name]
    if options.is_volume(name):
        value = volumes.place(node, vmid, name, value, conf, log)
        before = conf.options.get(name)
        conf.options[name] = value
        for key, volid in volumes.sources(conf.options).items():
            if key.startswith("unused") and volid == volumes.sources({name: value}).get(name):
                del conf.options[key]
        if before is not None:
            _let_go(conf, vmid, name, before)
    else:
        conf.options[name] = value
    del conf.pending[name]


def _let_go(conf: GuestConf, vmid: int, name: str, text: str) -> None:
    volid = volumes.sources({name: text}).get(name)
    if volid is not None:
        volumes.abandon(conf, vmid, volid)
