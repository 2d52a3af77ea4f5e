"""What Zentoria needs on a Proxmox server: pool, roles, user, token and rights, with the least privilege that does.

The privileges come from the table of endpoints that Zentoria calls. There is a role for each kind of path, so that none
of them gives more than what is asked for there: Sys.Modify, say, is for ``/`` alone, and does not propagate.

The token has privilege separation: what it may do is what both user and token were given, so both are. The user has no
password and cannot log in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zentoria_infra.bootstrap.files import Action, SiteFiles
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.privileges import PRIVILEGED, ZONE
from zentoria_infra.proxmox.access import Access, Grant, UserInfo
from zentoria_infra.proxmox.endpoints import ENDPOINTS, Used
from zentoria_infra.proxmox.errors import LostAnswerError

ROLE = "Zentoria"
STORAGE = f"{ROLE}Storage"
TEMPLATE = f"{ROLE}Template"
NETWORK = f"{ROLE}Network"
NODE = f"{ROLE}Node"
FIREWALL = f"{ROLE}Firewall"
FIREWALL_READ = f"{ROLE}FirewallAudit"
PRIVILEGED_ROLE = f"{ROLE}Privileged"
"""For containers that the inventory makes privileged, which Proxmox VE 9 asks for."""

_COMMENT = "Zentoria, site "
_PLACES = {
    "/vms/{vmid}": ROLE,
    "/pool/{poolid}": ROLE,
    "/storage/{storage}": STORAGE,
    "/storage/{template}": TEMPLATE,
    "/sdn/zones/{zone}/{bridge}": NETWORK,
    "/nodes/{node}": NODE,
    "/": FIREWALL,
}
"""Which role a path's privileges are in."""


def roles() -> dict[str, frozenset[str]]:
    """The roles and their privileges, from the endpoints that the site's token calls."""
    found: dict[str, set[str]] = {FIREWALL_READ: set(), PRIVILEGED_ROLE: {PRIVILEGED.privilege}}
    for call in ENDPOINTS:
        if call.used in (Used.ALWAYS, Used.DATACENTER):
            for need in (*call.needs, *call.shows):
                found.setdefault(_PLACES[need.path], set()).add(need.privilege)
        if call.used is Used.ALWAYS:
            found[FIREWALL_READ] |= {need.privilege for need in call.needs if need.path == "/"}
    return {name: frozenset(privileges) for name, privileges in sorted(found.items())}


