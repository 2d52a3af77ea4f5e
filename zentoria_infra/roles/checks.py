"""What must hold between the inventory and the roles that build its services; each check yields what it finds."""

from __future__ import annotations

from collections.abc import Iterator

from zentoria_infra.inventory.model import ALL, Container, Inventory, Need, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.inventory.wording import nearest
from zentoria_infra.roles import catalog, routes
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.role import Role


def check_roles(inventory: Inventory) -> Iterator[Problem]:
    """Every problem between services and the roles that build them. Services without a role are not judged."""
    for container in inventory.containers:
        yield from _twice(inventory, container)
        for service in container.services:
            yield from _wishes(inventory, container, service)
            if catalog.is_built(service.component):
                role = catalog.role(service.component)
                for check in (_source, _unit, _ports, _calls, _volumes, _secrets, _grants, _metrics):
                    yield from check(inventory, container, service, role)
                yield from role.checks(inventory, container, service)
    yield from routes.unserved(inventory)


def _twice(inventory: Inventory, container: Container) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for service in container.services:
        other = first.setdefault(service.component, service.name)
        if other == service.name or not catalog.is_built(service.component):
            continue
        if not catalog.role(service.component).repeats:
            at = inventory.position(container, f"services.{service.name}.component")
            there = inventory.where(container, f"services.{other}.component")
            text = f"component '{service.component}' is in this container twice, and would be at odds with itself"
            yield problem(at, f"{text}; also in {there}")


def _source(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    component = inventory.component(service)
    wanted = " or ".join(f"'{kind}'" for kind in sorted(role.sources))
    if component is None and not service.installed:
        return
    if component is None:
        at = inventory.position(container, f"services.{service.name}.component")
        text = f"nobody says where component '{service.component}' comes from: give it a source of kind {wanted}"
        yield problem(at, text)
    elif component.kind not in role.sources:
        if service.component in inventory.site.components:
            at = inventory.position(inventory.site, f"components.{service.component}.kind")
        else:
            at = inventory.position(container, f"services.{service.name}.source.kind")
        text = f"component '{service.component}' comes from '{component.kind}', and its role takes {wanted}"
        yield problem(at, text)


def _unit(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    units = role.units(service)
    at = inventory.position(container, f"services.{service.name}.unit")
    if service.unit in units or (service.unit is None and not units):
        same = [
            one.name for one in container.services if one.unit == service.unit and one.component == service.component
        ]
        if role.repeats and same[0] != service.name:
            yield problem(at, f"unit {service.unit} is used twice in this container; also by '{same[0]}'")
    elif role.unit is None:
        yield problem(at, f"component '{service.component}' has no unit of its own: leave '{service.unit}' out")
    elif service.unit is None:
        yield problem(at, f"the unit of '{service.name}' is missing: unit: {role.unit}")
    else:
        named = " or ".join(units)
        yield problem(at, f"the unit of component '{service.component}' is {named}, not {service.unit}")


def _ports(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    known = [port.name for port in service.exposes]
    for name in role.ports:
        if name not in known:
            at = inventory.position(container, f"services.{service.name}.exposes")
            there = f"; there are: {', '.join(known)}" if known else ""
            yield problem(at, f"component '{service.component}' wants a port called '{name}'{there}")


def _calls(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    for call in role.calls:
        found = clients.callee(inventory, service, call.component)
        if found is None:
            at = inventory.position(container, f"services.{service.name}.needs")
            text = f"component '{service.component}' calls a service of component '{call.component}'"
            yield problem(at, f"{text}, and none of the needs of '{service.name}' leads to one")
            continue
        there, one = found
        if not any(port.name == call.port for port in one.exposes):
            at = inventory.position(there, f"services.{one.name}.exposes")
            text = f"'{one.name}' has no port called '{call.port}', at which {container.name}.{service.name} calls it"
            yield problem(at, text)


def _volumes(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    paths = [volume.path.rstrip("/") for volume in container.volumes]
    for path in role.volumes:
        if not any(path == other or path.startswith(f"{other}/") for other in paths):
            at = inventory.position(container, f"services.{service.name}.component")
            text = f"component '{service.component}' keeps its data in {path}, and no volume is there"
            yield problem(at, f"{text}: it would be lost with the container")


def _secrets(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    asked = tuple(role.secrets(inventory, container, service))
    for path in asked:
        if path not in service.secrets:
            at = inventory.position(container, f"services.{service.name}.secrets")
            text = f"component '{service.component}' asks for {path}, which '{service.name}' does not declare"
            yield problem(at, f"{text}{nearest(path, service.secrets)}")
    for number, path in enumerate(service.secrets):
        if path not in asked:
            at = inventory.position(container, f"services.{service.name}.secrets.{number}")
            yield problem(at, f"component '{service.component}' never asks for {path}{nearest(path, asked)}")


def _grants(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    for consumer, path in role.grants(inventory, container, service):
        if not any(path in one.secrets for one in consumer.container.services):
            text = f"{container.name}.{service.name} lets '{consumer.container.name}' in by the secret {path}"
            yield problem(consumer.position(inventory), f"{text}, which none of its services declares")


def _metrics(inventory: Inventory, container: Container, service: Service, role: Role) -> Iterator[Problem]:
    for port in service.exposes:
        if port.metrics_path is None or port.metrics_path == role.metrics_path:
            continue
        at = inventory.position(container, f"services.{service.name}.exposes.{port.name}")
        if role.metrics_path is None:
            yield problem(at, f"component '{service.component}' has no metrics")
        else:
            text = f"component '{service.component}' has its metrics at {role.metrics_path}, not {port.metrics_path}"
            yield problem(at, text)


def _wishes(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """Wishes at needs of something that does not know them."""
    for number, need in enumerate(service.needs):
        for wish, value in (("database", need.database), ("keys", need.keys), ("buckets", need.buckets)):
            if value and not any(wish in catalog.role(name).takes for name in _components(inventory, need)):
                at = inventory.position(container, f"services.{service.name}.needs.{number}.{wish}")
                yield problem(at, f"'{need.service}' knows no '{wish}'")


def _components(inventory: Inventory, need: Need) -> Iterator[str]:
    """Components that have a role, of the services that a need leads to."""
    if need.container == ALL:
        return
    try:
        there = inventory.by_name(need.container)
    except KeyError:  # the inventory's own checks name it
        return
    for one in there.services:
        if need.service_name in ("", one.name) and catalog.is_built(one.component):
            yield one.component
