"""Where the errors of proxmoxer, requests and urllib3 become ours.

The wording matched here is that of Proxmox VE 8.4 and 9: both answer a missing object, a busy lock and a lost
quorum with the same status 500, so that the text is the only difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import requests
import urllib3
from proxmoxer.core import ResourceException

from zentoria_infra.errors import ApiError, AuthError, PermissionDeniedError, UnreachableError, ZentoriaError
from zentoria_infra.proxmox.secret import scrub

_LOCK_BUSY = re.compile(r"can't lock file|can't acquire lock|got lock (?:request )?timeout", re.IGNORECASE)
_LOCK_HELD = re.compile(r"(?:CT|VM) is locked \(([^)]+)\)")
_NO_QUORUM = re.compile(r"no quorum|cluster not ready", re.IGNORECASE)
_DIGEST = re.compile(r"detected modified configuration", re.IGNORECASE)
_EXISTS = re.compile(r"(?:CT|VM) \d+ already exists|\bpool '[^']+' already exists", re.IGNORECASE)
_MISSING = re.compile(
    r"Configuration file '[^']*' does not exist|unable to find configuration file|pool '[^']*' does not exist"
    r"|no such (?:CT|VM)",
    re.IGNORECASE,
)
_RUNNING = re.compile(r"CT \d+ already running", re.IGNORECASE)
_STOPPED = re.compile(r"(?:CT|VM) \d+ (?:is )?not running", re.IGNORECASE)
_SIZED = re.compile(r"disk is already at specified size", re.IGNORECASE)
_UNKNOWN_NODE = re.compile(r"hostname lookup '([^']+)' failed", re.IGNORECASE)
_POOL = re.compile(r"^HTTPS?ConnectionPool\(.*?\): |^HTTPS?Connection\(host='[^']*', port=\d+\): ")
"""What urllib3 puts in front of why there is no connection."""
_PINS = re.compile(r'Fingerprints did not match\. Expected "([^"]*)", got "([^"]*)"')

_NODE_DOWN = frozenset({595, 596, 597, 598, 599})
"""Codes of AnyEvent::HTTP, with which one node's proxy says that it could not reach another node."""
_GATEWAY = frozenset({502, 503, 504})


class LockBusyError(ApiError):
    """Another call holds the lock file; Proxmox waited 10 s and did nothing. May be tried again."""


class HeldLockError(ApiError):
    """The container carries a lock (backup, snapshot, create...); trying again does not help by itself."""


class ModifiedError(ApiError):
    """The digest we sent is old: somebody else changed the configuration in between."""


class AlreadyExistsError(ApiError):
    """The VMID or pool is taken."""


class MissingError(ApiError):
    """The object is not there (Proxmox says 500 to that, not 404)."""


class AlreadyRunningError(ApiError):
    """Start of a container that runs."""


class NotRunningError(ApiError):
    """Stop, shutdown or reboot of a container that does not run."""


class AlreadySizedError(ApiError):
    """Resize of a volume to the size that it has."""


class TransientError(UnreachableError):
    """The node's proxy failed (502, 503, 504): the call may or may not have been carried out."""


class LostAnswerError(UnreachableError):
    """The call was sent and no answer came: it may or may not have been carried out."""


class AnswerTimeoutError(LostAnswerError):
    """No answer within the time limit. Not sent again by itself: that was the time to wait."""


class NotSentError(UnreachableError):
    """No connection came about, so that the call was certainly not carried out."""


@dataclass(frozen=True)
class Call:
    """What was asked, without parameters, for error texts.

    Attributes:
        verb: HTTP method.
        path: path below ``/api2/json``.
        where: host and port.
        secrets: strings that must not show in an error, whoever quoted them.
        purpose: what it is for, in the user's words; may be empty.
        who: user, or user and token name, that the call is made as.
    """

    verb: str
    path: str
    where: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    purpose: str = ""
    who: str = ""

    @property
    def tried(self) -> str:
        """The purpose with verb and path."""
        call = f"{self.verb} {self.path}"
        return f"{self.purpose} ({call})" if self.purpose else call

    def clean(self, text: str) -> str:
        """Hide the secrets and flatten whitespace at the ends."""
        return scrub(text, self.secrets).strip()


def from_answer(error: ResourceException, call: Call) -> ZentoriaError:
    """Turn an answer of 400 or above into one of our errors."""
    status = int(error.status_code)
    text = call.clean(_message(error))
    errors = _fields(error.errors, call)
    tried, on = call.tried, call.where
    if status == 401:
        return AuthError(
            tried,
            on=on,
            got=(text or "401, no text") + (f" ({call.who})" if call.who else ""),
            todo="check user, token name and secret, that the token has not expired, and the two clocks",
        )
    if status == 403:
        return PermissionDeniedError(
            tried,
            on=on,
            got=text,
            status=status,
            errors=errors,
            todo="give the token that right on that path (Datacenter > Permissions); with privilege separation "
            "user and token both need it. Proxmox says the same of an object that does not exist",
        )
    if status in _NODE_DOWN:
        kind = NotSentError if status == 595 else TransientError
        return kind(
            tried,
            on=on,
            got=f"{status} {text}".strip(),
            todo="the node that owns this object cannot be reached from the one that we asked: is it up?",
        )
    if status in _GATEWAY:
        return TransientError(
            tried, on=on, got=f"{status} {text}".strip(), todo="look at pveproxy and pvedaemon on the node"
        )
    got = "; ".join([text, *(f"{name}: {what}" for name, what in errors.items())]).strip("; ")
    kind_, todo = _kind(got)
    return kind_(tried, on=on, got=got or f"status {status}", todo=todo, status=status, errors=errors)


