"""Container 407: object storage behind the S3 interface, a key a consumer with just its buckets. Here: SeaweedFS.

One process holds SeaweedFS' master, volumes, filer and S3 gateway. Only the gateway and its figures are at the
container's address: the others ask nobody for a key, and are at 127.0.0.1 alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from zentoria_infra.guest.state import Command, Resource, Unit
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.roles.kit.archive_service import archive_service
from zentoria_infra.roles.kit.clients import Consumer, consumers, reaches, s3_secret_key
from zentoria_infra.roles.kit.fragment import Context, directory, file, ids, secret_file

COMPONENT = "s3"
HOME = "/var/lib/s3"
SETTINGS = "/etc/zentoria/s3"
TOOLS = "/usr/local/lib/zentoria"
ADMIN = "admin"
ADMIN_KEY_PATH, ADMIN_SECRET_PATH = "zentoria/minio/root_user", "zentoria/minio/root_password"
"""Both halves of the key that may do everything: it makes the buckets. Nobody's service has it."""

VOLUME_MIB = 1024
"""Size of one of SeaweedFS' volume files (its default of 30 GB is made for racks of disks)."""
PARTS_DAYS = 2
"""Parts of an upload that nobody completed go after so many days; the gateway's own reaper is quicker."""
OLD_VERSIONS_DAYS = 30
"""What was overwritten or deleted can be brought back for so long."""
LIFECYCLE = "s3-lifecycle"


COPIES = "backups"
"""The bucket of who reads all the others, as a backup does: there it may write."""


def users(inventory: Inventory, container: Container) -> dict[str, tuple[Consumer, ...]]:
    """Needs of the object storage in ``container`` by the container that has them, sorted; each is a key."""
    found: dict[str, list[Consumer]] = {}
    servers = [service for service in container.services if service.component == COMPONENT]
    for one in consumers(inventory, container):
        wishes = one.need.buckets or one.need.access == "read"
        if wishes and any(reaches(one, container, server) for server in servers):
            found.setdefault(one.container.name, []).append(one)
    return {name: tuple(found[name]) for name in sorted(found)}


def buckets(inventory: Inventory, container: Container) -> tuple[str, ...]:
    """Every bucket that somebody wishes for, sorted."""
    return tuple(sorted({name for needs in users(inventory, container).values() for name in _wished(needs)}))


def actions(needs: Sequence[Consumer]) -> list[str]:
    """What a key may do, in SeaweedFS' words: all with the objects of its buckets, and nothing with the buckets."""
    reads = ["List", "Read"] if any(one.need.access == "read" for one in needs) else []
    return reads + [f"{verb}:{name}" for name in _wished(needs) for verb in ("List", "Read", "Tagging", "Write")]


def _wished(needs: Sequence[Consumer]) -> list[str]:
    copies = {COPIES} if any(one.need.access == "read" for one in needs) else set()
    return sorted({name for one in needs for name in one.need.buckets} | copies)


def _command(context: Context, service: Service) -> tuple[str, ...]:
    address = context.address
    volumes = max((volume.size for volume in context.container.volumes if volume.path == HOME), default=100)
    return (
        COMPONENT,
        "-logtostderr=true",
        "server",
        f"-dir={HOME}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.volumeSizeLimitMB={VOLUME_MIB}",
        # Of one master; with ten seconds, the default, a restart takes so much longer.
        "-master.electionTimeout=1s",
        # It says who runs it, to its makers, unless told not to.
        "-master.telemetry=false",
        # Not a limit of space: each bucket begins with seven of them, which are small as long as they are empty.
        f"-volume.max={max(200, 2 * volumes)}",
        # How long it tells the master, which is this process, that it will stop.
        "-volume.preStopSeconds=1",
        "-filer",
        "-filer.exposeDirectoryData=false",
        "-s3",
        f"-s3.ip.bind={address}",
        f"-s3.port={service.port('s3').first}",
        f"-s3.config={SETTINGS}/identities.json",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        f"-metricsIp={address}",
        f"-metricsPort={service.port('metrics').first}",
    )


def _files(context: Context, service: Service) -> tuple[Resource, ...]:
    """It reads its keys at the start. A reload would add new ones and leave those that are gone, so it restarts."""
    admin = context.secret(ADMIN_KEY_PATH).get_secret_value()
    found = [_identity(ADMIN, admin, context.secret(ADMIN_SECRET_PATH).get_secret_value(),
                       ["Admin", "List", "Read", "Tagging", "Write"])]  # fmt: skip
    found += [
        _identity(user, user, context.secret(s3_secret_key(user)).get_secret_value(), actions(needs))
        for user, needs in users(context.inventory, context.container).items()
    ]
    text = json.dumps({"identities": found}, indent=2)
    return (
        directory("/etc/zentoria"),
        directory(SETTINGS, mode="0750", group=COMPONENT),
        secret_file(f"{SETTINGS}/identities.json", f"{text}\n", owner=COMPONENT, group=COMPONENT),
    )


def _identity(name: str, key: str, secret: str, allowed: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": allowed}


def _last(context: Context, service: Service) -> tuple[Resource, ...]:
    """Buckets, once the server answers, and what tidies them."""
    rules = {"parts_days": PARTS_DAYS, "old_versions_days": OLD_VERSIONS_DAYS}
    wanted = {
        "host": context.address,
        "port": service.port("s3").first,
        "buckets": {name: rules for name in buckets(context.inventory, context.container)},
    }
    program = f"{TOOLS}/s3-buckets.py"
    values = {"address": context.address, "port": service.port("s3").first}
    units = tuple(
        file(f"/etc/systemd/system/{LIFECYCLE}.{kind}", context.render(f"s3/lifecycle.{kind}", **values))
        for kind in ("service", "timer")
    )
    return (
        directory(TOOLS),
        file(program, context.render("s3/buckets.py", settings=SETTINGS), mode="0755"),
        file(f"{SETTINGS}/buckets.json", json.dumps(wanted, indent=2) + "\n"),
        Command(id="s3:buckets", check=(program, "check"), apply=(program, "make")),
        *units,
        Unit(id=f"unit:{LIFECYCLE}.timer", name=f"{LIFECYCLE}.timer", reads=ids(units)),
    )


def _secrets(inventory: Inventory, container: Container, service: Service) -> tuple[str, ...]:
    return (ADMIN_KEY_PATH, ADMIN_SECRET_PATH)


def _grants(inventory: Inventory, container: Container, service: Service) -> Iterator[tuple[Consumer, str]]:
    for user, needs in users(inventory, container).items():
        yield from ((one, s3_secret_key(user)) for one in needs)


def _checks(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """Needs that say no bucket: they would have no key."""
    for one in consumers(inventory, container):
        if not reaches(one, container, service) or "metrics" in one.need.exposes:
            continue
        if not one.need.buckets and one.need.access == "use":
            text = "it says no bucket: 'buckets: [...]', or 'access: read' to read all of them"
            yield problem(one.position(inventory), text)
        if one.container.name == ADMIN:
            yield problem(one.position(inventory), f"'{ADMIN}' is the server's own key: no container may be called so")


ROLE = archive_service(
    COMPONENT,
    title="object storage (S3)",
    command=_command,
    files=_files,
    last=_last,
    ports=("s3", "metrics"),
    volumes=(HOME,),
    secrets=_secrets,
    grants=_grants,
    takes=frozenset({"buckets"}),
    checks=_checks,
    stop_seconds=30,
)
