"""The programs that know a file best, and how each is asked about one without doing anything with it.

A tool is given a folder that holds the guest's files as its root, and works nowhere else. Whatever a tool would need
of a machine (users, privileged ports, its own folders) is replaced in a copy.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

SECONDS = 30
_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where programs for administrators are, also where a user's PATH does not have them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a tool is asked.

    Args:
        program: the tool's own path.
        root: holds the guest's files, as ``root/etc/nginx/nginx.conf``.
        paths: those that are asked about, as ``/etc/nginx/nginx.conf``.
        scratch: an empty folder for what the tool needs besides.
    """

    program: str
    root: Path
    paths: Sequence[str]
    scratch: Path

    def at(self, path: str) -> Path:
        """A file below the root."""
        return self.root / path.lstrip("/")

    @property
    def file(self) -> str:
        """The one file that is asked about."""
        return str(self.at(self.paths[0]))

    def ask(self, *arguments: str, program: str = "") -> str:
        """Run the tool; what it said when it did not like it, else nothing."""
        done = run((program or self.program, *arguments), self.scratch)
        said = (done.stderr + done.stdout).strip()
        return (said or f"it ended with {done.returncode}") if done.returncode else ""


Ask = Callable[[Question], str]
"""Answers what is wrong; nothing when all is right."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """One way to check files.

    Args:
        title: what is run, in words.
        program: the executable that must be there.
        covers: patterns of paths (``fnmatch``) that it judges.
        ask: asks it.
        whole: all of a guest's files at once, else one by one.
        needs: a path that the guest must have, for ``whole`` ones.
        unfit: given the program and the paths: why this one cannot judge them (another version); empty when it can.
    """

    title: str
    program: str
    covers: tuple[str, ...]
    ask: Ask
    whole: bool = False
    needs: str = ""
    unfit: Callable[[str, Sequence[str]], str] = lambda program, paths: ""

    def takes(self, path: str, text: str) -> bool:
        """Whether it judges that file. A pattern that begins with ``#!`` is one of the first line."""
        first = text.partition("\n")[0]
        return any(fnmatch.fnmatchcase(first if one.startswith("#!") else path, one) for one in self.covers)


def find(program: str, version: str = "") -> str | None:
    """The path of a program on this machine; None when it is not there. ``version`` is PostgreSQL's."""
    places = [f"/usr/lib/postgresql/{version}/bin"] if version else []
    return shutil.which(program, path=os.pathsep.join((*places, os.environ.get("PATH", ""), *_PLACES)))