def _kind(text: str) -> tuple[type[ApiError], str]:
    if held := _LOCK_HELD.search(text):
        return HeldLockError, (
            f"wait for the {held.group(1)} to end; when nothing of that kind runs, `pct unlock` on the node"
        )
    if _NO_QUORUM.search(text):
        return ApiError, "the cluster has lost its quorum and is read-only: bring the other nodes back"
    if _LOCK_BUSY.search(text):
        return LockBusyError, "another operation on it is running: see the node's task list, then run again"
    if _DIGEST.search(text):
        return ModifiedError, "somebody else changed it: run again, so that the change is planned anew"
    if _RUNNING.search(text):
        return AlreadyRunningError, ""
    if _STOPPED.search(text):
        return NotRunningError, ""
    if _SIZED.search(text):
        return AlreadySizedError, ""
    if _EXISTS.search(text):
        return AlreadyExistsError, "look at what has that id, and choose another or remove it by hand"
    if _MISSING.search(text):
        return MissingError, ""
    if found := _UNKNOWN_NODE.search(text):
        return ApiError, f"there is no node {found.group(1)!r}: set the node's name in the site file"
    return ApiError, ""


def _message(error: ResourceException) -> str:
    """Proxmox's own text: :class:`~.connection.PveSession` puts the body's message into the reason."""
    return str(error.content or error.status_message or "")


def _fields(errors: object, call: Call) -> dict[str, str]:
    if not isinstance(errors, dict):
        return {}
    return {str(name): call.clean(str(what)) for name, what in errors.items()}


def is_lock_busy(text: str) -> bool:
    """Whether ``text``, the exit status of a task, says that a lock file was busy and nothing was done."""
    return _LOCK_BUSY.search(text) is not None and _LOCK_HELD.search(text) is None


def from_transport(error: requests.RequestException, call: Call, *, pin: str | None) -> UnreachableError:
    """Turn an error of requests (TLS, connect, timeouts, resets) into one of ours."""
    text = _POOL.sub("", call.clean(str(_root(error))))
    tried, on = call.tried, call.where
    if isinstance(error, requests.exceptions.SSLError):
        return _from_tls(text, call, pin)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return NotSentError(
            tried, on=on, got="no connection within the time limit", todo="is the node up, and is a firewall between?"
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return AnswerTimeoutError(
            tried,
            on=on,
            got="connected, but no answer within the time limit",
            todo="look at the node's load and task list, then run again",
        )
    if _never_connected(error):
        return NotSentError(
            tried,
            on=on,
            got=text,
            todo="check host and port in the site file, and that pveproxy runs on the node; a lab: `zentoria lab up`",
        )
    return LostAnswerError(tried, on=on, got=f"the connection broke: {text}", todo="run again")


def _from_tls(text: str, call: Call, pin: str | None) -> UnreachableError:
    if pins := _PINS.search(text):
        expected, seen = (colons(one) for one in pins.groups())
        return UnreachableError(
            call.tried,
            on=call.where,
            got=f"the certificate is not the pinned one: expected SHA-256 {expected}, saw {seen}",
            todo="compare with `pvenode cert info` on the node; only if they are the same, "
            "put the new fingerprint into the site file",
        )
    hint = "the pinned fingerprint" if pin else "the CA file, or pin the fingerprint,"
    return UnreachableError(
        call.tried,
        on=call.where,
        got=f"TLS failed: {text}",
        todo=f"set {hint} in the site file: /etc/pve/pve-root-ca.pem and `pvenode cert info` on the node have them",
    )


def colons(fingerprint: str) -> str:
    """``aabb..`` or ``AA:BB:..`` as ``AA:BB:..``."""
    digits = re.sub(r"[^0-9A-Fa-f]", "", fingerprint).upper()
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it wraps, from the outside in; requests and urllib3 nest through args and reason."""
    seen: list[BaseException] = []
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if one in seen:
            continue
        seen.append(one)
        inner = [getattr(one, "reason", None), *one.args]
        todo.extend(item for item in inner if isinstance(item, BaseException))
    return seen


def _root(error: BaseException) -> BaseException:
    return _chain(error)[-1]


def _never_connected(error: BaseException) -> bool:
    return any(isinstance(one, urllib3.exceptions.NewConnectionError) for one in _chain(error))
