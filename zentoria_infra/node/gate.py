"""``zentoria-gate``: the forced command of Zentoria's SSH key on a node. One command in, at most one program run.

``command="/usr/bin/python3 -IS /usr/local/sbin/zentoria-gate /etc/zentoria/SITE.json"`` stands before the key in root's
authorized_keys. What the client asks for is read from ``SSH_ORIGINAL_COMMAND``, and is one of

- ``pct exec VMID -- PROGRAM ...``, ``pct status VMID``, ``pct config VMID``, ``pct set VMID --features FLAGS``: for
  VMIDs in the settings, and of those only for containers that carry the site's mark in their notes at that moment;
  ``exec`` and ``set`` only where root of the container is not root of the node: it is unprivileged (or the settings
  name it), and has no bind mounts, devices, hook script or raw ``lxc.`` lines; ``set`` only flags that the settings
  give that very VMID;
- ``conntrack -D`` for connections of which one end is in the site's networks;
- ``zentoria-state --site ID VERB ...`` with the site's own id;
- ``zentoria-firewall pending``: which of Proxmox's firewall rules are in force, by name.

Whoever has this key may have the API token too, with which our containers can be removed and made anew. So what was
looked at holds until the program is inside: ``pct set`` gets the digest of the configuration that was read, and
before ``pct exec`` the container's own lock is taken, shared, without which Proxmox changes, removes and starts none.

Everything else is refused with exit code 126 and words on standard error. There is no shell: the program is started
with words that were each looked at, and an environment of its own. Refusals and what was run go to syslog, without the
words of a program that runs inside a container.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import stat
import sys
import time

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
    "zentoria-firewall": ["/usr/bin/python3", "-IS", "/usr/local/sbin/zentoria-firewall"],
}
"""What is run for each first word, unless the settings say otherwise (tests do)."""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
LONGEST = 1 << 20
"""Bytes of a command. Linux takes no longer words than 128 KiB, and about 2 MiB of all."""

LOCK_SECONDS = 30.0
"""How long a container's lock is waited for: a start or a snapshot has it as long as it takes."""
INSIDE_SECONDS = 180.0
"""How long ``pct exec`` may take until it is inside: as long as our client waits (proxmox/shell/starting.py). It is one
second of an idle node."""

_VMID = re.compile(r"[1-9][0-9]{2,8}")
_FLAG = re.compile(r"([a-z_]{1,20})=[01]")
_PROTOCOL = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_SECTION = re.compile(r"\[(pve:pending|[A-Za-z][A-Za-z0-9_-]+)\]\s*", re.ASCII)
_OPTION = re.compile(r"([a-z][a-z_]*)(\d*):\s*(.*\S)\s*", re.ASCII)
"""Proxmox reads bytes: what is a blank or a digit in Unicode alone is none there."""
_HARMLESS = frozenset(
    {
        "arch", "cmode", "console", "cores", "cpulimit", "cpuunits", "debug", "entrypoint", "features", "hostname",
        "lock", "memory", "nameserver", "net", "onboot", "ostype", "parent", "protection", "searchdomain", "startup",
        "swap", "tags", "template", "timezone", "tty", "unprivileged", "unused",
    }
)  # fmt: skip
"""Options that give root of an unprivileged container nothing of the node, numbers left out (PVE::LXC::Config)."""
_NUMBERED = frozenset({"mp", "net", "unused"})
"""Options that have a number. Any other with one is none of Proxmox's."""
_VOLUME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*:[^\s:]+")
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
        # A list is of an older `zentoria bootstrap`, whose gate another site has since replaced: it grants nothing.
        features = {} if isinstance(values.get("features"), list) else _typed(values, "features", dict)
        self.features = {int(vmid): frozenset(map(str, names)) for vmid, names in features.items()}
        """What each container may be given; nothing, when it is not in here."""
        self.privileged = frozenset(int(one) for one in values.get("privileged", []))
        """Containers that the inventory itself makes privileged."""
        self.guests = str(values.get("guests", "/etc/pve/lxc"))
        """Folder with the containers' configuration files."""
        self.locks = str(values.get("locks", "/run/lock/lxc"))
        """Folder with the containers' locks (PVE::LXC::Config::config_file_lock)."""
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
    if name == "zentoria-firewall":
        if rest != ["pending"]:
            raise RefusedError("zentoria-firewall is for what is pending")
        return [*settings.programs[name], *rest]
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
        _check_features(vmid, rest[1], settings)
    content = _check_container(vmid, settings)
    if verb in ("exec", "set"):
        _check_confined(int(vmid), content.decode("utf-8", "surrogateescape"), settings)
    if verb == "set":  # Proxmox refuses it when the configuration is another one by then
        import hashlib

        rest += ["--digest", hashlib.sha1(content).hexdigest()]  # noqa: S324 - it is Proxmox's digest, not ours
    return [verb, vmid, *rest]


