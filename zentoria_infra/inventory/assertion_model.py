"""``assert`` of zones.yaml: policy tests. They say what must never be allowed, or always, whatever the flows become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from zentoria_infra.inventory.values import Model, PortKind, PortRange, Protocol, Text, matching

ZONE = "zone:"
"""Before a zone's name: every container of that zone."""

EXPOSES = "exposes:"
"""Before a kind of port: the ports of that kind, as each destination declares them."""

_WHO = r"^(zone:)?[a-z][a-z0-9-]{0,30}$"
_EXEMPT = r"^((zone:)?[a-z][a-z0-9-]{0,30}|exposes:(data|api|ui|metrics)|[0-9]{1,5}(-[0-9]{1,5})?)$"

Who = Annotated[str, matching(_WHO, "a container, 'all', 'internet' or zone:NAME")]
"""A container's name, ``all`` (every container), ``internet``, or ``zone:NAME`` (every container in it)."""


def _listed(value: object) -> object:
    """A list of one, where one thing stands in place of a list."""
    return (value,) if isinstance(value, str) else value


_WHO_SCHEMA: dict[str, Any] = {"type": "string", "pattern": _WHO}
_Whose = Annotated[
    tuple[Who, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_WHO_SCHEMA, {"type": "array", "items": _WHO_SCHEMA}]}),
    Field(min_length=1),
]


class Exempt(Model):
    """What an assertion passes over, one of: ports, the ports of a kind, a container (or all those of a zone).

    YAML: ``8200``, ``9300-9301``, ``exposes:metrics``, ``proxy``, ``zone:dmz``.
    """

    ports: PortRange | None = None
    exposes: PortKind | None = None
    name: Who | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, (cls, Mapping)):
            return value
        if isinstance(value, str) and value.startswith(EXPOSES):
            return {"exposes": value.removeprefix(EXPOSES)}
        if isinstance(value, str) and not value[:1].isdigit():
            return {"name": value}
        return {"ports": value}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": _EXEMPT},
            ]
        }


class Assertion(Model):
    """One policy test; ``zentoria validate`` holds it against every exact flow and every ``egress`` entry.

    ``deny``: none of these reaches any of ``to``. ``allow``: each of these reaches each of ``to``.
    """

    deny: _Whose | None = None
    """Who must not reach ``to``: containers, ``all``, ``internet`` or ``zone:NAME``, one or a list."""
    allow: _Whose | None = None
    """Who must be able to reach ``to``; stands in place of ``deny``."""
    to: _Whose
    """Containers, ``all``, ``internet`` (what ``egress`` entries reach) or ``zone:NAME``, one or a list."""
    ports: tuple[PortRange, ...] = ()
    """Only these; none: every port for ``deny``, any one port for ``allow``."""
    protocol: Protocol | None = None
    """None: both for ``deny``, ``tcp`` for ``allow``."""
    exempt: tuple[Exempt, ...] = Field(default=(), alias="except")
    """What is passed over: ports, ``exposes:KIND``, and containers or ``zone:NAME`` on whichever side they are."""
    because: Text
    """Why; it is told when the assertion does not hold."""

    @model_validator(mode="after")
    def _one_of(self) -> Assertion:
        if (self.deny is None) == (self.allow is None):
            raise PydanticCustomError("rule_assert", "an assertion has either 'deny' or 'allow', and not both")
        if self.allow is not None and any(item.name is None for item in self.exempt):
            text = "'except' of an 'allow' names containers or zones; write the ports that must be open under 'ports'"
            raise PydanticCustomError("rule_assert_except", text)
        return self

    @property
    def whose(self) -> tuple[str, ...]:
        """``deny`` or ``allow``, whichever it has."""
        return self.deny or self.allow or ()
