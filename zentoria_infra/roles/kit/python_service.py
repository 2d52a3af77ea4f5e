"""One of our own Python services: release with a gate, settings, secrets, sockets that systemd holds, unit.

A service ``voice`` is ``services/voice``, with the console script ``zentoria-voice``: ``serve`` runs it, ``check --wait
SECONDS`` says by its exit code whether it could serve with the settings that are there, 78 means that these are wrong.
It reads ``ZENTORIA_*`` from its environment, takes its sockets from systemd and says ``READY=1``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Literal

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest import secrets
from zentoria_infra.guest.secrets import Kind
from zentoria_infra.guest.state import File, Release, Resource, Unit, User
from zentoria_infra.inventory.component_model import WorkspaceComponent
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids, secret_file
from zentoria_infra.roles.kit.role import Call, Role

CHECK_SECONDS = 20
GATE_SECONDS = 45

Client = Literal["database", "postgres", "redis", "s3"]
"""What a service may use: a database through the pool or at the server itself, Redis, buckets of the object storage."""
_CALLS: Mapping[Client, Call] = {
    "database": Call("pgbouncer", "pool"),
    "postgres": Call("postgresql", "postgres"),
    "redis": Call("redis", "redis"),
    "s3": Call("s3", "s3"),
}
_PASSWORDS: Mapping[Client, tuple[str, Callable[[str], str]]] = {
    "database": ("database_password", clients.database_password),
    "postgres": ("database_password", clients.database_password),
    "redis": ("redis_password", clients.redis_password),
    "s3": ("s3_secret_key", clients.s3_secret_key),
}
"""Names of the files of their passwords, and where the passwords are."""
_IDENTITY = "identity_key"
Variables = Callable[[Context, Service], Mapping[str, object]]


Files = Callable[[Context, Service], tuple[File, ...]]
DebianPackages = tuple[str, ...] | Callable[[Service], tuple[str, ...]]


def _none(context: Context, service: Service) -> Mapping[str, object]:
    return {}


def _no_files(context: Context, service: Service) -> tuple[File, ...]:
    return ()


def _none_listed(inventory: Inventory) -> Mapping[str, str]:
    return {}


@dataclasses.dataclass(frozen=True)
class _Maker:
    component: str
    title: str
    sockets: Mapping[str, str]
    uses: tuple[Client, ...]
    variables: Variables
    secrets: Mapping[str, str]
    kinds: Mapping[str, Kind]
    supplied: Mapping[str, str]
    listed: Callable[[Inventory], Mapping[str, str]]
    calls: tuple[Call, ...]
    files: Files
    identity: bool
    health: str
    user: str
    named: str
    unit_name: str
    packages: DebianPackages
    state: str
    executable_memory: bool

    @property
    def root(self) -> str:
        return f"/opt/zentoria/{self.component}"

    @property
    def settings(self) -> str:
        return f"/etc/zentoria/{self.component}"

    @property
    def program(self) -> str:
        return self.named or f"zentoria-{self.component}"

    @property
    def unit(self) -> str:
        return self.unit_name or f"{self.program}.service"

    @property
    def socket_units(self) -> dict[str, str]:
        """Names of socket units by the port's name in the inventory; the HTTP port's has the service's own name."""
        stem = self.unit.removesuffix(".service")
        return {
            port: f"{stem}.socket" if port == "http" else f"{stem}-{descriptor}.socket"
            for port, descriptor in self.sockets.items()
        }

    def role(self) -> Role:
        return Role(
            self.component,
            self.build,
            sources=frozenset({"workspace"}),
            unit=self.unit,
            ports=tuple(self.sockets),
            calls=(*(_CALLS[one] for one in self.uses), *self.calls),
            secrets=self.asked,
            metrics_path="/metrics",
        )

    def build(self, context: Context, service: Service) -> Fragment:
        unit = context.render(
            "python_service/unit.service",
            title=self.title,
            program=self.program,
            root=self.root,
            settings=self.settings,
            user=self.user,
            sockets=self.socket_units.values(),
            state=self.state,
            executable_memory=self.executable_memory,
        )
        files = (
            file(f"{self.settings}/environment", self.environment(context, service), mode="0640", group=self.user),
            *self.passwords(context).values(),
            *self.callers(context, service),
            *self.files(context, service),
            file(f"/etc/systemd/system/{self.unit}", unit),
        )
        return Fragment(
            packages=("python3-venv", *(self.packages(service) if callable(self.packages) else self.packages)),
            users=(User(id=f"user:{self.user}", name=self.user),),
            main=(
                directory("/etc/zentoria"),
                directory(self.settings, mode="0750", group=self.user),
                *files,
                *self.listening(context, service),
                self.release(context, service),
                Unit(id=f"unit:{self.unit}", name=self.unit, reads=ids(files)),
                *context.health(service),
            ),
        )

    def asked(self, inventory: Inventory, container: Container, service: Service) -> tuple[str, ...]:
        return (*self.paths(container).values(), *self.supplied.values(), *self.listed(inventory).values())

    def paths(self, container: Container) -> dict[str, str]:
        """Paths of secrets by the names of their files."""
        own = {name: path(container.name) for name, path in (_PASSWORDS[one] for one in self.uses)}
        keys = {_IDENTITY: clients.identity_key(container.name)} if self.identity else {}
        return {**own, **keys, **self.secrets}

    def callers(self, context: Context, service: Service) -> tuple[File, ...]:
        """Public keys of the containers that may call: a JWK set (RFC 7517), which is no secret."""
        if not self.identity:
            return ()
        names = clients.callers(context.inventory, context.container, service)
        keys = [secrets.public_jwk(context.secret(clients.identity_key(one), "keypair"), one) for one in names]
        text = json.dumps({"keys": keys}, indent=2)
        return (file(f"{self.settings}/callers.json", f"{text}\n", mode="0640", group=self.user),)

    def environment(self, context: Context, service: Service) -> str:
        inventory = context.inventory
        variables: dict[str, object] = {
            "ZENTORIA_BIND_HOST": context.address,
            "ZENTORIA_CONTAINER_NAME": context.container.name,
        }
        for port in self.sockets:
            variables[f"ZENTORIA_{port.upper()}_PORT"] = service.port(port).first
        addresses = {container.name: str(container.address) for container in inventory.containers}
        callers = [addresses[name] for name in service.trusts if name in addresses]
        variables["ZENTORIA_TRUSTED_PROXIES"] = ",".join(callers)
        for one in self.uses:
            variables |= self.connection(context, service, one)
        further = {_IDENTITY, *self.secrets, *self.supplied}
        given = [name for name in self.passwords(context) if name in further]
        variables |= {f"ZENTORIA_{name.upper()}_FILE": f"{self.settings}/{name}" for name in given}
        if self.identity:
            variables["ZENTORIA_CALLERS_FILE"] = f"{self.settings}/callers.json"
        variables |= self.variables(context, service)
        variables["ZENTORIA_MAX_BODY_BYTES"] = inventory.site.upload_max_bytes
        for name, value in service.settings.items():
            variable = f"ZENTORIA_{name.upper()}"
            if variable in variables:
                raise InventoryError(
                    f"make the state of {context.container.name}",
                    on=inventory.where(context.container, f"services.{service.name}.settings.{name}"),
                    got=f"'{name}' follows from other values of the inventory",
                    todo="leave it out, and change those",
                )
            variables[variable] = json.dumps(value) if isinstance(value, bool | tuple) else value
        return context.render("base/environment", variables=variables)

    def connection(self, context: Context, service: Service, client: Client) -> dict[str, object]:
        kind = "database" if client == "postgres" else client
        call, prefix = _CALLS[client], f"ZENTORIA_{kind.upper()}"
        found = context.target(service, call.component, call.port)
        if client == "s3":
            buckets = clients.buckets_of(context.inventory, service, call.component)
            return {
                f"{prefix}_ENDPOINT": f"http://{found.host}:{found.port}",
                f"{prefix}_REGION": clients.S3_REGION,
                **{f"{prefix}_BUCKET_{name.upper().replace('-', '_')}": name for name in buckets},
                f"{prefix}_ACCESS_KEY": context.container.name,
                f"{prefix}_SECRET_KEY_FILE": f"{self.settings}/s3_secret_key",
            }
        variables: dict[str, object] = {f"{prefix}_HOST": found.host, f"{prefix}_PORT": found.port}
        if kind == "database":
            name = clients.database_of(context.inventory, service, call.component)
            if name is None:
                raise InventoryError(
                    f"make the state of {context.container.name}",
                    on=context.inventory.where(context.container, f"services.{service.name}.needs"),
                    got=f"'{service.name}' needs a database and does not say which",
                    todo="say it at its need: database: {name: ...}",
                )
            variables[f"{prefix}_NAME"] = name
        variables[f"{prefix}_USER"] = context.container.name
        variables[f"{prefix}_PASSWORD_FILE"] = f"{self.settings}/{kind}_password"
        return variables

    def passwords(self, context: Context) -> dict[str, File]:
        """Files of secrets by name; of those that are supplied, the ones that are there.

        The service's user owns them, and not root: the gate's check runs as that user, before the unit does.
        """
        own = {
            name: context.secret(path, "keypair" if name == _IDENTITY else self.kinds.get(name, "password"))
            for name, path in self.paths(context.container).items()
        }
        given = {**self.supplied, **self.listed(context.inventory)}
        others = {name: context.supplied(path) for name, path in given.items()}
        return {
            name: secret_file(
                f"{self.settings}/{name}", f"{secret.get_secret_value().rstrip()}\n", owner=self.user, group=self.user
            )
            for name, secret in {**own, **others}.items()
            if secret is not None
        }

    def listening(self, context: Context, service: Service) -> tuple[Resource, ...]:
        found: list[Resource] = []
        for port, unit in self.socket_units.items():
            text = context.render(
                "python_service/unit.socket",
                title=self.title,
                descriptor=self.sockets[port],
                service=self.unit,
                address=context.address,
                port=service.port(port).first,
            )
            socket = file(f"/etc/systemd/system/{unit}", text)
            found += [socket, Unit(id=f"unit:{unit}", name=unit, reads=(socket.id,))]
        return tuple(found)

    def release(self, context: Context, service: Service) -> Release:
        component = context.inventory.component(service)
        if not isinstance(component, WorkspaceComponent):
            raise InventoryError(
                f"make the state of {context.container.name}",
                on=context.inventory.where(context.container, f"services.{service.name}.source"),
                got=f"component '{service.component}' does not come from this project's services folder",
                todo=f"set its source to {{kind: workspace, directory: {service.component}}}",
            )
        files = context.materials.release(component.directory)
        port = service.port("http").first
        path = service.health.path if service.health and service.health.path else self.health
        return Release(
            id=f"release:{service.name}",
            root=self.root,
            version=files.version,
            content=files.content,
            units=(self.unit,),
            preflight=(self.program, "check", "--wait", str(CHECK_SECONDS)),
            user=self.user,
            environment_file=f"{self.settings}/environment",
            health_url=f"http://{context.address}:{port}{path}",
            health_timeout=GATE_SECONDS,
            nonce=context.nonce,
        )


