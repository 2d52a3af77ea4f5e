"""The state file: what was observed, as JSON without secrets, to plan against elsewhere (``plan --offline --state``).

The format is that of :class:`StateDocument`; its JSON Schema is ``state.schema.json`` beside this file. Additions raise
the minor version, anything else the major one. Equal worlds give equal bytes: keys are sorted, there are no times and
no names of the machine that looked. What is masked, and why, is told in :mod:`zentoria_infra.plan.masking`.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.firewall.config import Configuration, Guest
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan import masking
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.volumes import binding

FORMAT = "zentoria-state"
VERSION = "1.0"

Vmid = Annotated[int, Field(ge=1, le=999_999_999)]

_MOST = 5
"""Problems of a file that are told."""


class InvalidFileError(ZentoriaError):
    """A file that Zentoria wrote for itself is not what it was, or another one. Nothing was contacted."""

    exit_code = ExitCode.INVALID


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class ContainerState(_Model):
    """A guest as Proxmox showed it. ``config`` has Proxmox's own texts; what may be secret is masked."""

    vmid: Vmid
    node: str
    kind: Literal["lxc", "qemu"]
    status: str
    """``running``, ``stopped`` or ``unknown``."""
    config: dict[str, str] = {}
    pending: tuple[str, ...] = ()
    """Keys whose value waits for a restart."""
    digest: str = ""
    """Proxmox's digest of the whole configuration."""
    in_force: dict[str, str] = {}
    """What holds of ``pending`` until the restart; a key that is not there has no value now."""


class ParkedState(_Model):
    """A parking container: it holds the data of a container that was being replaced when a run was ended."""

    vmid: Vmid
    """Of the container that it is for."""
    container: ContainerState
    firewall: Guest | None = None
    """The copy of that container's firewall."""

    @field_serializer("firewall")
    def _plain_firewall(self, firewall: Guest | None) -> Any:
        return None if firewall is None else plain(firewall)


class SpareState(_Model):
    """A VMID that is free for the parking container of a container that must be replaced."""

    vmid: Vmid
    spare: Vmid


class InsideState(_Model):
    """What a look inside a guest told: a report, or why there is none."""

    vmid: Vmid
    recipe: str = ""
    """SHA-256 of what the inventory wanted inside, its secrets left out; the report is about that."""
    report: GuestReport | None = None
    unknown: str = ""


class StateDocument(_Model):
    """All that was observed."""

    format: Literal["zentoria-state"] = "zentoria-state"
    version: str = Field(default=VERSION, pattern=r"^1\.\d{1,6}$")
    site: str
    """The site's id, which is in the marks of its containers."""
    containers: tuple[ContainerState, ...] = ()
    taken: tuple[Vmid, ...] = ()
    """VMIDs of the inventory that exist, but that the token may not see."""
    guests: tuple[InsideState, ...] = ()
    problems: tuple[str, ...] = ()
    """What is missing on the node for a create."""
    no_inside: str = ""
    """Why nobody looked inside guests; empty where somebody did."""
    firewall: Configuration | None = None
    firewall_digests: dict[str, str] = {}
    """Proxmox's digests of the firewall's lists, as ``404/rules`` or ``datacenter/options``."""
    firewall_unknown: str = ""
    """Why there is no ``firewall``."""
    parked: tuple[ParkedState, ...] = ()
    """Parking containers that are there."""
    spare: tuple[SpareState, ...] = ()
    """VMIDs for parking containers that must be made."""
    others: tuple[ContainerState, ...] = ()
    """Containers of the pool, or with Zentoria's tag, that the inventory does not have."""

    @model_validator(mode="after")
    def _once(self) -> StateDocument:
        for what, vmids in (("containers", self.containers), ("guests", self.guests)):
            if repeated := [vmid for vmid, number in Counter(one.vmid for one in vmids).items() if number > 1]:
                raise ValueError(f"VMID {repeated[0]} is twice among the {what}")
        return self

    @field_serializer("firewall")
    def _plain_firewall(self, firewall: Configuration | None) -> Any:
        return None if firewall is None else plain(firewall)


@dataclasses.dataclass(frozen=True)
class ObservedState:
    """A state file's content.

    Args:
        site: the id of the site that was observed.
        world: what was observed.
        recipes: by VMID, the hash of what the inventory wanted inside then.
    """

    site: str
    world: World
    recipes: Mapping[int, str]


