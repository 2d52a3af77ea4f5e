"""Names that stand for private addresses: no rule of the firewall lets a guest there by name. Pure.

A name is compiled to the internet, which is every public address. What a name stands for, only a name server knows; but
these are nobody's on the internet (RFC 6762, RFC 8375, ICANN's ``internal``, and what routers give their networks).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zentoria_infra.inventory.flows import egress_of
from zentoria_infra.inventory.problems import Problem, problem

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory

_ENDS = ("local", "localdomain", "localhost", "lan", "home", "internal", "intranet", "home.arpa")
_ANY = "any"
"""In ``egress``: all of the internet."""


def is_private_name(host: str) -> bool:
    """Whether a host is a name of a private network: a single word, or one that ends as no public name does."""
    bare = host.lower().rstrip(".")
    if not bare or bare == _ANY or ":" in bare or "/" in bare or bare.replace(".", "").isdigit():
        return False
    return "." not in bare or any(bare == end or bare.endswith(f".{end}") for end in _ENDS)


def check_private_names(inventory: Inventory) -> Iterator[Problem]:
    """Yield each place where guests are to reach such a name: the proxy, package sources, ``egress``."""
    site = inventory.site
    found = [("proxy", site.proxy)] if site.proxy is not None else []
    if site.proxy is None and site.package_sources != "template":
        found = [
            (f"package_sources.{number}.uris.{place}", uri)
            for number, source in enumerate(site.package_sources)
            for place, uri in enumerate(source.uris)
        ]
    for path, url in found:
        host = urlsplit(url).hostname or ""
        if is_private_name(host):
            yield problem(inventory.position("site", path), _text(host))
    for container in inventory.containers:
        for path, entry in egress_of(container):
            for number, host in enumerate(entry.to):
                if is_private_name(host):
                    yield problem(inventory.position(container, f"{path}.to.{number}"), _text(host))


def _text(host: str) -> str:
    return (
        f"'{host}' is a name of a private network, and by name guests reach public addresses alone: "
        "write its address in place of the name"
    )
