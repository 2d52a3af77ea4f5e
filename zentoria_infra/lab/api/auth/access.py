"""Who is calling: passwords, tickets, CSRF tokens, API tokens; and the file of users and rights."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import secrets
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from zentoria_infra.lab.api import files
from zentoria_infra.lab.api.auth import usercfg
from zentoria_infra.lab.api.auth.rights import ROOT, Rights
from zentoria_infra.lab.api.auth.usercfg import Token, User, UserConfig
from zentoria_infra.lab.api.faults import unauthorized
from zentoria_infra.lab.api.locks import Locks
from zentoria_infra.lab.layout import LabLayout

TICKET_LIFE = 2 * 3600
"""Seconds that a ticket is valid (PVE::AccessControl)."""
_CSRF_LIFE = 24 * 3600
_CLOCK_SKEW = 300
_SCRYPT = (1 << 14, 8, 1)
_BAD = "Authentication failed!"


def hash_password(password: str) -> str:
    """A salted scrypt hash, to be kept in a file."""
    salt = secrets.token_bytes(16)
    n, r, p = _SCRYPT
    key = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p)
    parts = [str(n), str(r), str(p), base64.b64encode(salt).decode(), base64.b64encode(key).decode()]
    return "$scrypt$" + "$".join(parts)


def password_matches(password: str, stored: str) -> bool:
    """Whether a password has this hash."""
    kind, *fields = stored.split("$")[1:] or [""]
    if kind != "scrypt" or len(fields) != 5:
        return False
    n, r, p = (int(field) for field in fields[:3])
    key = hashlib.scrypt(password.encode(), salt=base64.b64decode(fields[3]), n=n, r=r, p=p)
    return hmac.compare_digest(key, base64.b64decode(fields[4]))


def _token_hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


class Access:
    """Users, their secrets and their rights, in ``user.cfg`` and the folder ``priv`` (mode 0700)."""

    def __init__(self, folder: Path, major: int, locks: Locks) -> None:
        self._path = folder / "user.cfg"
        self._priv = folder / "priv"
        self._major = major
        self._locks = locks
        self._guard = threading.Lock()
        self._config = files.Parsed(self._path, usercfg.parse)
        self._passwords = files.Parsed(self._priv / "shadow.cfg", usercfg.parse_secrets)
        self._tokens = files.Parsed(self._priv / "token.cfg", usercfg.parse_secrets)
        self._key = self._load_key()
        self._rights: tuple[UserConfig, Rights] | None = None

    def _load_key(self) -> bytes:
        self._priv.mkdir(parents=True, exist_ok=True)
        self._priv.chmod(0o700)
        path = self._priv / "authkey.key"
        if not path.exists():
            files.write_atomic(path, secrets.token_hex(32), mode=0o600)
        return bytes.fromhex(path.read_text())

    @property
    def config(self) -> UserConfig:
        """What ``user.cfg`` says now; read-only."""
        return self._config.get()

    @property
    def rights(self) -> Rights:
        """The rights of this moment."""
        config = self.config
        with self._guard:
            if self._rights is None or self._rights[0] is not config:
                self._rights = (config, Rights(config, self._major))
            return self._rights[1]

    @contextlib.contextmanager
    def change(self) -> Iterator[UserConfig]:
        """Change ``user.cfg``: yields a copy, writes it back when nothing was raised."""
        with self._locks.file("user.cfg"):
            config = self._config.fresh()
            yield config
            files.write_atomic(self._path, usercfg.render(config))

    def set_password(self, userid: str, password: str) -> None:
        """Set a user's password."""
        with self._locks.file("shadow.cfg"):
            entries = self._passwords.fresh()
            entries[userid] = hash_password(password)
            files.write_atomic(self._priv / "shadow.cfg", usercfg.render_secrets(entries), mode=0o600)

    def set_token(self, full_id: str, value: str) -> None:
        """Set the secret of a token ``user@realm!id``; only its hash is kept."""
        with self._locks.file("token.cfg"):
            entries = self._tokens.fresh()
            entries[full_id] = _token_hash(value)
            files.write_atomic(self._priv / "token.cfg", usercfg.render_secrets(entries), mode=0o600)

    def forget(self, userid: str) -> None:
        """Drop the secrets of a user (and of its tokens) or of one token ``user@realm!id``."""
        for name, store in (("shadow.cfg", self._passwords), ("token.cfg", self._tokens)):
            with self._locks.file(name):
                old = store.fresh()
                kept = {key: secret for key, secret in old.items() if userid not in (key, key.partition("!")[0])}
                if kept != old:
                    files.write_atomic(self._priv / name, usercfg.render_secrets(kept), mode=0o600)

    def _usable(self, userid: str) -> bool:
        user = self.config.users.get(userid)
        return user is not None and user.enable and not (user.expire and user.expire < time.time())

    def password_ok(self, userid: str, password: str) -> bool:
        """Whether user and password belong together. Takes as long for a user that does not exist."""
        stored = self._passwords.get().get(userid) or "$scrypt$16384$8$1$AAAA$AAAA"
        return password_matches(password, stored) and self._usable(userid)

    def _sign(self, text: str) -> str:
        return base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha512).digest()).decode()

    def make_ticket(self, userid: str) -> str:
        """A ticket for a user."""
        plain = f"PVE:{userid}:{int(time.time()):08X}"
        return f"{plain}::{self._sign(plain)}"

    def make_csrf(self, userid: str) -> str:
        """The token that writes need beside a ticket."""
        stamp = f"{int(time.time()):08X}"
        return f"{stamp}:{self._sign(f'CSRF:{stamp}:{userid}')[:43]}"

    def ticket_user(self, ticket: str) -> str | None:
        """The user of a valid ticket."""
        plain, _, signature = ticket.partition("::")
        fields = plain.split(":")
        if len(fields) != 3 or not hmac.compare_digest(signature.encode(), self._sign(plain).encode()):
            return None
        age = time.time() - int(fields[2], 16)
        return fields[1] if -_CLOCK_SKEW < age < TICKET_LIFE and self._usable(fields[1]) else None

    def csrf_ok(self, token: str, userid: str) -> bool:
        """Whether a CSRF token belongs to a user."""
        stamp, _, signature = token.partition(":")
        expected = self._sign(f"CSRF:{stamp}:{userid}")[:43]
        if len(stamp) != 8 or not hmac.compare_digest(signature.encode(), expected.encode()):
            return False
        return -_CLOCK_SKEW < time.time() - int(stamp, 16) < _CSRF_LIFE

    def _token_ok(self, full_id: str, value: str) -> bool:
        userid, _, tokenid = full_id.partition("!")
        user = self.config.users.get(userid)
        token = user.tokens.get(tokenid) if user else None
        stored = self._tokens.get().get(full_id, "")
        if not hmac.compare_digest(stored, _token_hash(value)) or token is None or not self._usable(userid):
            return False
        return not (token.expire and token.expire < time.time())

    def authenticate(self, method: str, authorization: str, cookie: str, csrf: str) -> str:
        """Who sends a request: ``user@realm`` or ``user@realm!token``. Raises a 401 Fault.

        ``authorization``, ``cookie`` (PVEAuthCookie) and ``csrf`` (CSRFPreventionToken) are header values, else empty.
        """
        if authorization.startswith("PVEAPIToken"):
            full_id, _, value = authorization.removeprefix("PVEAPIToken").lstrip("= ").partition("=")
            if self._token_ok(full_id, value):
                return full_id
            raise unauthorized(_BAD)
        if not cookie:
            raise unauthorized("No ticket")
        userid = self.ticket_user(cookie)
        if userid is None:
            raise unauthorized(_BAD)
        if method != "GET" and not self.csrf_ok(csrf, userid):
            raise unauthorized("Permission denied - invalid csrf token")
        return userid


def bootstrap(layout: LabLayout, *, root_password: str, token: str, secret: str | None = None) -> str:
    """Set root@pam's password and its token ``root@pam!<token>`` (all rights of root, no privilege separation).

    Safe to repeat. ``secret`` is the token's value, an UUID; one is made up when it is None. Gives back the value;
    the caller keeps it (0600), since only its hash is stored.
    """
    access = Access(layout.pve, 8, Locks())
    value = secret or str(uuid.uuid4())
    full_id = f"{ROOT}!{token}"
    if not access.password_ok(ROOT, root_password):
        access.set_password(ROOT, root_password)
    known = access.config.users[ROOT].tokens.get(token)
    if known is None or known.privsep:
        with access.change() as config:
            config.users.setdefault(ROOT, User()).tokens[token] = Token(privsep=False, comment="made with the lab")
    access.set_token(full_id, value)
    return value