def python_service(
    component: str,
    *,
    title: str,
    sockets: Mapping[str, str] | None = None,
    uses: tuple[Client, ...] = (),
    variables: Variables = _none,
    secrets: Mapping[str, str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    supplied: Mapping[str, str] | None = None,
    listed: Callable[[Inventory], Mapping[str, str]] = _none_listed,
    calls: tuple[Call, ...] = (),
    files: Files = _no_files,
    identity: bool = False,
    health: str = "/health",
    user: str = "zentoria",
    program: str = "",
    unit: str = "",
    packages: DebianPackages = (),
    state: str = "",
    executable_memory: bool = False,
) -> Role:
    """The role of one of our own services.

    Args:
        component: its name, as ``voice``.
        title: what it is, as ``speech to text``.
        sockets: names that it knows its sockets by, by the ports' names in the inventory; one of them is ``http``.
            Default: ``http`` alone.
        uses: what it is given address, name and password of, as ``ZENTORIA_DATABASE_HOST`` and so on.
        variables: further variables of its environment.
        secrets: paths of further secrets by the names of their files; ``ZENTORIA_<NAME>_FILE`` says where each is.
        kinds: kinds of those, where it is not a password.
        supplied: paths of secrets that others give out, by the names of their files. Of one that nobody supplied there
            is neither file nor variable: the service goes without what needs it, and says so.
        listed: the same of what the inventory says, where one of ``files`` tells the service which files there are: of
            these there is no variable.
        calls: other services that it cannot do without.
        files: further files that it reads.
        identity: it shows others who it is (``ZENTORIA_IDENTITY_KEY_FILE``), and answers containers from which a flow
            leads to it alone (``ZENTORIA_CALLERS_FILE``).
        health: the path of its gate, where the inventory says none.
        user: the system user.
        program: its console script, where that is not called as the component.
        unit: its unit, where that is not called as the program.
        packages: Debian packages that it wants besides Python; a function, where they follow from the service.
        state: name of a folder below ``/var/lib`` that is its own, and its HOME; without one it writes nowhere.
        executable_memory: libraries of it make machine code while they run (CTranslate2's, by oneDNN).
    """
    return _Maker(
        component,
        title,
        sockets or {"http": "http"},
        uses,
        variables,
        secrets or {},
        kinds or {},
        supplied or {},
        listed,
        calls,
        files,
        identity,
        health,
        user,
        program,
        unit,
        packages,
        state,
        executable_memory,
    ).role()