def state_of(
    world: World, desired: Iterable[DesiredContainer], site: str, recipes: Mapping[int, str] | None = None
) -> StateDocument:
    """The document of a world, with everything masked that may hold a secret.

    Args:
        world: as observed.
        desired: the containers of the inventory: what they want to be said of them is not masked.
        site: the site's id.
        recipes: by VMID, the hash of what the inventory wants inside.
    """
    bound = (binding.bound(one, world) for one in desired)
    shown = masking.without_secrets(world, {one.vmid: one.options.get("description", "") for one in bound})
    return StateDocument(
        site=site,
        containers=tuple(_container(one) for _, one in sorted(shown.containers.items())),
        taken=tuple(sorted(shown.taken)),
        guests=tuple(
            InsideState(vmid=vmid, recipe=(recipes or {}).get(vmid, ""), report=one.report, unknown=one.unknown)
            for vmid, one in sorted(shown.guests.items())
        ),
        problems=shown.problems,
        no_inside=shown.no_inside,
        firewall=shown.firewall,
        firewall_digests=dict(sorted(shown.firewall_digests.items())),
        firewall_unknown="" if shown.firewall is not None else shown.firewall_unknown,
        parked=tuple(
            ParkedState(vmid=vmid, container=_container(one), firewall=shown.parked_firewall.get(vmid))
            for vmid, one in sorted(shown.parked.items())
        ),
        others=tuple(_container(one) for _, one in sorted(shown.others.items())),
        spare=tuple(SpareState(vmid=vmid, spare=one) for vmid, one in sorted(shown.spare.items())),
    )


def _container(one: ObservedContainer) -> ContainerState:
    return ContainerState(
        vmid=one.vmid,
        node=one.node,
        kind="lxc" if one.kind == "lxc" else "qemu",
        status=one.status,
        config=dict(sorted(one.config.items())),
        pending=tuple(sorted(one.pending)),
        digest=one.digest,
        in_force=dict(sorted(one.in_force.items())),
    )


def _observed(one: ContainerState) -> ObservedContainer:
    pending = frozenset(one.pending)
    return ObservedContainer(one.vmid, one.node, one.kind, one.status, one.config, pending, one.digest, one.in_force)


def world_of(document: StateDocument) -> World:
    """The world that a document tells of."""
    return World(
        containers={one.vmid: _observed(one) for one in document.containers},
        taken=frozenset(document.taken),
        guests={one.vmid: GuestCheck(one.report, one.unknown) for one in document.guests},
        problems=document.problems,
        no_inside=document.no_inside,
        firewall=document.firewall,
        firewall_digests=document.firewall_digests,
        firewall_unknown=document.firewall_unknown or World.firewall_unknown,
        parked={one.vmid: _observed(one.container) for one in document.parked},
        spare={one.vmid: one.spare for one in document.spare},
        others={one.vmid: _observed(one) for one in document.others},
        parked_firewall={one.vmid: one.firewall for one in document.parked if one.firewall is not None},
    )


def dump(document: BaseModel) -> bytes:
    """A document as bytes: equal documents give equal bytes. What is not given, or empty, is left out."""
    value = document.model_dump(mode="json", exclude_defaults=True)
    always = {name: getattr(document, name) for name in ("format", "version") if hasattr(document, name)}
    text = json.dumps({**value, **always}, indent=1, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode(errors="replace")


def read_state(content: bytes, name: str) -> ObservedState:
    """Read a state file.

    Args:
        content: of the file.
        name: how it is called, for errors.

    Raises:
        InvalidFileError: it is none, or of a version that this tool does not know; ``got`` has the place.
    """
    found = read(StateDocument, content, name, kind="state file", make="zentoria observe --out FILE")
    return ObservedState(found.site, world_of(found), {one.vmid: one.recipe for one in found.guests})


_Document = TypeVar("_Document", bound=BaseModel)


def read(model: type[_Document], content: bytes, name: str, *, kind: str, make: str) -> _Document:
    """Read a document, strictly.

    Args:
        model: of the document.
        content: of the file.
        name: how the file is called.
        kind: what it should be, in words.
        make: the command that makes one.

    Raises:
        InvalidFileError: it is not of the model.
    """
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        said = [f"{_place(one['loc'])}{one['msg']}" for one in found[:_MOST]]
        more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
        raise InvalidFileError(
            f"read the {kind}", on=name, got="\n  ".join([*said, *more]), todo=f"make it anew: {make}"
        ) from None


def _place(path: tuple[int | str, ...]) -> str:
    """As ``containers[3].vmid: ``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{text}: " if text else ""


def plain(value: Any) -> Any:
    """A tree of frozen values as plain data; what has its default is left out."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(found)
            for field in dataclasses.fields(value)
            if field.init and (found := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in sorted(value.items())}
    return [plain(one) for one in value] if isinstance(value, tuple) else value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


class _Schema(GenerateJsonSchema):
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 -- as its base has it


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document."""
    return {"$schema": GenerateJsonSchema.schema_dialect, **model.model_json_schema(schema_generator=_Schema)}


def schema_text(model: type[BaseModel]) -> str:
    """The text of a document's schema file."""
    return json.dumps(schema_of(model), indent=1, ensure_ascii=False) + "\n"


def shipped_schema(name: str) -> Mapping[str, Any]:
    """A JSON Schema that the package holds, as ``state.schema.json``."""
    text = importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found
