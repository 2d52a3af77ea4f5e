"""Users, tokens, roles and rights of a Proxmox server: what an administrator reads and writes for ``bootstrap``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from zentoria_infra.errors import ApiError
from zentoria_infra.proxmox import records
from zentoria_infra.proxmox.connection import Connection, Repeat
from zentoria_infra.proxmox.errors import AlreadyExistsError, AnswerTimeoutError, LostAnswerError, TransientError
from zentoria_infra.proxmox.secret import Secret

_EXISTS = re.compile(r"already exists", re.IGNORECASE)
_GONE = re.compile(r"does not exist|no such (?:user|token|role|pool)", re.IGNORECASE)
_TOKEN_ATTEMPTS = 12
"""As many as any other call of a session with a ticket (RetryPolicy.lost)."""
_NOT_THERE = 501
"""What a server without SDN answers (Method not implemented)."""


class _DoneError(Exception):
    """The call whose answer was lost has been carried out."""


@dataclass(frozen=True)
class Role:
    """A role and its privileges. Those that come with Proxmox cannot be changed (``special``)."""

    name: str
    privileges: frozenset[str]
    special: bool = False


@dataclass(frozen=True)
class TokenInfo:
    """A token of a user. With ``privsep`` it has only the rights that it was given itself, cut by its user's."""

    name: str
    privsep: bool
    comment: str = ""


@dataclass(frozen=True)
class UserInfo:
    """A user with its tokens."""

    name: str
    enabled: bool
    comment: str
    tokens: tuple[TokenInfo, ...]


@dataclass(frozen=True, order=True)
class Grant:
    """One entry of the access control list.

    Args:
        path: of the tree of permissions.
        role: its name.
        kind: ``user``, ``group`` or ``token``.
        who: user id, group or ``user@realm!token``.
        propagate: whether it holds for what is below as well.
    """

    path: str
    role: str
    kind: str
    who: str
    propagate: bool = True


