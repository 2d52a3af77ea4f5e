"""Small values that the inventory's models are made of: the base model, names, port ranges."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Model(BaseModel):
    """Base of all inventory models: frozen, no unknown keys, no silent conversion ("512" is not 512)."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


PATTERNS: dict[str, str] = {}
"""What a pattern means, in words, for messages."""


def matching(pattern: str, words: str, *, to_upper: bool = False) -> StringConstraints:
    """Text that matches a pattern; ``words`` say what is expected when it does not."""
    PATTERNS[pattern] = words
    return StringConstraints(pattern=pattern, to_upper=to_upper or None)


Name = Annotated[str, matching(r"^[a-z][a-z0-9-]{0,30}$", "a name (a-z, 0-9 and '-', a letter first, 31 at most)")]
"""A name of ours: lower case letters, digits and hyphens, a letter first."""

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Control characters, line ends, and what turns the direction of writing: a terminal or a file would act on them."""

Line = Annotated[str, matching(rf"^[^{_CONTROL}]*$", "text of one line without control characters")]
"""Free text. It reaches terminals, notes and files, where a line break would begin something of its own."""

HOST_NAME = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"


def _host(text: str) -> str:
    """A name of at most 253 characters; what has only digits and dots is an address (RFC 1123, 2.1)."""
    if text.replace(".", "").isdigit():
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise PydanticCustomError("host_name", "It is neither a name nor an address") from None
    if len(text) > 253:
        raise PydanticCustomError("host_name", "It is too long")
    return text


HostName = Annotated[str, matching(HOST_NAME, "a host name"), AfterValidator(_host)]
"""A DNS name (RFC 1123) or an IPv4 address."""

PUBLIC_ADDRESS = r"^(dhcp|[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})$"
PublicAddress = Annotated[str, matching(PUBLIC_ADDRESS, "'dhcp' or an address with prefix as 192.0.2.7/24")]

TARGET = rf"^({HOST_NAME[1:-1]}|[0-9]{{1,3}}(\.[0-9]{{1,3}}){{3}}/[0-9]{{1,2}})$"
Target = Annotated[str, matching(TARGET, "a host name, an address, or a network as 192.168.1.0/24")]
"""Where egress leads: a DNS name, an IPv4 address, or a network."""

Text = Annotated[Line, StringConstraints(min_length=1)]
"""Free text that says something."""
Version = Annotated[str, matching(r"^[0-9A-Za-z][0-9A-Za-z.+~:_-]*$", "a version as 16 or 4.48")]
PathInside = Annotated[
    str, matching(r"^[^/\x00-\x20\x7f\\-][^\x00-\x1f\x7f\\]*$", "a path in the archive as bin/server")
]
Address = Annotated[ipaddress.IPv4Address, Field(strict=False)]
Cidr = Annotated[ipaddress.IPv4Network, Field(strict=False)]
FilePath = Annotated[Path, Field(strict=False)]
Protocol = Literal["tcp", "udp"]
Mac = Annotated[
    str,
    matching(
        r"^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$",
        "a MAC address of one machine as BC:24:11:00:04:04 (an even number first)",
        to_upper=True,
    ),
]
"""The lowest bit of the first byte marks a multicast address (IEEE 802); Proxmox refuses those."""
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Vmid = Annotated[int, Field(ge=100, le=999_999_999)]
"""Proxmox VE takes 100 to 999999999 (its schema ``pve-vmid``)."""

PortKind = Literal["data", "api", "ui", "metrics"]
"""What is asked on a port. ``data`` is what a backup reads; ``metrics`` is what Prometheus scrapes."""

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class PortRange(Model):
    """An interval of ports, both ends in it. YAML: ``5432`` or ``9300-9301``."""

    first: PortNumber
    last: PortNumber

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, (cls, Mapping)):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
            return {"first": value, "last": value}
        if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
            first = int(match[1])
            last = int(match[2] or match[1])
            if 1 <= first <= last <= 65535:
                return {"first": first, "last": last}
        raise PydanticCustomError("port_range", "Not a port or a range of ports")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$"},
            ]
        }

    @property
    def numbers(self) -> range:
        """Every port in it."""
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def _named(value: object) -> object:
    """Turn ``{name: {...}}`` into ``({"name": name, ...}, ...)``; anything else is left for pydantic to judge."""
    if not isinstance(value, Mapping):
        if isinstance(value, (tuple, list)) and not all(isinstance(item, BaseModel) for item in value):
            raise PydanticCustomError("rule_by_name", "this must be a mapping from names to the rest, not a list")
        return value
    items: list[Any] = []
    for name, body in value.items():
        if body is None:
            body = {}
        if isinstance(body, Mapping) and "name" in body:
            raise PydanticCustomError(
                "rule_named_twice", "the key '{key}' is the name: remove 'name' below it", {"key": name}
            )
        items.append({**body, "name": name} if isinstance(body, Mapping) else body)
    return tuple(items)


Named = BeforeValidator(_named)
"""Marks a tuple that YAML writes as a mapping from name to the rest: merging by name then is what one expects."""

NAMED: dict[str, Any] = {"x-named": True}
"""``json_schema_extra`` of such a field; ``schema.py`` turns it into an object."""
