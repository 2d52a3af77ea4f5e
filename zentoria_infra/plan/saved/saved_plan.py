"""A saved plan: what was planned, and everything that it was planned from, to be carried out as it is or not at all.

The format is that of :class:`SavedPlan`; its JSON Schema is ``saved.schema.json`` beside this file. Additions raise the
minor version, anything else the major one. There is no secret in it: what was observed is masked as in a state file,
and what may be secret is bound by keyed hashes.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from zentoria_infra.plan.model.document import PlanDocument
from zentoria_infra.plan.saved.state_file import InvalidFileError, StateDocument, Vmid, dump, read

FORMAT = "zentoria-saved-plan"
VERSION = "1.0"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore", use_attribute_docstrings=True)


class GuestHashes(_Model):
    """Of the inside of one guest. Keyed with the site's key for fingerprints (HMAC-SHA-256), but for the recipe."""

    vmid: Vmid
    recipe: str
    """SHA-256 of what the inventory wants inside, its secrets left out; services by their sources."""
    desired: str = ""
    """Of the desired state with its secrets; empty where nobody could look inside."""
    reported: str = ""
    """Of what the agent answered; empty where nobody could look inside."""


class SavedPlan(_Model):
    """A plan, and what it was made from."""

    format: Literal["zentoria-saved-plan"] = "zentoria-saved-plan"
    version: str = Field(default=VERSION, pattern=r"^1\.\d{1,6}$")
    seal: str = ""
    """SHA-256 of everything else in the file: tells a file that was damaged or edited."""
    tool: str
    """Version of Zentoria that made it; no other one carries it out."""
    site: str
    """The site's id."""
    node: str
    """The node that was asked."""
    inventory: str
    """SHA-256 of the inventory, without paths of the machine and addresses of its files."""
    selected: tuple[Vmid, ...] | None = None
    """The containers that it is for; None for all of them."""
    guests: tuple[GuestHashes, ...] = ()
    state: StateDocument
    """What was observed: with Proxmox's digests of every object that was read."""
    plan: PlanDocument

    @property
    def name(self) -> str:
        """A short name of the plan, for histories."""
        return (self.seal or seal_of(self))[:12]


def seal_of(saved: SavedPlan) -> str:
    """The seal that a saved plan must have."""
    return hashlib.sha256(dump(saved.model_copy(update={"seal": ""}))).hexdigest()


def sealed(saved: SavedPlan) -> SavedPlan:
    """The plan with its seal."""
    return saved.model_copy(update={"seal": seal_of(saved)})


def dump_saved(saved: SavedPlan) -> bytes:
    """The file of a plan: equal plans have equal files."""
    return dump(sealed(saved))


def read_saved(content: bytes, name: str) -> SavedPlan:
    """Read a saved plan.

    Args:
        content: of the file.
        name: how it is called, for errors.

    Raises:
        InvalidFileError: it is none, of a version that this tool does not know, or was damaged or edited.
    """
    found = read(SavedPlan, content, name, kind="saved plan", make="zentoria plan --out FILE")
    if found.version == VERSION and found.seal != seal_of(found):
        raise InvalidFileError(
            "read the saved plan",
            on=name,
            got="seal: it does not fit the rest, so the file was damaged or edited",
            todo="make it anew: zentoria plan --out FILE",
        )
    return found
