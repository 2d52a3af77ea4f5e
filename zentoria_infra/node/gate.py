"""``zentoria-gate``: the forced command of Zentoria's SSH key on a node. One command in, at most one program run.

``command="/usr/bin/python3 -IS /usr/local/sbin/zentoria-gate /etc/zentoria/SITE.json"`` stands before the key in root's
authorized_keys. What the client asks for is read from ``SSH_ORIGINAL_COMMAND``, and is one of

- ``pct exec VMID -- PROGRAM ...``, ``pct status VMID``, ``pct config VMID``, ``pct set VMID --features FLAGS``: for
  VMIDs in the settings, and of those only for containers that carry the site's mark in their notes at that moment;
- ``conntrack -D`` for connections of which one end is in the site's networks;
- ``zentoria-state --site ID VERB ...`` with the site's own id.

Everything else is refused with exit code 126 and words on standard error. There is no shell: the program is started
with words that were each looked at, and an environment of its own. Refusals and what was run go to syslog, without the
words of a program that runs inside a container.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is not imported for real: it takes longer than all the rest
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

REFUSED = 126
"""Exit code of a refusal: what a shell says of a program that may not be run."""
PROGRAMS = {
    "pct": ["/usr/sbin/pct"],
    "conntrack": ["/usr/sbin/conntrack"],
    "zentoria-state": ["/usr/bin/python3", "-IS", "/usr/local/sbin/zentoria-state"],
}
"""What is run for each first word, unless the settings say otherwise (tests do)."""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
LONGEST = 1 << 20
"""Bytes of a command. Linux takes no longer words than 128 KiB, and about 2 MiB of all."""

_VMID = re.compile(r"[1-9][0-9]{2,8}")
_FLAG = re.compile(r"([a-z_]{1,20})=[01]")
_PROTOCOL = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,127}")
_MARK = re.compile(r"^zentoria-id: ([a-z0-9-]+/[0-9]+)\s*$", re.MULTILINE)
"""As in plan/ownership.py, which makes it."""
_STATE_VERBS = frozenset({"begin", "renew", "note", "end", "show", "break", "history", "get", "put"})
_STATE_OPTIONS = frozenset({"--lease", "--instead", "--get", "--id", "--count"})


class RefusedError(Exception):
    """The command may not be run; the text says why."""


class Settings:
    """What one site's key may do. Raises ValueError for what is no settings file."""

    def __init__(self, text: str) -> None:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        self.site = _typed(values, "site", str)
        self.vmids = frozenset(int(one) for one in _typed(values, "vmids", list))
        self.networks = [str(one) for one in _typed(values, "networks", list)]
        self.features = frozenset(str(one) for one in _typed(values, "features", list))
        self.guests = str(values.get("guests", "/etc/pve/lxc"))
        """Folder with the containers' configuration files."""
        programs = values.get("programs", {})
        self.programs = {name: [str(word) for word in programs.get(name, words)] for name, words in PROGRAMS.items()}


def _typed(values: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(values.get(name), kind):
        raise ValueError(f"{name!r} is missing, or no {kind.__name__}")
    return values[name]


def load(path: str) -> Settings:
    """Read a settings file.

    Raises:
        RefusedError: it cannot be read, others may write it, or it is none.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            found = os.fstat(stream.fileno())
            if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
                raise RefusedError(f"{path} may be changed by others")
            return Settings(stream.read())
    except OSError as error:
        raise RefusedError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise RefusedError(f"{path} is no settings file: {error}") from None


def decide(line: str, settings: Settings) -> list[str]:
    """The program to be run, with all its words.

    Args:
        line: what the client sent; bytes that are not UTF-8 as surrogates.
        settings: of the site.

    Raises:
        RefusedError: it may not be run.
    """
    if "\0" in line or len(line) > LONGEST:
        raise RefusedError("no command that could be run")
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise RefusedError(f"the command cannot be read: {error}") from None
    if not words:
        raise RefusedError("there is no shell here")
    name, rest = words[0], words[1:]
    if name == "pct":
        return [*settings.programs[name], *_pct(rest, settings)]
    if name == "conntrack":
        return [*settings.programs[name], *_conntrack(rest, settings)]
    if name == "zentoria-state":
        return [*settings.programs[name], *_state(rest, settings)]
    raise RefusedError(f"not {_shown(name)}")


def _pct(words: Sequence[str], settings: Settings) -> list[str]:
    if len(words) < 2:
        raise RefusedError("pct needs a command and a VMID")
    verb, vmid, rest = words[0], words[1], list(words[2:])
    if verb == "exec":
        fits = len(rest) >= 2 and rest[0] == "--"
    elif verb in ("status", "config"):
        fits = not rest
    elif verb == "set":
        fits = len(rest) == 2 and rest[0] == "--features"
    else:
        raise RefusedError(f"not pct {_shown(verb)}")
    if not _VMID.fullmatch(vmid):
        raise RefusedError(f"{_shown(vmid)} is no VMID")
    if not fits:
        raise RefusedError(f"pct {verb} is not allowed with these arguments")
    if verb == "set":
        _check_features(rest[1], settings)
    _check_container(vmid, settings)
    return [verb, vmid, *rest]


def _check_features(text: str, settings: Settings) -> None:
    for flag in text.split(","):
        found = _FLAG.fullmatch(flag)
        if not found or found[1] not in settings.features:
            raise RefusedError(f"the feature {_shown(flag)} is none of this site")


def _check_container(vmid: str, settings: Settings) -> None:
    """It is one of the site's VMIDs, and at this moment a container with the site's mark."""
    if int(vmid) not in settings.vmids:
        raise RefusedError(
            f"{vmid} is none of the VMIDs of site {settings.site} (`zentoria bootstrap` writes the list)"
        )
    path = os.path.join(settings.guests, f"{vmid}.conf")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except OSError as error:
        raise RefusedError(f"there is no container {vmid} on this node ({error.strerror})") from None
    found = _MARK.search(description(text))
    if found is None or found[1] != f"{settings.site}/{vmid}":
        raise RefusedError(
            f"container {vmid} is not Zentoria's: its notes have no 'zentoria-id: {settings.site}/{vmid}'"
        )


def description(text: str) -> str:
    """The notes of a container's configuration file: its comments before the first snapshot, decoded.

    Proxmox writes each line behind ``#`` with ``%XX`` for what is special (PVE::LXC::Config, PVE::Tools::encode_text).
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("["):
            break
        if line.startswith("#"):
            lines.append(_decoded(line[1:]))
        elif line.startswith("description:"):
            lines.append(_decoded(line.partition(":")[2].strip()))
    return "\n".join(lines)


def _decoded(text: str) -> str:
    raw = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogateescape")
    )
    return raw.decode("utf-8", "replace")