class Access:
    """Reads and writes users, tokens, roles and the access control list.

    Errors: those of :class:`~zentoria_infra.proxmox.connection.Connection`. What is made may be made twice: what is
    there already and alike, or gone already, is no error. What somebody else has made meanwhile under the same name is
    neither taken for ours nor removed: after a lost answer we look before a call is sent again.

    Args:
        connection: the API, as an administrator.
    """

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call
        self._read = connection.reader()

    def pools(self) -> Mapping[str, str]:
        """Pools, with their comments."""
        return {str(raw["poolid"]): records.text(raw.get("comment")) for raw in self._read("/pools")}

    def roles(self) -> Mapping[str, Role]:
        """Roles by name."""
        return {
            str(raw["roleid"]): Role(
                str(raw["roleid"]), frozenset(records.words(raw.get("privs"))), records.truth(raw.get("special", 0))
            )
            for raw in self._read("/access/roles")
        }

    def user(self, name: str) -> UserInfo | None:
        """A user; None when there is none that we may see."""
        for raw in self._read("/access/users", {"full": True}):
            if raw.get("userid") == name:
                enabled, comment = records.truth(raw.get("enable", 1)), records.text(raw.get("comment"))
                return UserInfo(name, enabled, comment, self.tokens(name))
        return None

    def tokens(self, user: str) -> tuple[TokenInfo, ...]:
        """The tokens of a user."""
        return tuple(
            TokenInfo(str(one["tokenid"]), records.truth(one.get("privsep", 1)), records.text(one.get("comment")))
            for one in self._read("/access/users/{userid}/token", userid=user)
        )

    def grants(self) -> tuple[Grant, ...]:
        """The access control list, as far as we may see it."""
        return tuple(
            Grant(
                str(raw["path"]),
                str(raw["roleid"]),
                str(raw["type"]),
                str(raw["ugid"]),
                records.truth(raw.get("propagate", 1)),
            )
            for raw in self._read("/access/acl")
        )

    def vnets(self) -> Mapping[str, str]:
        """Virtual networks with their zones; none on a server without SDN."""
        try:
            lines = self._read("/cluster/sdn/vnets")
        except ApiError as error:
            if error.status == _NOT_THERE:
                return {}
            raise
        return {str(raw["vnet"]): str(raw["zone"]) for raw in lines if raw.get("zone")}

    def create_pool(self, name: str, comment: str) -> None:
        """Make a pool."""
        params = {"poolid": name, "comment": comment}
        self._make("/pools", params, f"make pool {name}", lambda: self.pools().get(name) == comment)

    def delete_pool(self, name: str) -> None:
        """Remove a pool.

        Raises:
            ApiError: something is in it.
        """
        self._drop("/pools", f"remove pool {name}", lambda: self.pools().get(name), {"poolid": name})

    def create_role(self, name: str, privileges: Iterable[str]) -> None:
        """Make a role."""
        wanted = Role(name, frozenset(privileges))
        params = {"roleid": name, "privs": ",".join(sorted(wanted.privileges))}
        self._make("/access/roles", params, f"make role {name}", lambda: self.roles().get(name) == wanted)

    def set_role(self, name: str, privileges: Iterable[str]) -> None:
        """Give a role exactly these privileges."""
        params = {"privs": ",".join(sorted(privileges))}
        tried = f"change role {name}"
        self._call("PUT", "/access/roles/{roleid}", params, repeat=Repeat.SAFE, tried=tried, roleid=name)

    def delete_role(self, name: str) -> None:
        """Remove a role."""
        self._drop("/access/roles/{roleid}", f"remove role {name}", lambda: self.roles().get(name), roleid=name)

    def create_user(self, name: str, comment: str) -> None:
        """Make a user without a password, who cannot log in."""
        params = {"userid": name, "comment": comment}

        def is_alike() -> bool:
            found = self.user(name)
            return found is not None and found.comment == comment

        self._make("/access/users", params, f"make user {name}", is_alike)

    def delete_user(self, name: str) -> None:
        """Remove a user, with tokens and rights."""
        self._drop("/access/users/{userid}", f"remove user {name}", lambda: self.user(name), userid=name)

    def create_token(self, user: str, token: str, comment: str) -> Secret:
        """Make a token with privilege separation; returns its secret, which the server tells this once.

        When the answer gets lost, the token may be there, and nobody knows its secret: such a one is removed, and made
        anew. There must be no token of that name before.

        Raises:
            ApiError: somebody else made a token of that name meanwhile.
            UnreachableError: too many answers got lost.
        """
        for _ in range(_TOKEN_ATTEMPTS):
            try:
                return self._create_token(user, token, comment)
            except (LostAnswerError, TransientError) as error:
                lost = error
            there = next((one for one in self.tokens(user) if one.name == token), None)
            if there is not None and there.comment != comment:
                break
            if there is not None:
                self.delete_token(user, token)
            if isinstance(lost, AnswerTimeoutError | TransientError):  # it was waited for long enough
                break
        raise lost

    def _create_token(self, user: str, token: str, comment: str) -> Secret:
        answer = self._call(
            "POST",
            "/access/users/{userid}/token/{tokenid}",
            {"privsep": True, "comment": comment},
            tried=f"make token {user}!{token}",
            userid=user,
            tokenid=token,
        )
        return Secret(str(answer["value"]))

    def separate_token(self, user: str, token: str, *, separate: bool = True) -> None:
        """Give a token privilege separation, or take it away."""
        path, tried = "/access/users/{userid}/token/{tokenid}", f"change token {user}!{token}"
        self._call("PUT", path, {"privsep": separate}, repeat=Repeat.SAFE, tried=tried, userid=user, tokenid=token)

    def delete_token(self, user: str, token: str) -> None:
        """Remove a token, with its rights."""
        path = "/access/users/{userid}/token/{tokenid}"

        def look() -> TokenInfo | None:
            return next((one for one in self.tokens(user) if one.name == token), None)

        self._drop(path, f"remove token {user}!{token}", look, userid=user, tokenid=token)

    def grant(self, grant: Grant) -> None:
        """Give a right."""
        self._acl(grant, {"propagate": grant.propagate}, f"give {grant.who} the role {grant.role} on {grant.path}")

    def revoke(self, grant: Grant) -> None:
        """Take a right away."""
        self._acl(grant, {"delete": True}, f"take the role {grant.role} on {grant.path} from {grant.who}")

    def _acl(self, grant: Grant, more: Mapping[str, bool], tried: str) -> None:
        who = {f"{grant.kind}s": grant.who}
        params = {"path": grant.path, "roles": grant.role, **who, **more}
        self._call("PUT", "/access/acl", params, repeat=Repeat.SAFE, tried=tried)

    def _make(self, template: str, params: Mapping[str, str], tried: str, is_alike: Callable[[], bool]) -> None:
        try:
            self._call("POST", template, params, repeat=Repeat.SAFE, tried=tried)
        except ApiError as error:
            if not _EXISTS.search(error.got):
                raise
            if not is_alike():
                raise AlreadyExistsError(
                    tried,
                    on=error.on,
                    got=f"{error.got}: somebody else has made it meanwhile, and another one",
                    status=error.status,
                    todo="look at it in Proxmox; then run again: what is there is planned anew",
                ) from None

    def _drop(
        self,
        template: str,
        tried: str,
        look: Callable[[], object | None],
        params: Mapping[str, str] | None = None,
        **path: str,
    ) -> None:
        before = look()

        def again() -> None:
            if look() != before:
                raise _DoneError

        try:
            self._call("DELETE", template, params, repeat=Repeat.SAFE, tried=tried, again=again, **path)
        except _DoneError:
            return  # what is there by now, if anything, somebody else has made
        except ApiError as error:
            if not _GONE.search(error.got):
                raise
