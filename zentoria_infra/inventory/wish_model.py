"""What a service wants of others, written where the service is: a database, keys, a path at the proxy. Frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.values import Model, matching

DatabaseName = Annotated[
    str, matching(r"^[a-z][a-z0-9_]{0,62}$", "a database's name (a-z, 0-9 and '_', a letter first, 63 at most)")
]
"""63 bytes are what PostgreSQL keeps of a name (``NAMEDATALEN``)."""
GroupName = Annotated[str, matching(r"^[a-z][a-z0-9_]{0,58}$", "a group's name as backend")]
ExtensionName = Annotated[str, matching(r"^[a-z][a-z0-9_-]{0,62}$", "an extension's name as vector")]
KeyPattern = Annotated[
    str, matching(r"^[A-Za-z0-9][A-Za-z0-9:._-]*\*?$", "a pattern of Redis keys that begins with their name, as bull:*")
]
"""A part of Redis' glob patterns: a wildcard at the beginning would reach everybody's keys."""
BucketName = Annotated[
    str, matching(r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", "a bucket's name (a-z, 0-9 and '-', 3 to 63 of them)")
]
"""S3's rules for names, without dots: with one in it, no wildcard certificate covers ``bucket.host``."""
UrlPath = Annotated[str, matching(r"^/[A-Za-z0-9._~/-]*$", "a path of a URL as /api/")]
Segment = Annotated[str, matching(r"^[A-Za-z0-9][A-Za-z0-9._~-]*$", "a part of a path without '/'")]


class DatabaseWish(Model):
    """A database that a service wants of the server that it needs. Its role there is named as its container."""

    name: DatabaseName
    group: GroupName | None = None
    """The database is one of Zentoria's own: its tables come with the service ``schema`` of the server's container, and
    belong to nobody who logs in. This container's role may do what ``svc_<group>`` may, and nothing more. Without it,
    the database belongs to this container's role."""
    extensions: tuple[ExtensionName, ...] = ()
    """What is installed into it by the superuser, as ``vector``."""


class Route(Model):
    """A path at the proxy that leads to a port.

    With a slash at the end it is everything below it; without one, itself and everything below it.
    """

    path: UrlPath
    limit: Literal["api", "auth", "pages"] = "pages"
    """Which request limit counts."""
    json_errors: bool = False
    """Errors that the proxy itself answers are JSON (RFC 9457), else a page."""
    stream: bool = False
    """What the service sends goes to the client at once; it may be silent for long."""
    uploads: bool = False
    """What clients send goes to the service as it comes, and is not kept at the proxy first."""
    streams_below: tuple[Segment, ...] = ()
    """Parts of paths below this one that say the same: with ``events``, ``/api/v1/events/7`` is a stream."""
    upgrade: bool = False
    """WebSocket."""
    redirect: UrlPath | None = None
    """Clients are sent to this path instead, with their query; the service sees nothing of it."""
    strip: bool = False
    """The service does not see the path."""
    private: bool = False
    """Only for clients with a private address. What has no sign-in of ours in front is never public."""
    closed: tuple[Segment, ...] = ()
    """What begins so below it is not there for anybody."""

    @model_validator(mode="after")
    def _below(self) -> Route:
        if (self.closed or self.strip) and not self.path.endswith("/"):
            raise PydanticCustomError("rule_route_below", "'strip' and 'closed' want a path that ends with '/'")
        if self.redirect is not None and (self.path.endswith("/") or self.redirect == self.path):
            text = "'redirect' wants a path of one page, without '/' at its end, and another one to send clients to"
            raise PydanticCustomError("rule_route_redirect", text)
        return self