def _conntrack(words: Sequence[str], settings: Settings) -> list[str]:
    """``-D [-s ADDRESS] [-d ADDRESS] [-p PROTOCOL] [--dport PORT]`` in this order."""
    if not words or words[0] != "-D":
        raise RefusedError("conntrack is for cutting connections: -D comes first")
    left = list(words[1:])
    ends: list[str] = []
    found = ["-D"]
    for option in ("-s", "-d", "-p", "--dport"):
        if left[:1] != [option]:
            continue
        if len(left) < 2:
            raise RefusedError(f"{option} is without a value")
        value = left[1]
        if option in ("-s", "-d"):
            ends.append(value)
        elif not (_PROTOCOL if option == "-p" else _PORT).fullmatch(value):
            raise RefusedError(f"{_shown(value)} does not fit {option}")
        found += [option, value]
        left = left[2:]
    if left:
        raise RefusedError(f"not {_shown(left[0])} with conntrack")
    if "--dport" in found and "-p" not in found:
        raise RefusedError("a port is nothing without its protocol")
    _check_ends(ends, settings)
    return found


def _check_ends(ends: Sequence[str], settings: Settings) -> None:
    import ipaddress  # it takes a while, and commands inside containers do without

    try:
        addresses = [ipaddress.ip_address(end.replace("%", "no zones")) for end in ends]
    except ValueError:
        raise RefusedError("that is no address") from None
    networks = [ipaddress.ip_network(one, strict=False) for one in settings.networks]
    if not any(address in network for address in addresses for network in networks):
        raise RefusedError(f"neither end of these connections is in the networks of site {settings.site}")


def _state(words: Sequence[str], settings: Settings) -> list[str]:
    if len(words) < 3 or words[0] != "--site" or words[1] != settings.site or words[2] not in _STATE_VERBS:
        raise RefusedError(f"zentoria-state is for --site {settings.site} alone, and then what it shall do")
    for word in words[3:]:
        if word not in _STATE_OPTIONS and not _WORD.fullmatch(word):
            raise RefusedError(f"not {_shown(word)} with zentoria-state")
    return list(words)


def _shown(word: str) -> str:
    return ascii(word[:60])


def _log(settings: str, text: str, *, bad: bool) -> None:
    import syslog

    syslog.openlog("zentoria-gate", syslog.LOG_PID, syslog.LOG_AUTH)
    client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    syslog.syslog(syslog.LOG_WARNING if bad else syslog.LOG_INFO, ascii(f"{settings} from {client}: {text}"))


def _title(line: str) -> str:
    """What is run, for the log: of a program inside a container only where."""
    words = shlex.split(line)
    return " ".join(words[:3] if words[0] == "pct" else words)


def _run(argv: Sequence[str]) -> NoReturn:
    environment = dict(ENVIRONMENT)
    if argv[1:2] != ["exec"] and "SSH_CONNECTION" in os.environ:  # Proxmox VE 8 would hand it on into the container
        environment["SSH_CONNECTION"] = os.environ["SSH_CONNECTION"]
    os.chdir("/")
    encoded = [word.encode("utf-8", "surrogateescape") for word in argv]
    os.execve(encoded[0], encoded, environment)  # noqa: S606 - no shell is what we want
    raise AssertionError("unreachable")


def main(arguments: Sequence[str], run: Callable[[Sequence[str]], NoReturn] = _run) -> int:
    """Run what ``SSH_ORIGINAL_COMMAND`` asks for, or say why not; gives back the exit code."""
    path = arguments[0] if len(arguments) == 1 else ""
    line = os.environb.get(b"SSH_ORIGINAL_COMMAND", b"").decode("utf-8", "surrogateescape")
    try:
        argv = decide(line, load(path))
        _log(path, f"runs {_title(line)}", bad=False)
        run(argv)
    except RefusedError as error:
        said = str(error)
    except OSError as error:
        said = f"{error.filename or 'it'} cannot be run: {error.strerror}"
    _log(path, f"refused: {said}", bad=True)
    print(f"zentoria-gate: only Zentoria's own commands may be run here: {said}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
