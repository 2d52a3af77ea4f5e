"""Base of all containers."""

from __future__ import annotations

import ipaddress

from tests.roles.roles_support import FixedMaterials, files, inventory, settings, state, text, units
from zentoria_infra.guest.state import Absent, Command, Packages, Symlink

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl admin@home"


def test_hosts_has_every_container_once() -> None:
    lines = [line.split() for line in text(state("db"), "/etc/hosts").splitlines() if line and line[0] != "#"]
    for line in lines:
        ipaddress.ip_address(line[0])
    by_address = {line[0]: line[1:] for line in lines}
    assert len(by_address) == len(lines)
    for container in inventory().containers:
        names = by_address[str(container.address)]
        assert names == [f"{container.hostname}.zentoria.internal", container.hostname, container.name]
    assert by_address["127.0.0.1"] == ["localhost"]
    names = [name for container in inventory().containers for name in by_address[str(container.address)]]
    assert len(names) == len(set(names)) == 3 * 17


def test_proxmox_is_told_to_leave_hosts_alone_before_they_are_written() -> None:
    ids = [one.id for one in state("waf").resources]
    assert ids.index("file:/etc/.pve-ignore.hosts") < ids.index("file:/etc/hosts")


def test_time_zone() -> None:
    guest = state("docs")
    links = {one.path: one.target for one in guest.resources if isinstance(one, Symlink)}
    assert links["/etc/localtime"] == "/usr/share/zoneinfo/Etc/UTC"
    assert text(guest, "/etc/timezone") == "Etc/UTC\n"


def test_journal_is_limited_and_restarted_when_the_limit_changes() -> None:
    guest = state("docs")
    found = dict(line.split("=") for line in text(guest, "/etc/systemd/journald.conf.d/zentoria.conf").splitlines()
                 if "=" in line)  # fmt: skip
    assert int(found["SystemMaxUse"].removesuffix("M")) <= 256
    unit = units(guest)["systemd-journald.service"]
    assert unit.enabled is None
    assert unit.reads == ("file:/etc/systemd/journald.conf.d/zentoria.conf",)


def test_apt_has_the_proxy_and_never_asks() -> None:
    conf = text(state("docs"), "/etc/apt/apt.conf.d/80zentoria")
    assert 'Acquire::http::Proxy "http://10.10.47.254:3128";' in conf
    assert 'APT::Install-Recommends "false";' in conf
    assert "--force-confold" in conf
    assert "Proxy" not in text(state("docs", site=None), "/etc/apt/apt.conf.d/80zentoria")
    guest = state("docs")
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert units(guest)[timer].masked
        assert not units(guest)[timer].running


def test_package_sources_of_the_template_are_kept_or_replaced() -> None:
    assert "/etc/apt/sources.list.d/debian.sources" not in files(state("docs"))
    source = {"uris": ["http://mirror.example/debian"], "suites": ["trixie", "trixie-updates"],
              "components": ["main"], "types": ["deb"]}  # fmt: skip
    guest = state("docs", overrides={"package_sources": [source]})
    stanza = text(guest, "/etc/apt/sources.list.d/debian.sources").split("\n\n")[1].splitlines()
    assert stanza == [
        "Types: deb", "URIs: http://mirror.example/debian", "Suites: trixie trixie-updates", "Components: main",
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
    ]  # fmt: skip
    assert [one.path for one in guest.resources if isinstance(one, Absent)] == ["/etc/apt/sources.list"]


def test_no_ssh_without_a_key() -> None:
    guest = state("docs")
    for name in ("ssh.service", "ssh.socket"):
        assert units(guest)[name].masked
        assert not units(guest)[name].running
        assert units(guest)[name].enabled is False
    packages = next(one for one in guest.resources if isinstance(one, Packages))
    assert "openssh-server" not in packages.names


def test_ssh_with_keys_only() -> None:
    guest = state("docs", overrides={"admin_ssh_keys": [KEY]})
    assert text(guest, "/root/.ssh/authorized_keys") == f"{KEY}\n"
    assert files(guest)["/root/.ssh/authorized_keys"].mode == "0600"
    conf = settings(text(guest, "/etc/ssh/sshd_config.d/zentoria.conf"))
    assert conf["PasswordAuthentication"] == "no"
    assert conf["ListenAddress"] == "10.10.41.8"
    assert not units(guest)["ssh.service"].masked
    assert units(guest)["ssh.socket"].masked
    packages = next(one for one in guest.resources if isinstance(one, Packages))
    assert "openssh-server" in packages.names


def test_node_exporter_listens_at_the_containers_address_only() -> None:
    guest = state("redis")
    conf = text(guest, "/etc/default/prometheus-node-exporter")
    assert 'ARGS="--web.listen-address=10.10.41.0:9100"' in conf
    assert len(units(guest)["prometheus-node-exporter.service"].reads) == 2


FQDN = {"containers": {"redis": {"hostname": "cache.home.arpa"}}}


def test_a_host_name_may_have_its_domain() -> None:
    guest = state("redis", overrides=FQDN)
    assert text(guest, "/etc/hostname") == "cache\n"
    lines = [line.split() for line in text(state("db", overrides=FQDN), "/etc/hosts").splitlines()]
    assert ["10.10.41.0", "cache.home.arpa", "cache", "redis"] in lines
    found = inventory(overrides=FQDN)
    assert found.by_name("cache.home.arpa") is found.by_name("cache") is found.by_name("redis")


def test_a_certificate_has_the_whole_name_and_the_short_one() -> None:
    materials = FixedMaterials()
    state("proxy", overrides={"containers": {"proxy": {"hostname": "www.home.arpa"}}}, materials=materials)
    assert {"www.home.arpa", "www"} <= set(materials.names)


def test_a_running_guest_takes_its_name() -> None:
    """Proxmox writes a new one into its configuration alone."""
    (step,) = (one for one in state("redis", overrides=FQDN).resources if one.id == "hostname")
    assert isinstance(step, Command)
    assert (step.check, step.expect, step.apply) == (("hostname",), "cache", ("hostname", "cache"))


def test_the_network_is_there_when_the_containers_own_address_is() -> None:
    """Whoever gives it; and before packages are installed, since these start services that wait for it."""
    guest = state("db")
    unit = text(guest, "/etc/systemd/system/zentoria-address.service")
    assert "address show to 10.10.40.4 |" in unit
    assert "Before=network-online.target\n" in unit
    assert "ExecStart=-/usr/bin/timeout 20 " in unit, "an address that was changed leaves no failed unit"
    links = {one.path.removeprefix("/etc/systemd/system/"): one.target for one in guest.resources
             if isinstance(one, Symlink) and one.path.startswith("/etc/systemd")}  # fmt: skip
    assert links == {
        "network-online.target.wants/zentoria-address.service": "/etc/systemd/system/zentoria-address.service",
        "systemd-networkd-wait-online.service": "/dev/null",
    }
    ids = [one.id for one in guest.resources]
    assert max(ids.index(f"link:/etc/systemd/system/{path}") for path in links) < ids.index("packages")
