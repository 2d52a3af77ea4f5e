"""Who may do what: roles on paths, inherited downwards; a token's rights are cut by its user's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zentoria_infra.lab.api.auth import privileges
from zentoria_infra.lab.api.auth.usercfg import AclTarget, UserConfig
from zentoria_infra.lab.api.faults import forbidden

ROOT = "root@pam"
TOP_PATHS = ("/", "/vms", "/storage", "/access", "/access/groups", "/nodes", "/pool", "/sdn")


def _parents(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))]


class Rights:
    """The rights of one moment, computed from ``user.cfg``. ``all`` holds every privilege of this release."""

    def __init__(self, config: UserConfig, major: int) -> None:
        self._config = config
        self.all = privileges.of_release(major)
        self._roles: Mapping[str, frozenset[str]] = {**config.roles, **privileges.builtin_roles(major)}

    def roles(self) -> Mapping[str, frozenset[str]]:
        """All roles, those that come with Proxmox too."""
        return self._roles

    def on(self, who: str, path: str) -> dict[str, bool]:
        """Privileges of a user or token (``user@realm!id``) on a path; the value says whether they propagate."""
        user, bang, _ = who.partition("!")
        account = self._config.users.get(user)
        if account is None or not account.enable:
            return {}
        if not bang:
            return self._of_user(user, path)
        token = account.tokens.get(who.partition("!")[2])
        if token is None:
            return {}
        if not token.privsep:
            return self._of_user(user, path)
        mine = self._through(path, [("token", who)])
        theirs = self._of_user(user, path)
        return {name: mine[name] and theirs[name] for name in mine.keys() & theirs.keys()}

    def _of_user(self, user: str, path: str) -> dict[str, bool]:
        if user == ROOT:
            return dict.fromkeys(self.all, True)
        groups: list[AclTarget] = [("group", name) for name, members in self._config.groups.items() if user in members]
        return self._through(path, [("user", user), *groups])

    def _through(self, path: str, targets: list[AclTarget]) -> dict[str, bool]:
        found, denied = self._walk(path, targets)
        pool = self._pool(path)
        if pool and not denied:
            found = {**self._walk(f"/pool/{pool}", targets)[0], **found}
        return found

    def _pool(self, path: str) -> str | None:
        parts = path.split("/")
        if len(parts) != 3:
            return None
        if parts[1] == "vms" and parts[2].isdigit():
            return self._config.pool_of(int(parts[2]))
        if parts[1] == "storage":
            return next((name for name, pool in self._config.pools.items() if parts[2] in pool.storages), None)
        return None

    def _walk(self, path: str, targets: list[AclTarget]) -> tuple[dict[str, bool], bool]:
        """Privileges along a path. The deepest entry replaces those above it; a user's go before its groups'."""
        roles: dict[str, bool] = {}
        for step in _parents(path):
            entries = self._config.acl.get(step, {})
            own = entries.get(targets[0], {})
            if not own:
                own = {role: flag for target in targets[1:] for role, flag in entries.get(target, {}).items()}
            holding = {role: flag for role, flag in own.items() if flag or step == path}
            if holding:
                roles = holding
        if "NoAccess" in roles:
            return {}, True
        result: dict[str, bool] = {}
        for role, propagate in roles.items():
            for name in self._roles.get(role, frozenset()) & self.all:
                result[name] = result.get(name, False) or propagate
        return result, False

    def has(self, who: str, path: str, *wanted: str) -> bool:
        """Whether all of these privileges are there."""
        mine = self.on(who, path)
        return all(name in mine for name in wanted)

    def has_any(self, who: str, path: str, *wanted: str) -> bool:
        """Whether one of these privileges is there."""
        mine = self.on(who, path)
        return any(name in mine for name in wanted)

    def check(self, who: str, path: str, *wanted: str) -> None:
        """Raise a 403 Fault that names the first privilege that is missing."""
        mine = self.on(who, path)
        for name in wanted:
            if name not in mine:
                raise forbidden(f"{path}, {name}")

    def check_any(self, who: str, path: str, *wanted: str) -> None:
        """Raise a 403 Fault when none of these privileges is there."""
        if not self.has_any(who, path, *wanted):
            raise forbidden(f"{path}, {'|'.join(wanted)}")

    def check_guest(self, who: str, vmid: int, pool: str | None, *wanted: str) -> None:
        """As ``check`` on ``/vms/<vmid>``; a pool that the container is about to join counts too."""
        if pool and self.has(who, f"/pool/{pool}", *wanted):
            return
        self.check(who, f"/vms/{vmid}", *wanted)

    def table(self, who: str, paths: Iterable[str]) -> dict[str, dict[str, int]]:
        """Privileges on each of the paths, as ``GET /access/permissions`` answers; empty ones are left out."""
        rows = {path: {name: int(flag) for name, flag in sorted(self.on(who, path).items())} for path in paths}
        return {path: row for path, row in rows.items() if row}
