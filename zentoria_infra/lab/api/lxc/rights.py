"""Which right each option of a container needs (PVE::LXC::check_ct_modify_config_perm)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from zentoria_infra.lab.api.faults import forbidden, internal
from zentoria_infra.lab.api.lxc import options, volumes
from zentoria_infra.lab.api.routing import Call

_CPU = frozenset({"cores", "cpuunits", "cpulimit"})
_NETWORK = frozenset({"nameserver", "searchdomain", "hostname"})


def check(
    call: Call,
    vmid: int,
    pool: str | None,
    old: Mapping[str, str] | None,
    new: Mapping[str, str],
    delete: Iterable[str] = (),
    *,
    unprivileged: bool,
) -> None:
    """Raise a 403 Fault unless the caller may make these changes. ``old`` is None for a new container."""
    if call.is_root:
        return
    for option in new:
        _option(call, vmid, pool, old, new, option, unprivileged)
    for option in delete:
        _option(call, vmid, pool, old, None, option, unprivileged)


def _option(
    call: Call,
    vmid: int,
    pool: str | None,
    old: Mapping[str, str] | None,
    new: Mapping[str, str] | None,
    option: str,
    unprivileged: bool,
) -> None:
    def need(*privileges: str) -> None:
        call.rights.check_guest(call.who, vmid, pool, *privileges)

    if option in _CPU:
        need("VM.Config.CPU")
    elif options.is_volume(option) or option.startswith("unused"):
        need("VM.Config.Disk")
        if new is not None and options.is_volume(option):
            _volume(call, vmid, options.properties(option, new[option])["volume"])
    elif option in ("memory", "swap"):
        need("VM.Config.Memory")
    elif options.is_net(option) or option in _NETWORK:
        need("VM.Config.Network")
        if options.is_net(option):
            for values in (old, new):
                if values is not None and option in values:
                    check_bridge(call, values[option])
    elif option == "features":
        _features(call, need, (old or {}).get(option, ""), new[option] if new else "", unprivileged)
    elif option == "tags":
        call.check(f"/vms/{vmid}", "VM.Config.Options")
    elif option == "hookscript":
        raise forbidden("changing the hookscript is only allowed for root@pam")
    elif option.startswith("dev") and option[3:].isdigit():
        raise forbidden("configuring device passthrough is only allowed for root@pam")
    else:
        need("VM.Config.Options")


def _volume(call: Call, vmid: int, volume: str) -> None:
    kind = volumes.kind(volume)
    if kind != "volume":
        raise forbidden(f"mount point type {kind} is only allowed for root@pam")
    if match := volumes.NEW_DISK.fullmatch(volume):
        call.check(f"/storage/{match[1]}", "Datastore.AllocateSpace")
        return
    storage, name = volumes.split(volume)
    if volumes.owner(name) == vmid:
        call.check(f"/storage/{storage}", "Datastore.AllocateSpace")
    else:
        call.check(f"/storage/{storage}", "Datastore.Allocate")


def check_bridge(call: Call, net: str) -> None:
    """The right to use the bridge of a NIC (and its VLAN tag)."""
    parts = options.properties("net0", net)
    bridge = parts.get("bridge")
    if bridge is None:
        raise internal("no sdn vnet ID specified")
    path = f"/sdn/zones/localnetwork/{bridge}"
    call.check(f"{path}/{parts['tag']}" if "tag" in parts else path, "SDN.Use")


def _features(call: Call, need: Callable[..., None], old: str, new: str, unprivileged: bool) -> None:
    if not unprivileged:
        raise forbidden("changing feature flags for privileged container is only allowed for root@pam")
    before = options.properties("features", old)
    after = options.properties("features", new)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    if changed - {"nesting"}:
        raise forbidden("changing feature flags (except nesting) is only allowed for root@pam")
    if changed:
        need("VM.Allocate")
