"""``pct``, ``conntrack``, ``zentoria-state``, ``zentoria-firewall`` behind the lab's sshd: one command, no shell.

sshd runs this file as its forced command with ``python3 -I -S -E``: it starts in 10 ms because it imports
nothing but a few modules of the standard library, and nothing of ours. What ``pct`` says and how it ends is as
in PVE::CLI::pct and PVE::CLIHandler (Proxmox VE 8.4): every error ends with code 255.

``set``, ``config``, ``status``, ``list`` and the snapshots ask the lab's daemon over its control socket, as root@pam,
so that locks and wording are the API's (``pct_api``). ``exec``, ``push`` and ``pull`` work without the daemon.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is not imported for real: it takes longer than all the rest
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

VMID_MARK = "@VMID@"
"""Stands for the VMID in the setting ``attach``."""

USAGE = {
    "config": "pct config <vmid> [OPTIONS]",
    "delsnapshot": "pct delsnapshot <vmid> <snapname> [OPTIONS]",
    "exec": "pct exec <vmid> [<extra-args>]",
    "list": "pct list",
    "listsnapshot": "pct listsnapshot <vmid>",
    "pull": "pct pull <vmid> <path> <destination> [OPTIONS]",
    "push": "pct push <vmid> <file> <destination> [OPTIONS]",
    "rollback": "pct rollback <vmid> <snapname> [OPTIONS]",
    "set": "pct set <vmid> [OPTIONS]",
    "snapshot": "pct snapshot <vmid> <snapname> [OPTIONS]",
    "status": "pct status <vmid> [OPTIONS]",
    "unlock": "pct unlock <vmid>",
}
"""The commands that there are, and how Proxmox shows their use."""

_POSITIONAL = {verb: usage.count("<") for verb, usage in USAGE.items()}
_FLAGS = frozenset(
    {"console", "current", "debug", "force", "onboot", "protection", "start", "template", "unprivileged", "verbose"}
)
_FILE_OPTIONS = frozenset({"group", "perms", "user"})
_VMID = re.compile(r"[1-9][0-9]{2,8}")
_SNAPNAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_WRITE = (
    'set -e; umask 022; if [ -n "$2" ] || [ ! -e "$1" ]; then new=1; fi; cat >"$1"; '
    'if [ -n "$2" ]; then chmod -- "$2" "$1"; fi; if [ -n "$3" ]; then chown -- "$3" "$1"; fi; '
    'if [ -n "$4" ]; then chgrp -- "$4" "$1"; fi'
)


class PctError(Exception):
    """The command cannot be carried out; the text is what pct says on standard error."""


class Parsed:
    """One command: its name, what follows without ``--``, its options, and for ``exec`` the program."""

    def __init__(self, verb: str, args: Sequence[str], options: Mapping[str, str], extra: Sequence[str]) -> None:
        self.verb = verb
        self.args = tuple(args)
        self.options = dict(options)
        self.extra = tuple(extra)


def parse(line: str) -> Parsed:
    """Read what the SSH client sent.

    Raises:
        PctError: it is no command, not pct's, or pct would refuse its arguments.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise PctError(f"unable to parse the command: {error}") from None
    if not words or "\0" in line:
        raise PctError("only 'pct' may be run here, and no shell")
    if words[0] in ("conntrack", "/usr/sbin/conntrack"):
        return Parsed("conntrack", (), {}, words[1:])
    if words[0] in ("zentoria-state", "/usr/local/sbin/zentoria-state"):
        return Parsed("state", (), {}, words[1:])
    if words[0] in ("zentoria-firewall", "/usr/local/sbin/zentoria-firewall"):
        return Parsed("filter", (), {}, words[1:])
    if words[0] not in ("pct", "/usr/sbin/pct", "/sbin/pct"):
        raise PctError(f"only 'pct' may be run here, not '{words[0][:60]}'")
    if len(words) < 2:
        raise PctError(_help("ERROR: no command specified"))
    verb, rest = words[1], words[2:]
    if verb not in USAGE:
        raise PctError(_help(f"ERROR: unknown command 'pct {verb[:60]}'"))
    if verb == "exec":
        return _exec(rest)
    args, options = _split(verb, rest)
    wanted = _POSITIONAL[verb]
    if len(args) != wanted:
        raise PctError(f"400 {'not enough' if len(args) < wanted else 'too many'} arguments\n{USAGE[verb]}")
    if wanted:
        _check_vmid(verb, args[0])
    if "<snapname>" in USAGE[verb] and not _SNAPNAME.fullmatch(args[1]):
        said = f"invalid format - invalid configuration ID '{args[1][:60]}'"
        raise PctError(f"400 Parameter verification failed.\nsnapname: {said}\n{USAGE[verb]}")
    return Parsed(verb, args, options, ())