@dataclass(frozen=True)
class Wanted:
    """What shall be there.

    Args:
        site: the site's id.
        pool: its pool; empty without one.
        user: ``user@realm``.
        token: the token's name.
        roles: privileges by role.
        places: path, role, and whether it holds for what is below.
    """

    site: str
    pool: str
    user: str
    token: str
    roles: tuple[tuple[str, frozenset[str]], ...]
    places: tuple[tuple[str, str, bool], ...]

    @property
    def full_token(self) -> str:
        """``user@realm!token``."""
        return f"{self.user}!{self.token}"

    @property
    def comment(self) -> str:
        """What tells in Proxmox whose it is."""
        return f"{_COMMENT}{self.site}"

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The rights, of the user and of the token: with privilege separation both need them."""
        return tuple(
            Grant(path, role, kind, who, propagate)
            for path, role, propagate in self.places
            for kind, who in (("user", self.user), ("token", self.full_token))
        )


def wanted(inventory: Inventory, zones: Callable[[str], str] = lambda bridge: ZONE, major: int = 9) -> Wanted:
    """What a site needs.

    Args:
        inventory: with the site.
        zones: the SDN zone of a bridge.
        major: the server's release.
    """
    site, containers = inventory.site, desired_containers(inventory)
    user, _, token = site.proxmox.token_id.partition("!")
    storages = {site.storages.rootfs, site.storages.volumes}
    storages |= {volume.storage for one in containers for volume in (one.rootfs, *one.volumes)}
    templates = {one.ostemplate.partition(":")[0] for one in containers} | {site.template.partition(":")[0]}
    bridges = {net["bridge"] for one in containers for net in one.nets.values() if net.get("bridge")}
    nodes = {site.proxmox.node, *(one.node for one in containers)}
    firewall = FIREWALL if site.firewall.objects == "datacenter" else FIREWALL_READ
    guests = [f"/pool/{site.proxmox.pool}"] if site.proxmox.pool else [f"/vms/{one.vmid}" for one in containers]
    places = [
        *((path, ROLE, True) for path in guests),
        *((f"/storage/{name}", STORAGE, True) for name in sorted(storages)),
        *((f"/storage/{name}", TEMPLATE, True) for name in sorted(templates - storages)),
        *((f"/sdn/zones/{zones(name)}/{name}", NETWORK, True) for name in sorted(bridges)),
        *((f"/nodes/{name}", NODE, True) for name in sorted(nodes)),
        ("/", firewall, False),
    ]
    if firewall != FIREWALL and major >= 9 and any(not one.unprivileged for one in containers):
        places.append((PRIVILEGED.path, PRIVILEGED_ROLE, False))
    used = {role for _, role, _ in places}
    needed = tuple((name, privileges) for name, privileges in roles().items() if name in used)
    return Wanted(site.id, site.proxmox.pool, user, token, needed, tuple(places))


@dataclass(frozen=True)
class Seen:
    """What is there, as far as it matters."""

    pools: frozenset[str]
    roles: dict[str, frozenset[str]]
    user: UserInfo | None
    grants: frozenset[Grant]


def look(access: Access, what: Wanted) -> Seen:
    """Read what is there: five calls."""
    return Seen(
        frozenset(access.pools()),
        {role.name: role.privileges for role in access.roles().values()},
        access.user(what.user),
        frozenset(access.grants()),
    )


def steps(what: Wanted, seen: Seen, *, new_secret: bool = False) -> tuple[Action, ...]:
    """What is to be done; none when all is there. Pure.

    Args:
        what: what shall be there.
        seen: what is there.
        new_secret: make the token anew, since its secret is lost.
    """
    found: list[Action] = []
    missing = [name for name in lineage(what.pool) if name not in seen.pools]
    found.extend(Action("pool", "make", name, f"make pool {name}") for name in missing)
    for name, privileges in what.roles:
        listed = " ".join(sorted(privileges))
        if name not in seen.roles:
            found.append(Action("role", "make", name, f"make role {name}: {listed}", privileges))
        elif seen.roles[name] != privileges:
            more = _differs(seen.roles[name], privileges)
            found.append(Action("role", "change", name, f"change role {name}: {more}", privileges))
    if seen.user is None:
        found.append(Action("user", "make", what.user, f"make user {what.user}, without a password"))
    there = {one.name: one for one in seen.user.tokens} if seen.user else {}
    token = there.get(what.token)
    kept = seen.grants
    if token is not None and new_secret:
        whose = f"; its comment is {token.comment!r}" if token.comment not in ("", what.comment) else ""
        says = f"remove token {what.full_token}, whose secret is lost{whose}"
        found.append(Action("token", "remove", what.full_token, says))
        kept = frozenset(one for one in kept if one.who != what.full_token)
    if token is None or new_secret:
        says = f"make token {what.full_token}, with privilege separation"
        found.append(Action("token", "make", what.full_token, says))
    for grant in what.grants:
        if grant not in kept:
            # One that reaches less far or farther was somebody else's; it is put right, and stays when ours go.
            other = dataclasses.replace(grant, propagate=not grant.propagate) in kept
            whole = "" if grant.propagate else " (of itself, not below)"
            says = f"give {grant.kind} {grant.who} the role {grant.role} on {grant.path}{whole}"
            found.append(Action("grant", "change" if other else "give", grant.path, says, grant=grant))
    if token is not None and not token.privsep and not new_secret:
        # Last: until its own rights are there, it would have none.
        says = f"give token {what.full_token} privilege separation"
        found.append(Action("separation", "give", what.full_token, says))
    return tuple(found)


def is_lost(what: Wanted, seen: Seen, files: SiteFiles) -> bool:
    """Whether there is a token of ours that nobody knows the secret of: a run was lost while it made it.

    One that somebody else made under that name is none of ours.
    """
    ours = seen.user is not None and any(
        (one.name, one.comment) == (what.token, what.comment) for one in seen.user.tokens
    )
    return ours and files.has_begun(what.full_token) and not files.has_token


def _differs(before: frozenset[str], after: frozenset[str]) -> str:
    return " ".join(
        [*(f"+{name}" for name in sorted(after - before)), *(f"-{name}" for name in sorted(before - after))]
    )


def carry_out(access: Access, what: Wanted, todo: Iterable[Action], files: SiteFiles) -> None:
    """Carry out steps, and remember what was made. Ended in the middle, the next run goes on.

    Where an answer was lost for good, a look tells whether the step was carried out.

    Raises:
        ZentoriaError: a step did not work.
    """
    for step in todo:
        if (step.kind, step.verb) == ("token", "make"):
            files.begin_token(step.name)
        try:
            _one(access, what, step, files)
        except LostAnswerError:
            if not _is_done(access, what, step):
                raise
        files.remember(step)


def _is_done(access: Access, what: Wanted, step: Action) -> bool:
    """Whether a step is none any more. A token whose secret was not told is not what was wanted."""
    if (step.kind, step.verb) == ("token", "make"):
        return False
    seen = look(access, what)
    open_ = removal(what, seen, [step]) if step.verb in ("remove", "take") else steps(what, seen)
    return all((one.kind, one.name, one.grant) != (step.kind, step.name, step.grant) for one in open_)


def _one(access: Access, what: Wanted, step: Action, files: SiteFiles) -> None:
    match step.kind, step.verb:
        case "pool", "make":
            access.create_pool(step.name, what.comment)
        case "pool", "remove":
            access.delete_pool(step.name)
        case "role", "make":
            access.create_role(step.name, step.privileges)
        case "role", "change":
            access.set_role(step.name, step.privileges)
        case "role", "remove":
            access.delete_role(step.name)
        case "user", "make":
            access.create_user(step.name, what.comment)
        case "user", "remove":
            access.delete_user(step.name)
        case "token", "make":
            files.keep_token(access.create_token(what.user, what.token, what.comment).reveal())
        case "separation", _:
            access.separate_token(what.user, what.token, separate=step.verb == "give")
        case "token", "remove":
            access.delete_token(what.user, what.token)
        case "grant", "give" | "change":
            assert step.grant is not None  # noqa: S101 - a step of this kind has one
            access.grant(step.grant)
        case "grant", "take":
            assert step.grant is not None  # noqa: S101 - a step of this kind has one
            access.revoke(step.grant)


def removal(what: Wanted, seen: Seen, made: Sequence[Action]) -> tuple[Action, ...]:
    """Steps that undo what was made, as far as it is still there; what was there before stays. Pure.

    A role that others were given meanwhile stays as well. So does the user while it has tokens of others, with what
    they need of its rights: a token's rights are cut by its user's.

    Args:
        what: what the site needs.
        seen: what is there.
        made: steps that were carried out here, from :meth:`SiteFiles.made`.
    """
    found: list[Action] = []
    keys = {(one.kind, one.name) for one in made}
    tokens = {one.name: one for one in seen.user.tokens} if seen.user else {}
    token = tokens.get(what.token)
    if token is not None and token.comment != what.comment and token.comment.startswith(_COMMENT):
        token = None  # another site has made it anew
    others = {f"{what.user}!{name}" for name in tokens} - ({what.full_token} if token is not None else set())
    needed = {(one.path, one.role) for one in seen.grants if one.who in others}
    grants = {
        one.grant
        for one in made
        if one.grant is not None
        and one.grant.who not in others
        and (one.grant.who != what.user or (one.grant.path, one.grant.role) not in needed)
    }
    users = {what.user, what.full_token} - others
    for grant in sorted(grants & seen.grants):
        says = f"take the role {grant.role} on {grant.path} from {grant.kind} {grant.who}"
        found.append(Action("grant", "take", grant.path, says, grant=grant))
    if ("separation", what.full_token) in keys and token is not None and token.privsep:
        says = f"take privilege separation from token {what.full_token} again"
        found.append(Action("separation", "take", what.full_token, says))
    if ("token", what.full_token) in keys and token is not None:
        found.append(Action("token", "remove", what.full_token, f"remove token {what.full_token}"))
    if ("user", what.user) in keys and seen.user is not None and not others:
        found.append(Action("user", "remove", what.user, f"remove user {what.user}"))
    kept = bool(others) or ("user", what.user) not in keys
    left = {one.role for one in seen.grants - grants if one.who not in users or kept}
    ours = sorted(name for kind, name in keys if kind == "role" and name in seen.roles and name not in left)
    found.extend(Action("role", "remove", name, f"remove role {name}") for name in ours)
    pools = set(seen.pools)
    for name in reversed(lineage(what.pool)):
        # One that others have put pools into meanwhile stays as well.
        if ("pool", name) in keys and name in pools and not any(one.startswith(f"{name}/") for one in pools):
            found.append(Action("pool", "remove", name, f"remove pool {name}"))
            pools.remove(name)
    return tuple(found)


def kept(seen: Seen, made: Sequence[Action], todo: Sequence[Action]) -> tuple[str, ...]:
    """Of what was made, in words, what a removal leaves there because others need it. Pure.

    Args:
        seen: what is there.
        made: steps that were carried out here.
        todo: of the removal.
    """
    there = {*(("pool", name) for name in seen.pools), *(("role", name) for name in seen.roles)}
    if seen.user is not None:
        there.add(("user", seen.user.name))
    left = ({(one.kind, one.name) for one in made} & there) - {(one.kind, one.name) for one in todo}
    return tuple(f"{kind} {name}" for kind, name in sorted(left))


def lineage(pool: str) -> tuple[str, ...]:
    """A pool after those that it is nested in: ``home`` and ``home/zentoria``. Proxmox makes no parents by itself."""
    parts = pool.split("/") if pool else []
    return tuple("/".join(parts[: count + 1]) for count in range(len(parts)))
