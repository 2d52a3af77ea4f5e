"""Container 410: Redis with a user a service, each with its own keys, and an append-only file on its volume."""

from __future__ import annotations

from collections.abc import Iterator

from zentoria_infra.guest import secrets
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.roles.kit.clients import Consumer, consumers, reaches, redis_password
from zentoria_infra.roles.kit.data_owner import data_owner
from zentoria_infra.roles.kit.debian_server import debian_server, exporter
from zentoria_infra.roles.kit.fragment import Context, Fragment, file, secret_file
from zentoria_infra.roles.kit.role import Call, Role

UNIT = "redis-server.service"
HOME = "/var/lib/redis"
ADMIN = "admin"
EXPORTER = "exporter"

ADMIN_PATH = "zentoria/redis/password"
"""Where the password of :data:`ADMIN` is: for maintenance, nobody's service has it."""

SERVICE_RULES = "+@all -@admin -@dangerous +info"
"""Everything but what looks at or changes the server and other users' data. ``INFO`` is what clients ask first."""

READER_RULES = "-@all +ping +info +replconf +psync +sync +lastsave +bgsave"
"""A backup reads a snapshot as a replica does (``redis-cli --rdb``); these commands take no keys."""

EXPORTER_RULES = (
    "-@all +ping +info +config|get +slowlog|get +slowlog|len +latency|latest +latency|histogram +client|setname"
)


def users(inventory: Inventory, container: Container) -> dict[str, tuple[Consumer, ...]]:
    """Needs of Redis in ``container`` by the container that has them, sorted; each is a user of that name."""
    found: dict[str, list[Consumer]] = {}
    servers = [service for service in container.services if service.component == "redis"]
    for one in consumers(inventory, container):
        if any(reaches(one, container, server) for server in servers):
            found.setdefault(one.container.name, []).append(one)
    return {name: tuple(found[name]) for name in sorted(found)}


def redis(context: Context, service: Service) -> Fragment:
    """The server. It reads its users at the start only, so a change of them restarts it."""
    # Nobody is this user. But Redis replays its log as it, and drops every transaction and script that it may not do
    # (redis/redis#14541).
    lines = ["user default off resetpass ~* &* +@all"]
    lines.append(_user(context, ADMIN, ADMIN_PATH, "~* &* +@all"))
    if _exported(context.container):
        lines.append(_user(context, EXPORTER, redis_password(EXPORTER), EXPORTER_RULES))
    lines += [
        _user(context, user, redis_password(user), _rules(user, needs))
        for user, needs in users(context.inventory, context.container).items()
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
    )
    return debian_server(context, service, UNIT, files, first=(data_owner("redis", HOME, "redis"),))


def _user(context: Context, name: str, path: str, rules: str) -> str:
    return f"user {name} on {secrets.redis_hash(context.secret(path))} {rules}"


def _patterns(user: str, needs: tuple[Consumer, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((f"{user}:*", *(pattern for one in needs for pattern in one.need.keys))))


def _rules(user: str, needs: tuple[Consumer, ...]) -> str:
    if all(one.need.access == "read" for one in needs):
        return f"resetkeys resetchannels {READER_RULES}"
    keys = " ".join(f"~{pattern}" for pattern in _patterns(user, needs))
    return f"{keys} resetchannels &{user}:* {SERVICE_RULES}"


def _exported(container: Container) -> bool:
    return any(other.component == "redis-exporter" for other in container.services)


def _secrets(inventory: Inventory, container: Container, service: Service) -> tuple[str, ...]:
    return (ADMIN_PATH, redis_password(EXPORTER)) if _exported(container) else (ADMIN_PATH,)


def _grants(inventory: Inventory, container: Container, service: Service) -> Iterator[tuple[Consumer, str]]:
    for user, needs in users(inventory, container).items():
        yield from ((one, redis_password(user)) for one in needs)


def _checks(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """Keys that two users would have: what one writes, the other could read and delete. Names that are taken."""
    by_user = users(inventory, container)
    for user, needs in by_user.items():
        for one in needs:
            if user in (ADMIN, EXPORTER, "default"):
                yield problem(
                    one.position(inventory), f"'{user}' is a user of Redis' own: no container may be called so"
                )
            for number, pattern in enumerate(one.need.keys):
                for other, theirs in by_user.items():
                    if other != user and any(_overlap(pattern, taken) for taken in _patterns(other, theirs)):
                        text = f"keys '{pattern}' of '{user}' would be those of '{other}' too"
                        yield problem(one.position(inventory, f"keys.{number}"), text)


def _overlap(one: str, other: str) -> bool:
    """Whether two patterns, with no wildcard but at the end, have a key in common."""
    a, b = one.removesuffix("*"), other.removesuffix("*")
    return (a == b) or (one != a and b.startswith(a)) or (other != b and a.startswith(b))


def _variables(context: Context, service: Service) -> dict[str, str]:
    """As a user that sees no key."""
    return {
        "REDIS_ADDR": f"redis://127.0.0.1:{context.target(service, 'redis', 'redis').port}",
        "REDIS_USER": EXPORTER,
        "REDIS_PASSWORD": context.secret(redis_password(EXPORTER)).get_secret_value(),
    }


def _exporter_secrets(inventory: Inventory, container: Container, service: Service) -> tuple[str, ...]:
    return (redis_password(EXPORTER),)


ROLE = Role(
    "redis",
    redis,
    unit=UNIT,
    ports=("redis",),
    volumes=(HOME,),
    secrets=_secrets,
    grants=_grants,
    takes=frozenset({"keys"}),
    checks=_checks,
)
EXPORTER_ROLE = exporter(
    "redis-exporter", variables=_variables, secrets=_exporter_secrets, calls=(Call("redis", "redis"),)
)
