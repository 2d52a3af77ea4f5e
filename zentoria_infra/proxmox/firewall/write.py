"""Changing the firewall: options, aliases, IP sets, groups. Rules are in :mod:`firewall_rules`."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from zentoria_infra.errors import ApiError, PermissionDeniedError, RefusedError, ZentoriaError
from zentoria_infra.firewall import names
from zentoria_infra.firewall.config import Alias, Entry
from zentoria_infra.firewall.identity import is_ours
from zentoria_infra.proxmox import errors
from zentoria_infra.proxmox.connection import Connection, Repeat
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.firewall.read import FirewallObserver, denied
from zentoria_infra.proxmox.firewall.rules import RuleWriter
from zentoria_infra.proxmox.gates import Gates

_EXISTS = re.compile(r"already exists", re.IGNORECASE)
_GONE = re.compile(r"no such (?:IPSet|security group|alias|IP/Network)|does not exist", re.IGNORECASE)


class FirewallWriter:
    """Writes to the firewall. Safe from several threads; guests in parallel, one write at a time on each of them.

    The datacenter's objects, and those of nodes, are written one at a time: they share a file. Every method returns
    None or raises: the errors of :class:`~zentoria_infra.proxmox.connection.Connection`; a PermissionDeniedError
    names the right that is needed and on what.

    Making what is there already, alike, and removing what is gone, is no error: so it may be done again after a lost
    answer or a crash.

    Args:
        connection: the API.
        observer: for the re-reads.
        gates: shared with everything else that writes.
        sleep: waits seconds; replaced in tests.
        whose: tells by its VMID and node whether a guest is ours: the firewall of another is not written by a call
            that is sent again after a lost answer.
        owns: tells by its comment whether an object of the datacenter is ours, likewise; it is asked of objects that
            are called like ours.
    """

    def __init__(
        self,
        connection: Connection,
        observer: FirewallObserver,
        gates: Gates,
        *,
        sleep: Callable[[float], None] = time.sleep,
        whose: Callable[[int, str], bool] = lambda vmid, node: True,
        owns: Callable[[str], bool] = is_ours,
    ) -> None:
        self._connection = connection
        self._observe = observer
        self._gates = gates
        self._shared = threading.Lock()
        self._whose = whose
        self._owns = owns
        self.rules = RuleWriter(self._send, observer, self._gate, sleep=sleep, again=self._require_ours)

    def set_options(
        self, scope: fw.Scope, values: Mapping[str, str], *, delete: Sequence[str] = (), digest: str | None = None
    ) -> None:
        """Set options, and remove others: one call.

        Args:
            scope: whose.
            values: option to value, as text.
            delete: options to remove.
            digest: of the options that the change was planned from.

        Raises:
            ModifiedError: the digest is old.
        """
        params = {**values, "delete": ",".join(delete) or None, "digest": digest}
        tried = f"set options of {scope.title}"

        def is_done() -> bool:
            there, _ = self._observe.options(scope)
            return all(there.get(key) == value for key, value in values.items()) and not any(
                key in there for key in delete
            )

        with self._gate(scope):
            self._once(scope, "PUT", "/options", params, tried, is_done)

    def create_alias(self, scope: fw.Scope, alias: Alias) -> None:
        """Make an alias of the datacenter or a guest.

        Raises:
            AlreadyExistsError: there is one of that name with another address.
        """
        params = {"name": alias.name, "cidr": alias.cidr, "comment": alias.comment or None}

        def alike() -> bool:
            found = self._alias(scope, alias.name)
            return found is not None and found.cidr == fw.plain(alias.cidr)

        self._make(scope, "/aliases", params, f"make alias {alias.name} in {scope.title}", alike)

    def update_alias(self, scope: fw.Scope, alias: Alias, *, digest: str | None = None) -> None:
        """Give an alias another address and comment.

        Raises:
            ApiError: there is no alias of that name.
            ModifiedError: the digest is old.
        """
        params = {"cidr": alias.cidr, "comment": alias.comment or None, "digest": digest}
        tried = f"change alias {alias.name} in {scope.title}"

        def is_done() -> bool:
            found = self._alias(scope, alias.name)
            return found is not None and (found.cidr, found.comment) == (fw.plain(alias.cidr), alias.comment)

        with self._gate(scope):
            self._once(scope, "PUT", "/aliases/{alias}", params, tried, is_done, alias=alias.name)

    def delete_alias(self, scope: fw.Scope, name: str, *, digest: str | None = None) -> None:
        """Remove an alias. Proxmox does not ask whether rules name it; those vanish then."""
        tried = f"remove alias {name} of {scope.title}"

        def is_done() -> bool:
            return self._alias(scope, name) is None

        self._drop(scope, "/aliases/{alias}", tried, {"digest": digest}, is_done, alias=name)

    def create_ipset(self, scope: fw.Scope, name: str, comment: str = "") -> None:
        """Make an empty IP set; nothing to do when there is one of that name."""
        params = {"name": name, "comment": comment or None}
        tried = f"make IP set {name} in {scope.title}"
        self._make(scope, "/ipset", params, tried, lambda: self._is_no_others(scope, {"ipset": name}))

    def delete_ipset(self, scope: fw.Scope, name: str, *, force: bool = False) -> None:
        """Remove an IP set; one with members only with ``force``."""
        params = {"force": True} if force else {}
        self._drop(scope, "/ipset/{ipset}", f"remove IP set {name} of {scope.title}", params, None, ipset=name)

    def add_entry(self, scope: fw.Scope, ipset: str, entry: Entry) -> None:
        """Add a member to an IP set.

        Raises:
            AlreadyExistsError: it is there with another ``nomatch``.
        """
        params = {"cidr": fw.plain(entry.cidr), "nomatch": entry.nomatch or None, "comment": entry.comment or None}

        def alike() -> bool:
            member = self._member(scope, ipset, entry.cidr)
            return member is not None and member.nomatch == entry.nomatch

        tried = f"add {entry.cidr} to IP set {ipset} of {scope.title}"
        self._make(scope, "/ipset/{ipset}", params, tried, alike, ipset=ipset)

    def update_entry(self, scope: fw.Scope, ipset: str, entry: Entry, *, digest: str | None = None) -> None:
        """Change ``nomatch`` and comment of a member.

        Raises:
            ApiError: there is no such member.
            ModifiedError: the digest is old.
        """
        params = {"nomatch": entry.nomatch, "comment": entry.comment, "digest": digest}
        tried = f"change {entry.cidr} in IP set {ipset} of {scope.title}"
        cidr = fw.plain(entry.cidr)

        def is_done() -> bool:
            return self._member(scope, ipset, cidr) == Entry(cidr, entry.nomatch, entry.comment)

        with self._gate(scope):
            self._once(scope, "PUT", "/ipset/{ipset}/{cidr}", params, tried, is_done, ipset=ipset, cidr=cidr)

    def delete_entry(self, scope: fw.Scope, ipset: str, cidr: str, *, digest: str | None = None) -> None:
        """Take a member out of an IP set."""
        tried = f"take {cidr} out of IP set {ipset} of {scope.title}"

        def is_done() -> bool:
            return self._member(scope, ipset, cidr) is None

        params = {"digest": digest}
        self._drop(scope, "/ipset/{ipset}/{cidr}", tried, params, is_done, ipset=ipset, cidr=fw.plain(cidr))

    def create_group(self, name: str, comment: str = "") -> None:
        """Make an empty security group; nothing to do when there is one of that name."""
        params = {"group": name, "comment": comment or None}
        tried = f"make security group {name}"
        self._make(fw.DATACENTER, "/groups", params, tried, lambda: self._is_no_others(fw.DATACENTER, {"group": name}))

    def delete_group(self, name: str) -> None:
        """Remove a security group.

        Raises:
            ApiError: it has rules.
        """
        self._drop(fw.DATACENTER, "/groups/{group}", f"remove security group {name}", {}, None, group=name)

    def _make(
        self,
        scope: fw.Scope,
        template: str,
        params: Mapping[str, Any],
        tried: str,
        is_alike: Callable[[], bool],
        **path: object,
    ) -> None:
        """A POST that may be sent twice: the second is refused, and then we look what is there."""
        with self._gate(scope):
            try:
                self._send(scope, "POST", scope.base + template, params, tried, repeat=Repeat.SAFE, **path)
            except ApiError as error:
                if not _EXISTS.search(error.got):
                    raise
                if not is_alike():
                    raise errors.AlreadyExistsError(
                        tried,
                        on=error.on,
                        got=error.got,
                        status=error.status,
                        errors=error.errors,
                        todo="look at it in Proxmox, and rename it or remove it by hand: it is not the same",
                    ) from None

    def _drop(
        self,
        scope: fw.Scope,
        template: str,
        tried: str,
        params: Mapping[str, Any],
        is_done: Callable[[], bool] | None,
        **path: object,
    ) -> None:
        """A DELETE; what is gone already is no error."""
        with self._gate(scope):
            try:
                self._once(scope, "DELETE", template, params, tried, is_done, **path)
            except ApiError as error:
                if not _GONE.search(error.got):
                    raise

    def _once(
        self,
        scope: fw.Scope,
        verb: str,
        template: str,
        params: Mapping[str, Any],
        tried: str,
        is_done: Callable[[], bool] | None,
        **path: object,
    ) -> None:
        """A change that may be sent twice. With a digest the second would be refused for what the first has done.

        So after a lost answer ``is_done`` looks; what it cannot find out is not known, and the lost answer is told.
        """
        repeat = Repeat.SAFE if params.get("digest") is None else Repeat.UNSENT
        try:
            self._send(scope, verb, scope.base + template, params, tried, repeat=repeat, **path)
        except (errors.LostAnswerError, errors.TransientError):
            done = False
            if is_done is not None:
                with contextlib.suppress(ZentoriaError):
                    done = is_done()
            if not done:
                raise

    def _alias(self, scope: fw.Scope, name: str) -> Alias | None:
        return {one.name.lower(): one for one in self._observe.aliases(scope)}.get(name.lower())

    def _member(self, scope: fw.Scope, ipset: str, cidr: str) -> Entry | None:
        found = self._observe.ipset(scope, ipset)
        return {one.cidr: one for one in (found.entries if found else ())}.get(fw.plain(cidr))

    def _send(
        self,
        scope: fw.Scope,
        verb: str,
        template: str,
        params: Mapping[str, Any],
        tried: str,
        *,
        repeat: Repeat,
        **path: object,
    ) -> Any:
        where = {**scope.path, **path}

        def again() -> None:
            self._require_ours(scope, tried, where)

        try:
            return self._connection.call(verb, template, params, repeat=repeat, tried=tried, again=again, **where)
        except PermissionDeniedError as error:
            raise denied(error, error.tried, scope.write_right) from None

    def _require_ours(self, scope: fw.Scope, tried: str, path: Mapping[str, object] | None = None) -> None:
        """Look before a call is repeated whose answer was lost. Raises RefusedError."""
        if not scope.vmid:
            self._require_own_object(scope, tried, path or scope.path)
            return
        try:
            if self._whose(scope.vmid, str(scope.path["node"])):
                return
        except (errors.MissingError, PermissionDeniedError):
            pass  # a pool token is told 403 of what is gone
        raise RefusedError(
            tried,
            got=f"the answer was lost, and container {scope.vmid} is gone or another's by now: it was not sent again",
            todo=f"look at {scope.vmid} on the node, then run again: what is there is planned anew",
        )

    def _require_own_object(self, scope: fw.Scope, tried: str, path: Mapping[str, object]) -> None:
        if not self._is_no_others(scope, path):
            raise RefusedError(
                tried,
                got="the answer was lost, and somebody else has an object of that name by now: it was not sent again",
                todo="look at it in Proxmox (Datacenter > Firewall), then run again: what is there is planned anew",
            )

    def _is_no_others(self, scope: fw.Scope, path: Mapping[str, object]) -> bool:
        """Whether what a path names in the datacenter is ours, or is not there. A guest's are as the guest is.

        What is not called like ours, as the IP set ``management``, belongs to all.
        """
        if scope.vmid:
            return True
        for kind in ("alias", "ipset", "group"):
            name = str(path.get(kind, ""))
            if name.lower().startswith(names.HEAD):
                comment = self._comments(kind).get(name.lower() if kind == "alias" else name)
                return comment is None or self._owns(comment)
        return True

    def _comments(self, kind: str) -> Mapping[str, str]:
        """Comments of the datacenter's objects, by their names; those of aliases in small letters."""
        if kind == "alias":
            return {one.name.lower(): one.comment for one in self._observe.aliases(fw.DATACENTER)}
        return self._observe.ipset_comments(fw.DATACENTER) if kind == "ipset" else self._observe.group_comments()

    @contextlib.contextmanager
    def _gate(self, scope: fw.Scope) -> Iterator[None]:
        if scope.vmid:
            with self._gates.vmid(scope.vmid):
                yield
        else:
            with self._shared:
                yield
