"""Container 410: Redis with a user a service, each with its own keys, and an append-only file on its volume."""

from __future__ import annotations

from zentoria_infra.guest import secrets
from zentoria_infra.guest.state import Step, Unit
from zentoria_infra.inventory.flows import expand_needs
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.roles.base import exporter
from zentoria_infra.roles.kit.fragment import Context, Fragment, drop_in, file, ids, secret_file

UNIT = "redis-server.service"
HOME = "/var/lib/redis"
ADMIN = "admin"
EXPORTER = "exporter"

EXTRA_KEYS = {"n8n": ("bull:*",)}
"""Keys besides those that begin with the service's name: Bull, n8n's queue, has a prefix of its own."""

SERVICE_RULES = "+@all -@admin -@dangerous +info"
"""Everything but what looks at or changes the server and other users' data. ``INFO`` is what clients ask first."""

READER_RULES = "-@all +ping +info +replconf +psync +sync +lastsave +bgsave"
"""A backup reads a snapshot as a replica does (``redis-cli --rdb``); these commands take no keys."""

EXPORTER_RULES = (
    "-@all +ping +info +config|get +slowlog|get +slowlog|len +latency|latest +latency|histogram +client|setname"
)

READERS = frozenset({"backup"})


def password_path(user: str) -> str:
    """Where a user's password is."""
    return f"zentoria/redis/{user}_password"


def users(inventory: Inventory, container: Container) -> tuple[str, ...]:
    """Containers whose services need Redis in ``container``, sorted; each is a user of that name."""
    ports = {
        number
        for service in container.services
        if service.component == "redis"
        for port in service.exposes
        for number in port.port.numbers
    }
    return tuple(
        sorted(
            {
                need.source
                for need in expand_needs(inventory)
                if need.destination == container.name and ports & set(range(need.first, need.last + 1))
            }
        )
    )


def redis(context: Context, service: Service) -> Fragment:
    """The server. It reads its users at the start only, so a change of them restarts it."""
    exported = any(other.component == "redis-exporter" for other in context.container.services)
    lines = ["user default off resetpass resetkeys resetchannels -@all"]
    # the one of the architecture's layout: for maintenance, nobody's service has it
    lines.append(_user(ADMIN, secrets.redis_hash(context.secret("zentoria/redis/password")), "~* &* +@all"))
    if exported:
        lines.append(_user(EXPORTER, secrets.redis_hash(context.secret(password_path(EXPORTER))), EXPORTER_RULES))
    lines += [
        _user(user, secrets.redis_hash(context.secret(password_path(user))), _rules(user))
        for user in users(context.inventory, context.container)
    ]
    settings = context.render(
        "redis/redis.conf",
        address=context.address,
        port=service.port("redis").first,
        home=HOME,
        max_memory=context.container.resources.memory * 6 // 10,
    )
    files = (
        file("/etc/redis/redis.conf", settings, mode="0640", group="redis"),
        secret_file("/etc/redis/users.acl", "".join(f"{line}\n" for line in lines), owner="redis", group="redis"),
        drop_in(context, UNIT),
    )
    return Fragment(
        packages=context.apt(service).packages,
        main=(_owner(), *files, Unit(id=f"unit:{UNIT}", name=UNIT, reads=ids(files)), *context.health(service)),
    )


def redis_exporter(context: Context, service: Service) -> Fragment:
    """Metrics of the server, as a user that sees no key."""
    server = next(other for other in context.container.services if other.component == "redis")
    variables = {
        "REDIS_ADDR": f"redis://127.0.0.1:{server.port('redis').first}",
        "REDIS_USER": EXPORTER,
        "REDIS_PASSWORD": context.secret(password_path(EXPORTER)).get_secret_value(),
    }
    return exporter(context, service, "prometheus-redis-exporter.service", variables, secret=True)


def _user(name: str, password: str, rules: str) -> str:
    return f"user {name} on {password} {rules}"


def _rules(user: str) -> str:
    if user in READERS:
        return f"resetkeys resetchannels {READER_RULES}"
    patterns = (f"{user}:*", *EXTRA_KEYS.get(user, ()))
    keys = " ".join(f"~{pattern}" for pattern in patterns)
    return f"{keys} resetchannels &{user}:* {SERVICE_RULES}"


def _owner() -> Step:
    """The volume outlives the container: in a new one ``redis`` may be another number."""
    look = ("find", HOME, "-mindepth", "1", "-maxdepth", "2", "-name", "lost+found", "-prune", "-o", "!", "-user",
            "redis", "-print", "-quit")  # fmt: skip
    change = ("find", HOME, "-mindepth", "1", "-name", "lost+found", "-prune", "-o", "-exec", "chown", "-h",
              "redis:redis", "{}", "+")  # fmt: skip
    return Step(id="redis:owner of the data", check=look, expect="", apply=change, timeout=600)
