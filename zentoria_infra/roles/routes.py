"""Which path at the proxy belongs to which service, as the services say themselves. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator

from zentoria_infra.inventory.model import Container, Inventory, Port, Route, Service
from zentoria_infra.inventory.problems import Problem, problem


@dataclasses.dataclass(frozen=True)
class Location:
    """One ``location``.

    Args:
        match: as NGINX writes it: ``= /ws``, ``^~ /n8n/``, ``/``.
        upstream: name of the group of servers, as ``backend_api_http``.
        server: ``address:port``.
        stream: answers are not buffered.
        route: what the inventory says of it.
    """

    match: str
    upstream: str
    server: str
    stream: bool
    route: Route


@dataclasses.dataclass(frozen=True)
class _Routed:
    """A route, and the port that it leads to."""

    container: Container
    service: Service
    port: Port
    number: int
    route: Route

    @property
    def path(self) -> str:
        """Where it is in its container's file."""
        return f"services.{self.service.name}.exposes.{self.port.name}.routes.{self.number}"


def locations(inventory: Inventory, service: Service) -> tuple[Location, ...]:
    """The locations of a proxy: routes to the services that it says that it needs, the longest path first."""
    return tuple(location for one in _routed(inventory, service) for location in _locations(one))


def slashes(found: Collection[Location]) -> tuple[str, ...]:
    """Paths of pages that a user may type without the slash at the end."""
    pages = (one.route.path for one in found if one.route.limit == "pages")
    return tuple(dict.fromkeys(path.rstrip("/") for path in pages if path.endswith("/") and path != "/"))


def closed(found: Collection[Location]) -> tuple[str, ...]:
    """Locations that are not there for anybody."""
    return tuple(f"^~ {one.route.path}{name}" for one in found for name in one.route.closed)


def upstreams(found: Collection[Location]) -> dict[str, str]:
    """``address:port`` by name of the group of servers, sorted."""
    return dict(sorted({one.upstream: one.server for one in found}.items()))


def check(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """Two services of one proxy at one path."""
    taken: dict[str, _Routed] = {}
    for one in _routed(inventory, service):
        other = taken.setdefault(one.route.path.rstrip("/"), one)
        if other is not one:
            at = inventory.position(one.container, f"{one.path}.path")
            there = inventory.where(other.container, f"{other.path}.path")
            yield problem(at, f"path {one.route.path} leads to two ports; also in {there}")


def unserved(inventory: Inventory) -> Iterator[Problem]:
    """Routes that no proxy takes, where there is one."""
    proxies = [service for container in inventory.containers for service in container.services
               if service.component == "nginx"]  # fmt: skip
    needed = {need.service for proxy in proxies for need in proxy.needs}
    for container in inventory.containers if proxies else ():
        for service in container.services:
            names = {f"{container.name}.{service.name}", container.name}
            for port in service.exposes if not names & needed else ():
                for number, route in enumerate(port.routes):
                    at = inventory.position(container, f"services.{service.name}.exposes.{port.name}.routes.{number}")
                    text = f"no proxy needs {container.name}.{service.name}: {route.path} would lead nowhere"
                    yield problem(at, text)


def _routed(inventory: Inventory, service: Service) -> list[_Routed]:
    found: list[_Routed] = []
    for need in service.needs:
        try:
            container = inventory.by_name(need.container)
        except KeyError:  # ``all``; or `zentoria validate` names it
            continue
        for one in container.services:
            if need.service_name in ("", one.name):
                found += [
                    _Routed(container, one, port, number, route)
                    for port in one.exposes
                    for number, route in enumerate(port.routes)
                ]
    # regular expressions count in the order of the file, everything else by length
    return sorted(dict.fromkeys(found), key=lambda one: (-len(one.route.path), one.route.path))


def _locations(one: _Routed) -> Iterator[Location]:
    path, route = one.route.path, one.route
    upstream = f"{one.container.name}_{one.service.name}_{one.port.name}"  # no name has "_" in it
    server = f"{one.container.address}:{one.port.port.first}"

    def location(match: str, stream: bool = route.stream) -> Location:
        return Location(match, upstream, server, stream, route)

    if route.streams_below:
        words = "|".join(re.escape(word) for word in route.streams_below)
        yield location(f"~ ^{re.escape(path.rstrip('/'))}/(?:.+/)?(?:{words})(?:/|$)", True)
    if not path.endswith("/"):
        yield location(f"= {path}")
        if route.redirect is not None:
            return
        path = f"{path}/"
    # "^~" wins over regular expressions; below a path that has one of its own, that shall win
    yield location(path if route.streams_below or path == "/" else f"^~ {path}")
