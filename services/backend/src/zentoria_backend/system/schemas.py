"""The site as clients see it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Health = Literal["up", "away", "unknown"]


class Part(BaseModel):
    """A service of a container."""

    model_config = ConfigDict(extra="ignore")

    name: str
    component: str = ""
    ports: list[int] = []


class Container(BaseModel):
    """One container."""

    model_config = ConfigDict(extra="ignore")

    vmid: int
    name: str
    purpose: str = ""
    zone: str
    address: str = ""
    services: list[Part] = []
    health: Annotated[
        Health, Field(description="as the gateway saw it last; unknown: it does not ask that one, or has not yet")
    ] = "unknown"


class Flow(BaseModel):
    """Who may reach whom."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    source: Annotated[str, Field(alias="from")]
    target: Annotated[str, Field(alias="to")]
    port: int
    purpose: str = ""


class Zone(BaseModel):
    """A network of the site, with its containers."""

    name: str
    containers: list[Container]


class Rendered(BaseModel):
    """The file that the site's role writes."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    containers: list[Container] = []
    flows: list[Flow] = []


class System(BaseModel):
    """The whole site."""

    name: str
    version: str
    zones: list[Zone]
    flows: list[Flow]
