"""What ``zentoria bootstrap`` keeps on this machine: the token's secret, an SSH key, and what it has made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from zentoria_infra.errors import RefusedError
from zentoria_infra.inventory.model import Site
from zentoria_infra.materials import private_file
from zentoria_infra.proxmox.access import Grant


@dataclass(frozen=True)
class Action:
    """One thing to be done.

    Args:
        kind: ``pool``, ``role``, ``user``, ``token``, ``separation`` (of a token's rights) or ``grant``; of what is on
            this machine and by SSH, ``key``, ``node`` and ``nat``.
        verb: ``make``, ``change``, ``give``, ``remove`` or ``take``.
        name: of the object; of a grant its path.
        says: in words.
        privileges: of a role.
        grant: of a grant.
    """

    kind: str
    verb: str
    name: str
    says: str
    privileges: frozenset[str] = frozenset()
    grant: Grant | None = None


class SiteFiles:
    """What bootstrap keeps of a site on this machine: the token's secret, the SSH key, and what it made.

    Args:
        site: the site.
    """

    def __init__(self, site: Site) -> None:
        self.folder = site.secrets_path.parent
        self.token = site.proxmox.token_secret_file or self.folder / "token"
        """The token's secret, 0600."""
        self.key = site.proxmox.ssh.key_file or self.folder / "ssh_key"
        """The private half of the restricted SSH key, 0600."""
        self.record = self.folder / "bootstrap.json"

    @property
    def has_token(self) -> bool:
        """Whether the token's secret is here."""
        return self.token.is_file()

    def keep_token(self, secret: str) -> None:
        """Write the token's secret."""
        with private_file.locked(self.folder):
            if self.token.parent != self.folder:
                self.token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private_file.write(self.token, f"{secret}\n".encode())

    def made(self) -> tuple[Action, ...]:
        """What was made by runs from here and not removed since.

        Raises:
            RefusedError: the record cannot be read.
        """
        return self._read()[0]

    def has_begun(self, token: str) -> bool:
        """Whether making a token was begun and not ended: it may be there, and its secret was never told.

        Raises:
            RefusedError: the record cannot be read.
        """
        return self._read()[1] == token

    def begin_token(self, token: str) -> None:
        """Note that a token is about to be made."""
        self._write(self.made(), token)

    def _read(self) -> tuple[tuple[Action, ...], str]:
        content = private_file.read(self.record) if self.record.exists() else None
        if content is None:
            return (), ""
        try:
            raw = json.loads(content)
            return tuple(_from_json(one) for one in raw["made"]), str(raw.get("begun", ""))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError(
                "read what bootstrap made",
                on=str(self.record),
                got=f"it is damaged ({error})",
                todo="remove by hand what is named Zentoria under Datacenter > Permissions, then that file",
            ) from None

    def _write(self, made: Sequence[Action], begun: str) -> None:
        with private_file.locked(self.folder):
            if made or begun:
                record = {"made": [_to_json(one) for one in made], **({"begun": begun} if begun else {})}
                private_file.write(self.record, json.dumps(record, indent=1).encode())
            else:
                self.record.unlink(missing_ok=True)

    def remember(self, step: Action) -> None:
        """Note a step that was carried out."""
        before, begun = self._read()
        key = (step.kind, step.name, step.grant)
        kept = [one for one in before if (one.kind, one.name, one.grant) != key or step.verb == "change"]
        if step.verb in ("make", "give"):
            kept.append(step)
        self._write(kept, "" if step.kind == "token" else begun)

    def forget_token(self) -> None:
        """Remove the token's secret."""
        self.token.unlink(missing_ok=True)


def _to_json(step: Action) -> dict[str, object]:
    grant = step.grant
    values = [grant.path, grant.role, grant.kind, grant.who, grant.propagate] if grant else None
    return {"kind": step.kind, "verb": step.verb, "name": step.name, "says": step.says, "grant": values}


def _from_json(raw: dict[str, object]) -> Action:
    values = raw["grant"]
    grant = None
    if isinstance(values, list):
        path, role, kind, who, propagate = values
        grant = Grant(str(path), str(role), str(kind), str(who), bool(propagate))
    return Action(str(raw["kind"]), str(raw["verb"]), str(raw["name"]), str(raw["says"]), grant=grant)
