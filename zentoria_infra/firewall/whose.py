"""Whose are the datacenter's objects: this site's, another site's, or from before names carried a site. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from zentoria_infra.firewall.config import Alias, Datacenter, Group, IpSet
from zentoria_infra.firewall.identity import is_of_site, is_ours, site_of


@dataclasses.dataclass(frozen=True, slots=True)
class Whose:
    """Tells owners apart by comments.

    Args:
        site: id of our site; empty for a guest's own objects, which need no mark of a site.
        takes_old: whether objects without a site are this site's own, and so can go.
    """

    site: str = ""
    takes_old: bool = False

    def is_own(self, comment: str) -> bool:
        """Whether an object is this site's."""
        return is_of_site(comment, self.site)

    def goes(self, comment: str) -> bool:
        """Whether an object that is not wanted is ours to remove."""
        return self.is_own(comment) or (self.takes_old and self._is_old(comment))

    def another(self, comment: str) -> bool:
        """Whether an object is another site's."""
        return site_of(comment) not in ("", self.site)

    def says(self, comment: str) -> str:
        """Of an object that is not this site's, in words."""
        if site := site_of(comment):
            return (
                f"of the site '{site}': two sites of one cluster need ids that differ, and their objects are their own"
            )
        return "Zentoria's of an older form, without a site" if is_ours(comment) else "not Zentoria's"

    def left(self, datacenter: Datacenter) -> Iterator[str]:
        """Objects of the older form that are not ours to remove, in words."""
        if not self.site or self.takes_old:
            return
        why = "names no site, and is not surely this one's: remove it when no guest uses it any more"
        for kind, things in _things(datacenter):
            yield from (f"{kind} {one.name} {why}" for one in things if self._is_old(one.comment))

    def _is_old(self, comment: str) -> bool:
        return bool(self.site) and is_ours(comment) and not site_of(comment)


def _things(datacenter: Datacenter) -> Iterator[tuple[str, tuple[Alias | IpSet | Group, ...]]]:
    yield "alias", datacenter.aliases
    yield "IP set", datacenter.ipsets
    yield "security group", datacenter.groups


def owners(there: Datacenter, wanted: Datacenter) -> Whose:
    """Who owns what in a datacenter, as the site sees it of which ``wanted`` is compiled.

    Names had no site once. Such objects are this site's own when every such alias stands for an address of its
    containers under their name; a single other one, and all of them may be in use by another site.
    """
    addresses = {_container(one): one.cidr for one in wanted.aliases}
    old = [one for one in there.aliases if is_ours(one.comment) and not site_of(one.comment)]
    own = bool(old) and all(addresses.get(_container(one)) == one.cidr for one in old)
    return Whose(wanted.site, own)


def _container(alias: Alias) -> str:
    """The container that an alias stands for, as the comment names it."""
    return alias.comment.split(maxsplit=1)[0].rpartition("/")[2] if alias.comment else ""
