"""Build the guests' template once a machine, like Proxmox's ``debian-13-standard``.

Mirror and keys are those of this machine's own apt. Signatures are always checked: a machine whose Debian
keyring is older than the suite gets the newer keyring through its own apt, which checks that one.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from pathlib import Path

from zentoria_infra.errors import LabError
from zentoria_infra.lab.layout import default_root
from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.lxc.rootfs import locked
from zentoria_infra.lab.runtime import Log, RuntimeFailure

SUITE = "trixie"
NAME = "debian-13-standard_13.1-2_amd64.tar.zst"
"""As Proxmox's appliance list names it."""

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "iproute2", "iputils-ping", "procps", "netbase", "tzdata",
    "python3", "ca-certificates",
)  # fmt: skip

MASKED = ("systemd-modules-load.service", "sys-kernel-debug.mount", "sys-kernel-config.mount")
"""Units that cannot work in an unprivileged guest and would leave it "degraded"."""

_KEYRINGS = Path("/usr/share/keyrings")
_OWN_SUITES = {"stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"}
_PASSED_ON = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CAInfo")
_KEPT = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")


@dataclasses.dataclass(frozen=True)
class Mirrors:
    """Where this machine gets Debian from: base addresses of the archive and of its security updates."""

    archive: str
    security: str
    """Empty when the machine has none."""

    def stanzas(self, keyring: str) -> str:
        """The guests' ``debian.sources``."""
        parts = [_stanza(self.archive, f"{SUITE} {SUITE}-updates", keyring)]
        if self.security:
            parts.append(_stanza(self.security, f"{SUITE}-security", keyring))
        return "\n".join(parts)

    def lines(self) -> list[str]:
        """The same in the one-line form, for mmdebstrap."""
        found = [f"deb {self.archive} {suite} main" for suite in (SUITE, f"{SUITE}-updates")]
        if self.security:
            found.append(f"deb {self.security} {SUITE}-security main")
        return found


def default_cache() -> Path:
    """Folder for built templates, shared by all labs. No lab's name can start with a dot."""
    return default_root() / ".cache"


def ensure(cache: Path, store: Path, log: Log) -> Path:
    """Have the template in ``store`` (a lab's ``template/cache``), built first when ``cache`` has none.

    Safe against a second builder at the same time: it waits and takes what the first one built.

    Raises:
        LabError: it cannot be built here; nothing half-built stays.
    """
    target = store / NAME
    if target.exists():
        return target
    store.mkdir(parents=True, exist_ok=True)
    built = cache / NAME
    with locked(cache / ".lock"):
        if not built.exists():
            _build(built, log)
        partial = store / f".{NAME}.partial"
        partial.unlink(missing_ok=True)
        try:
            os.link(built, partial)
        except OSError:  # another file system
            shutil.copy2(built, partial)
    partial.replace(target)
    return target


def mirrors() -> Mirrors:
    """Read the mirror from this machine's apt configuration.

    Raises:
        LabError: the machine is no Debian, or its apt has no Debian archive.
    """
    try:
        listed = run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
             "Created-By: Packages"]
        )  # fmt: skip
        release = Path("/etc/os-release").read_text()
    except (RuntimeFailure, OSError) as failure:
        raise LabError(
            "find this machine's Debian mirror",
            got=str(failure),
            todo="put a Debian mirror into this machine's APT sources",
        ) from failure
    found = re.search(r"^VERSION_CODENAME=\"?(\w+)", release, re.MULTILINE)
    return choose(listed, found[1] if found else "")


def choose(listed: str, codename: str) -> Mirrors:
    """Choose archive and security from lines of ``uri suite component origin``.

    The origin is known once apt has updated. Others publish under Debian's suite names too, so a source
    that says it is Debian goes before one that only looks like it (``.../debian``), and the rest last.
    What is chosen must still carry Debian's signature.

    Raises:
        LabError: no line is Debian's own archive.
    """
    own = _OWN_SUITES | ({codename} if codename else set())
    safe = {f"{name}{suffix}" for name in own for suffix in ("-security", "/updates")}
    ranked: list[tuple[int, str, str]] = []
    for line in listed.splitlines():
        uri, suite, component, origin = [*line.split(maxsplit=3), "", "", "", ""][:4]
        known = bool(origin) and not origin.startswith("$(")
        if component == "main" and (origin == "Debian" or not known):
            looks = uri.rstrip("/").endswith(("/debian", "/debian-security"))
            ranked.append((0 if known else 1 if looks else 2, uri.rstrip("/"), suite))
    ranked.sort(key=lambda item: item[0])
    archive = next((uri for _, uri, suite in ranked if suite in own), "")
    security = next((uri for _, uri, suite in ranked if suite in safe), "")
    if not archive:
        raise LabError(
            "find this machine's Debian mirror", got="apt has no source for Debian's own 'main'",
            todo="put your mirror in /etc/apt/sources.list.d/debian.sources, or copy a Proxmox template "
            f"to template/cache/{NAME} of the lab's storage",
        )  # fmt: skip
    return Mirrors(archive, security)


