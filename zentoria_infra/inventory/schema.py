"""JSON Schema (2020-12) of the inventory's files, made from the models, so that editors complete and check."""

from __future__ import annotations

import copy
from typing import Any, Literal, get_args

from pydantic import BaseModel

from zentoria_infra.inventory.model import Container
from zentoria_infra.inventory.network_model import Zones
from zentoria_infra.inventory.site_model import Site

SchemaName = Literal["container", "site", "overlay", "zones"]
SCHEMA_NAMES: tuple[SchemaName, ...] = get_args(SchemaName)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Json = dict[str, Any]


def schema(name: SchemaName) -> _Json:
    """The schema of one kind of file: a container's, site.yaml, a site's overlay, or zones.yaml."""
    if name == "container":
        made = _container()
    elif name == "zones":
        made = _of(Zones)
    else:
        made = _site()
        if name == "overlay":
            _optional(made)
    return {"$schema": _DIALECT, **made}


def _of(model: type[BaseModel]) -> _Json:
    made = model.model_json_schema()
    _write_by_name(made, made.get("$defs", {}))
    for name, key in (("Need", "service"), ("Served", "model")):
        if whole := made.get("$defs", {}).get(name):
            short = copy.deepcopy(whole["properties"][key])
            made["$defs"][name] = {"anyOf": [short, whole]}
    return made


def _container() -> _Json:
    made = _of(Container)
    made["required"] = [key for key in made["required"] if key not in ("mac", "hostname")]
    return made


def _site() -> _Json:
    made = _of(Site)
    part = _container()
    _optional(part)
    defs = made.setdefault("$defs", {})
    for key, body in part.pop("$defs").items():
        defs[f"Part{key}"] = _renamed(body)
    defs["PartContainer"] = _renamed(part)
    reference = {"$ref": "#/$defs/PartContainer"}
    for key in ("container_defaults", "every_container"):
        made["properties"][key] = {"description": made["properties"][key].get("description", ""), **reference}
    made["properties"]["containers"]["additionalProperties"] = reference
    return made


def _optional(node: object) -> None:
    """Remove ``required`` everywhere: a part of a file is laid on another."""
    if isinstance(node, dict):
        if isinstance(node.get("required"), list):
            del node["required"]
        for item in node.values():
            _optional(item)
    elif isinstance(node, list):
        for item in node:
            _optional(item)


def _renamed(node: Any) -> Any:
    """References to the definitions of a part."""
    if isinstance(node, dict):
        return {
            key: item.replace("#/$defs/", "#/$defs/Part")
            if isinstance(item, str) and key in ("$ref", *_tags(node))
            else _renamed(item)
            for key, item in node.items()
        }
    if isinstance(node, list):
        return [_renamed(item) for item in node]
    return node


def _tags(node: _Json) -> tuple[str, ...]:
    """Keys of a discriminator's mapping: their values are references too."""
    return tuple(key for key, item in node.items() if isinstance(item, str) and item.startswith("#/$defs/"))


def _write_by_name(node: object, defs: _Json) -> None:
    """Turn lists that YAML writes as mappings by name into objects; their items lose ``name``."""
    if isinstance(node, list):
        for item in node:
            _write_by_name(item, defs)
        return
    if not isinstance(node, dict):
        return
    if node.pop("x-named", False):
        items = node.pop("items")
        node["type"] = "object"
        node["additionalProperties"] = items
        body = defs[items["$ref"].rpartition("/")[2]]
        body["properties"].pop("name", None)
        body["required"] = [key for key in body.get("required", ()) if key != "name"]
        if node.get("default") == []:
            node["default"] = {}
    for item in node.values():
        _write_by_name(item, defs)