def run(command: Sequence[str], folder: Path, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    """Run a tool in a folder, in plain English, without what this process knows of a site."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ZENTORIA_")}
    environment = {**kept, "LC_ALL": "C", "HOME": str(folder), "TMPDIR": str(folder)}
    try:
        return subprocess.run(
            list(command), cwd=folder, env=environment, capture_output=True, text=True, errors="replace",
            timeout=seconds, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"it did not answer within {seconds:.0f} seconds")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", f"it cannot be run: {error.strerror}")


# NGINX opens what it listens at even for a test: sockets in the scratch folder stand in for ports. It takes another
# user and its folders from the copy as well.
_LISTEN = re.compile(r"(^\s*listen\s+)([^\s;]+)", re.MULTILINE)
_USER = re.compile(r"^user\s+[^;]+;", re.MULTILINE)
_TEMPORARY = "".join(
    f"\n    {name}_temp_path {{0}}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
NGINX = (1, 25, 1)
"""The first version that knows ``http2 on`` (nginx.org, ngx_http_v2_module)."""


def _nginx(question: Question) -> str:
    root = question.scratch / "root"
    shutil.copytree(question.root, root)
    (root / "run").mkdir(exist_ok=True)
    mime = root / "etc/nginx/mime.types"
    if not mime.exists():
        mime.write_text("types { text/html html; }\n")
    user = pwd.getpwuid(os.geteuid()).pw_name
    for file in (root / "etc/nginx").rglob("*"):
        if file.is_file():
            text = re.sub(r"(?<![\w.])/(etc/nginx|etc/zentoria|run|var/lib)/", rf"{root}/\1/", file.read_text())
            text = _USER.sub(f"user {user};", text)
            text = _LISTEN.sub(lambda m: f"{m[1]}unix:{question.scratch}/{m[2].replace(':', '_')}", text)
            file.write_text(
                re.sub(r"(^http \{)", rf"\1{_TEMPORARY.format(question.scratch)}", text, flags=re.MULTILINE)
            )
    return question.ask("-t", "-q", "-e", "stderr", "-p", f"{root}/", "-c", f"{root}/etc/nginx/nginx.conf")


def _nginx_version(program: str, paths: Sequence[str]) -> str:
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", run((program, "-v"), Path("/")).stderr)
    version = tuple(map(int, found.groups())) if found else (0, 0, 0)
    return (
        "" if version >= NGINX else f"nginx {'.'.join(map(str, NGINX))} or newer, here is {'.'.join(map(str, version))}"
    )


def _postgres_version(program: str, paths: Sequence[str]) -> str:
    found = re.search(r"\b(\d+)[.\d]*", run((program, "--version"), Path("/")).stdout)
    here, there = found[1] if found else "?", postgres_of(paths)
    return "" if here == there else f"PostgreSQL {there}, here is {here}"


def postgres_of(paths: Sequence[str]) -> str:
    """PostgreSQL's version in paths as /etc/postgresql/17/main; empty when there is none."""
    return next((found[1] for path in paths if (found := re.match(r"/etc/postgresql/(\d+)/", path))), "")


_SSHD_FOLDER = re.compile(r"\A(Missing privilege separation directory: |\S+ must be owned by root and not group)")


def _sshd(question: Question) -> str:
    key = question.scratch / "key"
    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    key.touch(mode=0o600)
    key.write_bytes(private)
    said = question.ask("-t", "-f", question.file, "-h", str(key))
    # It looks at its own folder when it has taken the configuration: that may be missing here, or not be root's.
    return "" if _SSHD_FOLDER.search(said) else said


def _systemd(question: Question) -> str:
    units = question.at("/etc/systemd/system")
    names = {Path(path).relative_to("/etc/systemd/system").parts[0].removesuffix(".d") for path in question.paths}
    programs = ["/usr/bin/true"]
    for path in question.paths:
        programs += re.findall(r"^Exec\w+=[-@:+!]*(/\S+)", question.at(path).read_text(), flags=re.MULTILINE)
    for name in names:  # a drop-in's unit comes with a package
        if not (units / name).exists():
            (units / name).write_text("[Service]\nType=oneshot\nExecStart=/usr/bin/true\n")
    for program in programs:
        stub = question.at(program)
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("#!/bin/sh\n")
        stub.chmod(0o755)
    root = f"--root={question.root}"
    done = run(
        (question.program, "verify", "--man=no", "--recursive-errors=no", root, *sorted(names)), question.scratch
    )
    # A key that systemd does not know is only a warning to it.
    return (done.stderr + done.stdout).strip() or (f"it ended with {done.returncode}" if done.returncode else "")


def _redis(question: Question) -> str:
    """Redis has no test of its own: it is started with what it may not touch left out, and ended at once."""
    config, place = question.at("/etc/redis/redis.conf"), question.scratch / "socket"
    text = re.sub(r"^(aclfile|dir) (\S+)", rf"\1 {question.root}\2", config.read_text(), flags=re.MULTILINE)
    for folder in re.findall(r"^dir (\S+)", text, flags=re.MULTILINE):
        Path(folder).mkdir(parents=True, exist_ok=True)
    copy = question.scratch / "redis.conf"
    copy.write_text(text)
    options = ("--port", "0", "--unixsocket", str(place), "--daemonize", "no", "--appendonly", "no", "--save", "")
    log = question.scratch / "log"
    with log.open("w") as output, subprocess.Popen(
        [question.program, str(copy), *options], cwd=question.scratch, stdout=output, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            until = time.monotonic() + SECONDS
            while server.poll() is None and not _answers(place):
                if time.monotonic() > until:
                    return f"it did not start within {SECONDS} seconds"
                time.sleep(0.02)
            ended = server.poll()
        finally:
            server.terminate()
    return "" if ended is None else (log.read_text(errors="replace").strip() or f"it ended with {ended}")


def _answers(place: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            line.connect(str(place))
            line.sendall(b"PING\r\n")
            return bool(line.recv(16))
    except OSError:
        return False


def _sources(question: Question) -> str:
    folder = question.scratch / "sources.list.d"
    folder.mkdir()
    shutil.copy(question.file, folder)
    (question.scratch / "none").touch()
    options = {"Dir::Etc::SourceList": question.scratch / "none", "Dir::Etc::SourceParts": folder,
               "Dir::State": question.scratch, "Dir::Cache": question.scratch}  # fmt: skip
    return question.ask("indextargets", *(part for name, to in options.items() for part in ("-o", f"{name}={to}")))


def _apart(question: Question, *command: str) -> str:
    """Run something that looks at the kernel's tables in a network of its own."""
    unshare = find("unshare")
    if unshare is None:
        return "unshare is not on this machine"
    return question.ask("--map-root-user", "--net", question.program, *command, program=unshare)


def _no_namespace(program: str, paths: Sequence[str]) -> str:
    unshare = find("unshare")
    able = unshare is not None and not run((unshare, "--map-root-user", "--net", "true"), Path("/")).returncode
    return "" if able else "unshare with network namespaces for everybody"


TOOLS = (
    Tool("nginx -t", "nginx", ("/etc/nginx/*",), _nginx, True, "/etc/nginx/nginx.conf", _nginx_version),
    Tool("redis-server, started and ended", "redis-server", ("/etc/redis/*",), _redis, True, "/etc/redis/redis.conf"),
    Tool("systemd-analyze verify", "systemd-analyze", ("/etc/systemd/system/*",), _systemd, True),
    Tool("postgres -C", "postgres", ("/etc/postgresql/*/conf.d/*.conf", "/etc/postgresql/*/postgresql.conf"),
         lambda q: q.ask("-C", "port", "-D", str(q.scratch), f"--config-file={q.file}"), unfit=_postgres_version),
    Tool("sshd -t", "sshd", ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*"), _sshd),
    Tool("ssh-keygen -l", "ssh-keygen", ("*/authorized_keys",), lambda q: q.ask("-l", "-f", q.file)),
    Tool("apt-config dump", "apt-config", ("/etc/apt/apt.conf.d/*",), lambda q: q.ask("-c", q.file, "dump")),
    Tool("apt-get indextargets", "apt-get", ("/etc/apt/sources.list.d/*",), _sources),
    Tool("sh -n", "sh", ("#!/bin/sh*", "*.sh"), lambda q: q.ask("-n", q.file)),
    Tool("bash -n", "bash", ("#!*bash*",), lambda q: q.ask("-n", q.file)),
    Tool("visudo -c", "visudo", ("/etc/sudoers", "/etc/sudoers.d/*"), lambda q: q.ask("-c", "-f", q.file)),
    Tool("haproxy -c", "haproxy", ("/etc/haproxy/*.cfg",), lambda q: q.ask("-c", "-f", q.file)),
    Tool("promtool check config", "promtool", ("*/prometheus.yml",), lambda q: q.ask("check", "config", q.file)),
    Tool("promtool check rules", "promtool", ("/etc/prometheus/rules/*",), lambda q: q.ask("check", "rules", q.file)),
    Tool("amtool check-config", "amtool", ("*/alertmanager.yml",), lambda q: q.ask("check-config", q.file)),
    Tool("named-checkconf", "named-checkconf", ("/etc/bind/named.conf*",), lambda q: q.ask(q.file)),
    Tool("logrotate -d", "logrotate", ("/etc/logrotate.d/*",),
         lambda q: q.ask("-d", "-s", str(q.scratch / "state"), q.file)),
    Tool("iptables-restore --test", "iptables-restore", ("*.iptables",),
         lambda q: _apart(q, "--test", q.file), unfit=_no_namespace),
    Tool("nft -c", "nft", ("*.nft",), lambda q: _apart(q, "-c", "-f", q.file), unfit=_no_namespace),
)  # fmt: skip
"""Those that are known. A file is judged by the first that covers it."""

UNCHECKABLE = {
    "*.sql": "a running PostgreSQL",
    "/etc/pgbouncer/pgbouncer.ini": "a check of PgBouncer's own, which it does not have",
}
"""Why there is no tool, for files that have none."""