def _stanza(uri: str, suites: str, keyring: str) -> str:
    return f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n"


def _build(target: Path, log: Log) -> None:
    found = mirrors()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{NAME}")
    log(f"building the template {NAME} with mmdebstrap; this happens once on this machine")
    with tempfile.TemporaryDirectory(prefix="zt-template-") as name:
        work = Path(name)
        keyring = _keyring(found, work, log)
        sources = work / "debian.sources"
        sources.write_text(found.stanzas("/usr/share/keyrings/debian-archive-keyring.gpg"))
        words = [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES)}",
            # 17 guests need not fetch and unpack the same lists again: their agents take young ones as they are
            "--skip=cleanup/apt/lists",
            f"--keyring={keyring}", *_apt_options(_PASSED_ON + _KEPT), *_hooks(sources, work),
            SUITE, str(partial), *found.lines(),
        ]  # fmt: skip
        try:
            run(words, timeout=1800)
        except RuntimeFailure as failure:
            partial.unlink(missing_ok=True)
            raise LabError(
                f"build the template {NAME}", got=str(failure)[-1500:],
                todo="check that apt-get update works on this machine, then try again",
            ) from failure  # fmt: skip
    partial.replace(target)
    log(f"template built: {target.stat().st_size // 2**20} MiB")


def _apt_options(keys: tuple[str, ...]) -> list[str]:
    """Settings of this machine's apt that its mirror may need, for the build."""
    options = []
    for line in run(["apt-config", "dump"]).splitlines():
        key, _, value = line.partition(" ")
        if key in keys and value != '"";':
            options.append(f"--aptopt={key} {value}")
    return options


def _hooks(sources: Path, work: Path) -> list[str]:
    """Shell lines that mmdebstrap runs at the end; ``$1`` is the new root."""
    kept = work / "90mirror"
    kept.write_text("".join(option.removeprefix("--aptopt=") + "\n" for option in _apt_options(_KEPT)))
    lines = [
        # what apt needed here (a proxy...) is not what it needs in a guest
        'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/apt/sources.list"',
        'rm -f "$1"/etc/apt/sources.list.d/*',
        f'cp {sources} "$1/etc/apt/sources.list.d/debian.sources"',
        f'if [ -s {kept} ]; then cp {kept} "$1/etc/apt/apt.conf.d/90mirror"; fi',
        'chmod 644 "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/*',
        # every guest makes its own at its first boot
        'rm -f "$1/var/lib/dbus/machine-id" && : > "$1/etc/machine-id"',
        'rm -f "$1/etc/resolv.conf" "$1/etc/hostname" && : > "$1/etc/resolv.conf"',
        'echo UTC > "$1/etc/timezone" && ln -sf /usr/share/zoneinfo/Etc/UTC "$1/etc/localtime"',
        'touch "$1/var/lib/apt/lists"',
        *(f'ln -sf /dev/null "$1/etc/systemd/system/{unit}"' for unit in MASKED),
    ]
    return [f"--customize-hook={line}" for line in lines]


def _keyring(found: Mirrors, work: Path, log: Log) -> Path:
    """A keyring that verifies the suite's signature, tried with gpgv.

    Raises:
        LabError: none does.
    """
    signed = work / "InRelease"
    address = f"{found.archive}/dists/{SUITE}/InRelease"
    try:
        run(["/usr/lib/apt/apt-helper", "download-file", address, signed])
    except RuntimeFailure as failure:
        raise LabError(
            f"build the template {NAME}", on=address, got=str(failure),
            todo=f"use a mirror that has {SUITE}",
        ) from failure  # fmt: skip
    for keyring in _candidates(_KEYRINGS):
        if _verifies(keyring, signed):
            return keyring
    log(f"this machine's Debian keyring does not know {SUITE}: taking the newest through apt")
    try:
        run(["apt-get", "update", "-qq"], timeout=300)
        run(["apt-get", "download", "-qq", "debian-archive-keyring"], cwd=work)
        for package in work.glob("debian-archive-keyring_*.deb"):
            run(["dpkg-deb", "--extract", package, work / "keyring"])
    except RuntimeFailure as failure:
        raise LabError(
            "get Debian's newest keyring",
            got=str(failure),
            todo="check this machine's APT sources and its proxy, then run again",
        ) from failure
    for keyring in _candidates(work / "keyring/usr/share/keyrings"):
        if _verifies(keyring, signed):
            return keyring
    raise LabError(
        f"verify the signature of {SUITE}", on=address, got="no key of this machine or of Debian's package fits",
        todo="install a debian-archive-keyring that has its keys",
    )  # fmt: skip


def _candidates(folder: Path) -> list[Path]:
    """Debian's keyrings; the suffix is .gpg up to Debian 12 and .pgp after."""
    return [
        folder / f"debian-archive-keyring{suffix}"
        for suffix in (".gpg", ".pgp")
        if (folder / f"debian-archive-keyring{suffix}").exists()
    ]


def _verifies(keyring: Path, signed: Path) -> bool:
    try:
        run(["gpgv", "--quiet", "--keyring", keyring, signed])
    except RuntimeFailure:
        return False
    return True
