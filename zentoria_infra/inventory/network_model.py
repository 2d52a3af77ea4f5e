"""zones.yaml: networks, zones, and the flows that are allowed between containers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.assertion_model import Assertion
from zentoria_infra.inventory.values import (
    NAMED,
    Address,
    Cidr,
    Model,
    Name,
    Named,
    PortKind,
    PortRange,
    Protocol,
    Text,
)

ALL = "all"
"""In place of a container's name: every other container."""

INTERNET = "internet"
"""In place of a source container's name: anybody outside."""


def _no_service(value: object) -> object:
    if isinstance(value, str) and "." in value:
        container = value.partition(".")[0]
        raise PydanticCustomError(
            "rule_flow_service",
            "a flow leads from container to container: write '{container}', and the service's ports under 'ports'",
            {"container": container},
        )
    return value


_End = Annotated[Name, BeforeValidator(_no_service)]


class Network(Model):
    """A bridged network. Every NIC in it has the prefix of ``cidr``."""

    name: Name
    cidr: Cidr
    gateway: Address
    mtu: Annotated[int, Field(ge=576, le=65520)] | None = None
    """None: the bridge's."""


class Zone(Model):
    """A set of containers; never a subnet. Containers name their zone, zones do not list containers."""

    name: Name
    purpose: Text


class Flow(Model):
    """Traffic that is allowed: a row of the architecture's firewall matrix, or derived from its data flows.

    Exactly one of ``row`` and ``derived`` is set, and exactly one of ``ports`` and ``exposes``.
    """

    row: Annotated[int, Field(ge=1)] | None = None
    """Row of the firewall matrix, from 1, in the order of its table."""
    derived: Text | None = None
    """Why a flow is needed that the matrix does not have."""
    source: _End
    """Container name, ``all`` or ``internet``."""
    destination: _End
    """Container name or ``all``."""
    ports: tuple[PortRange, ...] = ()
    exposes: tuple[PortKind, ...] = ()
    """In place of ports: those of these kinds, as each destination declares them."""
    protocol: Protocol = "tcp"
    purpose: Text

    @model_validator(mode="after")
    def _one_of(self) -> Flow:
        if (self.row is None) == (self.derived is None):
            raise PydanticCustomError("rule_flow_origin", "a flow has either 'row' or 'derived', and not both")
        if bool(self.ports) == bool(self.exposes):
            raise PydanticCustomError("rule_flow_ports", "a flow has either 'ports' or 'exposes', and not both")
        return self

    @property
    def origin(self) -> str:
        """``row 7`` or ``derived: the reason``."""
        return f"row {self.row}" if self.row is not None else f"derived: {self.derived}"


class Zones(Model):
    """The whole of zones.yaml."""

    networks: Annotated[tuple[Network, ...], Named, Field(json_schema_extra=NAMED)]
    zones: Annotated[tuple[Zone, ...], Named, Field(json_schema_extra=NAMED)]
    reserved: tuple[int, ...] = ()
    """VMIDs kept free for growth: refused, unless the container's file says ``reserved: true``."""
    flows: tuple[Flow, ...]
    assertions: tuple[Assertion, ...] = Field(default=(), alias="assert")
    """Policy tests: what must never be allowed, or always. Every flow and every egress is held against them."""
