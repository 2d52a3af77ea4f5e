"""What every guest has: names, time, package sources, limits of its journal, SSH or none."""

from __future__ import annotations

from zentoria_infra.guest.state import Command, Resource, Symlink, Unit
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.roles.kit.fragment import Context, Fragment, absent, directory, drop_in, file

APT_TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
"""Guests have no way to the internet, but for the time of a deployment: these would fail every day."""

ADDRESS_UNIT = "zentoria-address.service"
NETWORKD_WAITS = "systemd-networkd-wait-online.service"

SSH_UNITS = ("ssh.service", "ssh.socket")
SOURCES = "/etc/apt/sources.list.d/debian.sources"


def base(context: Context) -> Fragment:
    """The base of all containers."""
    ssh = _ssh(context)
    return Fragment(
        before=(*package_sources(context), *_network(context)),
        packages=base_packages(context.inventory),
        main=(*_names(context), *_time(context), *_journal(context), *_no_timers(), *ssh.main),
    )


def base_packages(inventory: Inventory) -> tuple[str, ...]:
    """Debian packages of every container, whatever its services are."""
    return ("tzdata", *(("openssh-server",) if inventory.site.admin_ssh_keys else ()))


def alike(context: Context) -> tuple[Resource, ...]:
    """What is the same in all containers of a size: nothing of it tells which one it is."""
    ssh = () if context.inventory.site.admin_ssh_keys else _ssh(context).main
    return (*_time(context), *_journal(context)[:1], *_no_timers(), *ssh)


def names_of(inventory: Inventory, container: Container) -> tuple[str, ...]:
    """Names of a container, as ``zentoria-db.zentoria.internal``, ``zentoria-db`` and ``db``.

    A host name that has its domain with it is the whole name already, as Proxmox takes it (update_etc_hosts of
    PVE::LXC::Setup::Base).
    """
    whole = (
        container.hostname if "." in container.hostname else f"{container.hostname}.{inventory.site.dns.search_domain}"
    )
    return tuple(dict.fromkeys((whole, container.short_hostname, container.name)))


def package_sources(context: Context) -> tuple[Resource, ...]:
    """Where a container's Debian packages come from, and through which proxy."""
    site = context.inventory.site
    found: list[Resource] = [file("/etc/apt/apt.conf.d/80zentoria", context.render("base/apt.conf", proxy=site.proxy))]
    if site.package_sources != "template":
        text = context.render("base/sources.deb822", sources=site.package_sources)
        found += [file(SOURCES, text), absent("/etc/apt/sources.list")]
    return tuple(found)


def _network(context: Context) -> tuple[Resource, ...]:
    """What ``network-online.target`` means: the container's own address is there, whoever gives it.

    Proxmox configures a container by systemd-networkd's settings or by ifupdown's. What waits for the first of them is
    turned on in both cases, and then holds up each start for two minutes. Links, and no units: before packages are
    installed, since these start services.
    """
    unit = "/etc/systemd/system/{}"
    text = context.render("base/address.service", address=context.address)
    links = {
        unit.format(f"network-online.target.wants/{ADDRESS_UNIT}"): unit.format(ADDRESS_UNIT),
        unit.format(NETWORKD_WAITS): "/dev/null",
    }
    return (
        file(unit.format(ADDRESS_UNIT), text),
        *(Symlink(id=f"link:{path}", path=path, target=target) for path, target in links.items()),
    )


def _names(context: Context) -> tuple[Resource, ...]:
    inventory, name = context.inventory, context.container.short_hostname
    hosts = [
        {"address": str(container.address), "names": names_of(inventory, container)}
        for container in inventory.containers
    ]
    return (
        # Proxmox writes its own lines into these files at each start, unless such a mark is beside them (pct(1)).
        file("/etc/.pve-ignore.hosts", ""),
        file("/etc/hosts", context.render("base/hosts", hosts=hosts)),
        file("/etc/hostname", f"{name}\n"),
        # Proxmox writes a new name into its configuration, and into the container at its next start.
        Command(id="hostname", check=("hostname",), expect=name, apply=("hostname", name)),
    )


def _time(context: Context) -> tuple[Resource, ...]:
    zone = context.inventory.site.time_zone
    return (
        Symlink(id="link:/etc/localtime", path="/etc/localtime", target=f"/usr/share/zoneinfo/{zone}"),
        file("/etc/timezone", f"{zone}\n"),
    )


def _journal(context: Context) -> tuple[Resource, ...]:
    rootfs = context.container.resources.rootfs * 1024
    text = context.render("base/journald.conf", disk=min(256, rootfs // 32), keep_free=rootfs // 10)
    settings = file("/etc/systemd/journald.conf.d/zentoria.conf", text)
    unit = "systemd-journald.service"
    return settings, Unit(id=f"unit:{unit}", name=unit, enabled=None, reads=(settings.id,))


def _no_timers() -> tuple[Resource, ...]:
    return tuple(Unit(id=f"unit:{name}", name=name, enabled=False, running=False, masked=True) for name in APT_TIMERS)


def _ssh(context: Context) -> Fragment:
    keys = context.inventory.site.admin_ssh_keys
    if not keys:
        return Fragment(
            main=tuple(
                Unit(id=f"unit:{name}", name=name, enabled=False, running=False, masked=True) for name in SSH_UNITS
            )
        )
    settings = file("/etc/ssh/sshd_config.d/zentoria.conf", context.render("base/sshd.conf", address=context.address))
    late = drop_in(context, "ssh.service")
    return Fragment(
        main=(
            directory("/root/.ssh", mode="0700"),
            file("/root/.ssh/authorized_keys", "".join(f"{key}\n" for key in keys), mode="0600"),
            settings,
            late,
            # with the socket, sshd would listen at every address
            Unit(id="unit:ssh.socket", name="ssh.socket", enabled=False, running=False, masked=True),
            Unit(id="unit:ssh.service", name="ssh.service", reads=(settings.id, late.id)),
        ),
    )