def _help(first: str) -> str:
    return "\n".join([first, "USAGE: pct <COMMAND> [ARGS] [OPTIONS]", *(f"       {USAGE[verb]}" for verb in USAGE)])


def _exec(rest: Sequence[str]) -> Parsed:
    if not rest:
        raise PctError(f"400 not enough arguments\n{USAGE['exec']}")
    _check_vmid("exec", rest[0])
    extra = rest[2:] if rest[1:2] == ["--"] else rest[1:]
    return Parsed("exec", rest[:1], {}, extra)


def _check_vmid(verb: str, text: str) -> None:
    if not _VMID.fullmatch(text):
        kind = "type check ('integer') failed - got" if not text.isdigit() else "invalid format - value does not look"
        said = f"{kind} '{text[:60]}'" if not text.isdigit() else f"{kind} like a valid VM ID"
        raise PctError(f"400 Parameter verification failed.\nvmid: {said}\n{USAGE[verb]}")


def _split(verb: str, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Options have one or two dashes, and their value after ``=`` or as the next word (Getopt::Long)."""
    args: list[str] = []
    options: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            args += left
            break
        if not word.startswith("-") or word == "-":
            args.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise PctError(f"Unknown option: {name[:60]}\n400 unable to parse option\n{USAGE[verb]}")
        if not equals:
            if name in _FLAGS and (not left or left[0] not in ("0", "1", "yes", "no", "on", "off", "true", "false")):
                value = "1"
            elif left:
                value = left.pop(0)
            else:
                raise PctError(f"Option {name} requires an argument\n400 unable to parse option\n{USAGE[verb]}")
        if name in options:
            raise PctError(f"400 Parameter verification failed.\n{name}: given twice\n{USAGE[verb]}")
        options[name] = value
    return args, options


class Settings:
    """What the daemon wrote for us: one ``name value`` a line; ``attach`` words have a line each, in order."""

    def __init__(self, text: str) -> None:
        self.values: dict[str, str] = {}
        self.attach: list[str] = []
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "attach":
                self.attach.append(value)
            else:
                self.values[name] = value

    @staticmethod
    def render(values: Mapping[str, str], attach: Sequence[str]) -> str:
        """The text of a settings file."""
        lines = [f"{name} {value}" for name, value in values.items()] + [f"attach {word}" for word in attach]
        return "".join(f"{line}\n" for line in lines)

    def attach_argv(self, vmid: str) -> list[str]:
        """The prefix that runs a program in a container."""
        return [word.replace(VMID_MARK, vmid) for word in self.attach]


class Pct:
    """Carries out commands on the lab's node."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._node = settings.values["node"]

    def run(self, command: Parsed) -> int:
        """Carry it out; gives back the exit code. ``exec`` does not come back: the program takes our place."""
        action: Callable[[Parsed], int] = getattr(self, f"_{command.verb}", self._ask)
        return action(command)

    # inside containers

    def _running(self, vmid: str) -> None:
        """Check that the container is there and runs."""
        self._exists(vmid)
        if not self._settings.attach:
            raise PctError("this lab has no guests inside (--guests none)")
        if not self._pid(vmid):
            raise PctError(f"container '{vmid}' not running!")

    def _exists(self, vmid: str) -> None:
        if not os.path.exists(f"{self._settings.values['pve']}/lxc/{vmid}.conf"):
            raise PctError(f"Configuration file 'nodes/{self._node}/lxc/{vmid}.conf' does not exist")

    def _pid(self, vmid: str) -> int:
        """Pid of the container's init: the hook wrote it, and its cgroup says that it still is the one."""
        try:
            with open(f"{self._settings.values['guests']}/{vmid}/init.pid") as stream:
                pid = int(stream.read())
            with open(f"/proc/{pid}/cgroup") as stream:
                groups = stream.read()
        except (OSError, ValueError):
            return 0
        group = f":/{self._settings.values['netns']}/{vmid}"
        return pid if any(line.endswith(group) or f"{group}/" in line for line in groups.splitlines()) else 0

    def _exec(self, command: Parsed) -> int:
        (vmid,) = command.args
        self._exists(vmid)
        if not command.extra:
            raise PctError("missing command")
        self._running(vmid)
        self._take_long()
        argv = [*self._settings.attach_argv(vmid), *command.extra]
        self._become(argv)

    def _take_long(self) -> None:
        """Be as slow as a real one, where the lab's folder has a file ``pct-slow``: ``SECONDS PLACES``.

        Proxmox's takes 0.7 s of a processor before the program begins; so many at a time get on with it.
        """
        name = f"{self._settings.values['files']}/../pct-slow"
        try:
            with open(name) as stream:
                seconds, places = stream.read().split()
        except FileNotFoundError:
            return
        import fcntl
        import time

        while True:
            for place in range(int(places)):
                with open(f"{name}.{place}", "a") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    time.sleep(float(seconds))
                    return
            time.sleep(0.02)

    def _become(self, argv: list[str]) -> NoReturn:
        path = self._settings.values["path"]
        os.chdir("/")
        os.execvpe(argv[0], argv, {"PATH": path, "LC_ALL": "C.UTF-8"})  # noqa: S606 - no shell is what we want
        raise AssertionError("unreachable")

    def _push(self, command: Parsed) -> int:
        vmid, file, destination = command.args
        perms, user, group = _file_options(command)
        self._exists(vmid)
        if self._settings.attach and not self._pid(vmid):
            raise PctError("can only push files to a running CT")
        self._running(vmid)
        try:
            source = os.open(self._on_node(file), os.O_RDONLY)
        except OSError:
            raise PctError(f"failed to open {file} for reading") from None
        os.dup2(source, 0)
        self._become(
            [*self._settings.attach_argv(vmid), "/bin/sh", "-c", _WRITE, "push", destination, perms, user, group]
        )

    def _pull(self, command: Parsed) -> int:
        vmid, path, destination = command.args
        perms, user, group = _file_options(command)
        self._exists(vmid)
        if self._settings.attach and not self._pid(vmid):
            raise PctError("can only pull files from a running VM")
        self._running(vmid)
        try:
            target = os.open(self._on_node(destination), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            if perms:
                os.fchmod(target, int(perms, 8))
            if user or group:
                os.fchown(target, _number("uid", user), _number("gid", group))
        except OSError as error:
            raise PctError(f"failed to create file: {destination}: {error.strerror}") from None
        os.dup2(target, 1)
        self._become([*self._settings.attach_argv(vmid), "/bin/cat", "--", path])

    def _on_node(self, path: str) -> str:
        """A file on the node. The lab's node is the user's machine: only one folder of it is the node's."""
        folder = self._settings.values["files"]
        found = os.path.realpath(os.path.join(folder, path))
        if not found.startswith(f"{os.path.realpath(folder)}/"):
            raise PctError(f"failed to open {path}: the lab's node has its files in {folder}")
        return found

    # connections

    def _conntrack(self, command: Parsed) -> int:
        self._own_modules()
        from zentoria_infra.lab.shell import conntrack

        try:
            words = conntrack.checked(command.extra)
        except ValueError as error:
            raise PctError(f"only connections may be listed and cut with 'conntrack' here: {error}") from None
        if not self._settings.attach:
            said, code = conntrack.nothing(words)
            print(said, file=sys.stderr)
            return code
        self._become(["nsenter", f"--net=/run/netns/{self._settings.values['netns']}", "--", "conntrack", *words])

    # what sites remember

    def _state(self, command: Parsed) -> int:
        if "state" not in self._settings.values:
            raise PctError("no zentoria-state may be run here before the lab was taken down and up again")
        self._own_modules()
        from zentoria_infra.node import state

        return state.main(command.extra, self._settings.values["state"])

    # what is in force

    def _filter(self, command: Parsed) -> int:
        if "in_force" not in self._settings.values:
            raise PctError("no zentoria-firewall may be run here before the lab was taken down and up again")
        if list(command.extra) != ["pending"]:
            raise PctError("zentoria-firewall is for what is pending")
        self._own_modules()
        from pathlib import Path

        from zentoria_infra.lab.shell.openings import LabNode
        from zentoria_infra.node import firewall

        values = self._settings.values
        applied = Path(values["in_force"]) if self._settings.attach else None
        node = LabNode(Path(values["pve"]), self._node, "", "", applied, strict=values.get("strict") == "1")
        return firewall.main(["pending"], node)

    # through the daemon

    def _own_modules(self) -> None:
        """Let our package be found: -I and -S leave it out, and the rest starts faster so."""
        sys.path.append(self._settings.values["package"])

    def _ask(self, command: Parsed) -> int:
        if command.args:
            self._exists(command.args[0])
        self._own_modules()
        from zentoria_infra.lab.shell.control_socket import ApiFailure
        from zentoria_infra.lab.shell.pct_api import Api

        values = self._settings.values
        try:
            api = Api(values["socket"], self._node, f"{values['pve']}/lxc")
            return api.run(command.verb, command.args, command.options)
        except ApiFailure as failure:
            if failure.errors:
                lines = [f"{name}: {failure.errors[name].strip()}" for name in sorted(failure.errors)]
                usage = USAGE[command.verb]
                raise PctError("\n".join([f"{failure.status} {failure.message}", *lines, usage])) from None
            raise PctError(failure.message) from None


def _file_options(command: Parsed) -> tuple[str, str, str]:
    """``perms`` in octal digits, user and group; empty where they are not given."""
    for name in command.options:
        if name not in _FILE_OPTIONS:
            raise PctError(f"Unknown option: {name}\n400 unable to parse option\n{USAGE[command.verb]}")
    perms = command.options.get("perms", "")
    if perms:
        try:
            mode = int(perms, 16) if perms.lower().startswith("0x") else int(perms, 8)
        except ValueError:
            raise PctError(f"invalid mode: '{perms}'") from None
        perms = f"{mode & 0o7777:04o}"
    user, group = command.options.get("user", ""), command.options.get("group", "")
    for kind, name in (("uid", user), ("gid", group)):
        if name and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise PctError(f"failed to get {kind} for: {name}")
    return perms, user, group


def _number(kind: str, name: str) -> int:
    """Numeric id of a user or group of the node; -1 (leave it) for an empty name."""
    if not name:
        return -1
    if name.isdigit():
        return int(name)
    import grp
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid if kind == "uid" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise PctError(f"failed to get {kind} for: {name}") from None


def main(argv: Sequence[str]) -> int:
    """Carry out ``$SSH_ORIGINAL_COMMAND``; ``argv`` names the settings file."""
    try:
        with open(argv[1]) as stream:
            settings = Settings(stream.read())
        code = Pct(settings).run(parse(os.environ.get("SSH_ORIGINAL_COMMAND", "")))
        sys.stdout.flush()
    except PctError as error:
        print(error, file=sys.stderr)
        return 255
    except BrokenPipeError:  # the client has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 255
    except OSError as error:
        print(error, file=sys.stderr)
        return 255
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
