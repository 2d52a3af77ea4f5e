"""Passwords in one JSON file outside the project, until Vault takes its place."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from zentoria_infra.guest.secrets import Generator
from zentoria_infra.materials import private_file
from zentoria_infra.materials.private_file import PrivateFileError

FORMAT = 1
_PATH = re.compile(r"zentoria(/[a-z0-9_-]+)+")


class SecretFile:
    """A :class:`~zentoria_infra.guest.secrets.SecretStore` in a file.

    ``{"format": 1, "secrets": {"zentoria/db/password": "..."}}``, sorted. Safe from several threads and processes:
    a secret is made under a lock, and is on the disk before anybody gets it.

    Args:
        path: the file; it and its folder are made at the first secret.
        outside: a folder that must not hold it: the project, which is in a repository.
    """

    def __init__(self, path: Path, *, outside: Path | None = None) -> None:
        if outside is not None and path.resolve().is_relative_to(outside.resolve()):
            raise PrivateFileError(
                "use the file of secrets",
                on=str(path),
                got=f"it is inside the project ({outside}), so it could be committed",
                todo="set `secrets_file` in the site's file to a place outside, or leave it out",
            )
        self._path = path
        self._mutex = threading.Lock()
        self._known: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"SecretFile({str(self._path)!r})"

    def get_or_create(self, path: str, generator: Generator) -> SecretStr:
        """The secret at ``path``; made with ``generator`` and written down when there is none.

        Raises:
            PrivateFileError: the file cannot be read or written, is damaged, or is not private. It is unchanged then.
            ValueError: ``path`` is no path of a secret.
        """
        if not _PATH.fullmatch(path):
            raise ValueError(f"not a path of a secret: {path!r}")
        with self._mutex:
            if self._known is None or path not in self._known:
                self._known = self._look(path, generator)
            return SecretStr(self._known[path])

    def find(self, path: str) -> SecretStr | None:
        """The secret at ``path``; None when there is none. Nothing is made.

        Raises:
            PrivateFileError: the file cannot be read, is damaged, or is not private.
            ValueError: ``path`` is no path of a secret.
        """
        if not _PATH.fullmatch(path):
            raise ValueError(f"not a path of a secret: {path!r}")
        with self._mutex:
            if self._known is None or path not in self._known:
                self._known = self._read()
            found = self._known.get(path)
            return None if found is None else SecretStr(found)

    def put(self, path: str, value: str) -> None:
        """Keep a secret that somebody supplied, in place of the one before.

        Raises:
            PrivateFileError: the file cannot be read or written, is damaged, or is not private. It is unchanged then.
            ValueError: ``path`` is no path of a secret, or there is no value.
        """
        if not _PATH.fullmatch(path) or not value:
            raise ValueError(f"not a path of a secret, or no secret: {path!r}")
        with self._mutex, private_file.locked(self._path.parent):
            found = {**self._read(), path: value}
            self._write(found)
            self._known = found

    def renew(self, path: str, generator: Generator, keep: str = "") -> None:
        """Make a secret anew, in one write.

        Args:
            path: of the secret.
            generator: makes the new one.
            keep: where the one before stays, for as long as what it signed is about; nowhere if empty.

        Raises:
            PrivateFileError: the file cannot be read or written, is damaged, or is not private. It is unchanged then.
            ValueError: one of the paths is none of a secret.
        """
        if not all(_PATH.fullmatch(one) for one in (path, keep or path)):
            raise ValueError(f"not a path of a secret: {path!r}, {keep!r}")
        with self._mutex, private_file.locked(self._path.parent):
            found = self._read()
            if keep and path in found:
                found = {**found, keep: found[path]}
            found = {**found, path: generator()}
            self._write(found)
            self._known = found

    def _look(self, path: str, generator: Generator) -> dict[str, str]:
        """Read the file again, for another process may have written it, and add what is missing."""
        with private_file.locked(self._path.parent):
            found = self._read()
            if path not in found:
                found[path] = generator()
                self._write(found)
            return found

    def _read(self) -> dict[str, str]:
        content = private_file.read(self._path)
        if content is None:
            return {}
        try:
            document: Any = json.loads(content)
        except ValueError:  # the decoder's message quotes nothing, but it is chained to what it read
            raise self._damaged("it is not JSON") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise self._damaged(f"it has not the format {FORMAT}")
        secrets = document.get("secrets")
        if not isinstance(secrets, dict) or not all(isinstance(one, str) and one for one in secrets.values()):
            raise self._damaged("its 'secrets' are not a mapping from paths to texts")
        return secrets

    def _write(self, secrets: dict[str, str]) -> None:
        text = json.dumps({"format": FORMAT, "secrets": secrets}, indent=1, sort_keys=True)
        private_file.write(self._path, f"{text}\n".encode())

    def _damaged(self, what: str) -> PrivateFileError:
        return PrivateFileError(
            "read the file of secrets",
            on=str(self._path),
            got=f"{what}; it was left as it is",
            todo="put a backup of it in its place. Without it, services keep the passwords that they have: "
            "moving the file away makes new ones for all at the next `up`",
        )