def _check_features(vmid: str, text: str, settings: Settings) -> None:
    for flag in text.split(","):
        found = _FLAG.fullmatch(flag)
        if not found or found[1] not in settings.features.get(int(vmid), ()):
            raise RefusedError(
                f"the feature {_shown(flag)} is none of container {vmid} (`zentoria bootstrap` writes the list)"
            )


def _check_container(vmid: str, settings: Settings) -> bytes:
    """It is one of the site's VMIDs, and at this moment a container with the site's mark; gives its configuration."""
    if int(vmid) not in settings.vmids:
        raise RefusedError(
            f"{vmid} is none of the VMIDs of site {settings.site} (`zentoria bootstrap` writes the list)"
        )
    path = os.path.join(settings.guests, f"{vmid}.conf")
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise RefusedError(f"there is no container {vmid} on this node ({error.strerror})") from None
    found = _MARK.search(description(content.decode("utf-8", "surrogateescape")))
    if found is None or found[1] != f"{settings.site}/{vmid}":
        raise RefusedError(
            f"container {vmid} is not Zentoria's: its notes have no 'zentoria-id: {settings.site}/{vmid}'"
        )
    return content


def _check_confined(vmid: int, text: str, settings: Settings) -> None:
    """Root of the container is nobody on the node. What is not known to be harmless is refused.

    Only the part before the first snapshot holds. It is read as Proxmox does (PVE::LXC::Config::parse_pct_config).
    """
    unprivileged = []
    for line in text.split("\n"):
        if _SECTION.fullmatch(line):
            break
        if not line.strip() or line.startswith(("#", "description:")):
            continue
        found = _OPTION.fullmatch(line)
        name = found[1] if found else ""
        is_volume = name in ("rootfs", "mp")
        if not found or not (is_volume or name in _HARMLESS) or bool(found[2]) != (name in _NUMBERED):
            raise RefusedError(f"container {vmid} may have a hold on the node: {_shown(line)}")
        if is_volume:
            parts = [part.partition("=") for part in found[3].split(",")]
            sources = [value if mark else key for key, mark, value in parts if not mark or key == "volume"]
            if len(sources) != 1 or not _VOLUME.fullmatch(sources[0]):
                raise RefusedError(f"container {vmid} has something of the node mounted: {_shown(line)}")
        elif name == "unprivileged":
            unprivileged.append(found[3])
    if set(unprivileged) != {"1"} and vmid not in settings.privileged:
        raise RefusedError(
            f"container {vmid} is privileged: its root would be root of this node (if the inventory says "
            "`unprivileged: false`, `zentoria bootstrap` lets it through)"
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


def hold(vmid: str, settings: Settings) -> int:
    """Keep the container as it is until the file that is given back is closed: Proxmox's own lock, shared.

    Raises:
        RefusedError: something else has the lock for long.
    """
    path = os.path.join(settings.locks, f"pve-config-{vmid}.lock")
    os.makedirs(settings.locks, exist_ok=True)
    guard = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(guard, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(guard)
                raise RefusedError(f"container {vmid} is being changed: {path} is not free") from None
            time.sleep(0.05)
        else:
            return guard


def watch(guard: int, seconds: float) -> None:
    """Have the lock given back as soon as this process, or one that it starts, is inside a container.

    A process of its own sees to it, since this one becomes ``pct``, and that ``lxc-attach``. It ends this one when it
    is not inside in time: what was looked at would hold no longer.
    """
    pid, myself = os.getpid(), os.pidfd_open(os.getpid())
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        os.close(myself)
        os.close(guard)
        return
    try:
        if os.fork() == 0:  # nobody's child: pct knows of none
            for stream in range(3):
                os.close(stream)  # sshd waits for whoever has them open
            _watch(pid, myself, seconds)
    finally:
        os._exit(0)


def _watch(pid: int, handle: int, seconds: float) -> None:
    import select

    outside = os.readlink("/proc/self/ns/mnt")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if _is_inside(pid, outside) or select.select([handle], [], [], 0.03)[0]:
            return
    signal.pidfd_send_signal(handle, signal.SIGKILL)


def _is_inside(pid: int, outside: str) -> bool:
    """Whether a process, or a child of it, has other mounts than the node."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as stream:
            pids = [str(pid), *stream.read().split()]
        return any(os.readlink(f"/proc/{one}/ns/mnt") != outside for one in pids)
    except OSError:
        return False


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
        settings = load(path)
        argv = decide(line, settings)
        if shlex.split(line)[:2] == ["pct", "exec"]:
            guard = hold(shlex.split(line)[2], settings)
            argv = decide(line, settings)  # again: from here on it stays so
            watch(guard, INSIDE_SECONDS)
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
