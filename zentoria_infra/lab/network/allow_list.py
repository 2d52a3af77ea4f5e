"""Which hosts the guests' proxy lets through: those that this machine itself installs packages from.

Everything is read from the machine's configuration when the lab starts; no host is written down here.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import subprocess
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PORTS = {"http": 80, "https": 443}
_INDEXES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
    *("npm_config_registry", "NPM_CONFIG_REGISTRY"),
)
_PIP_KEYS = ("index-url", "extra-index-url", "index_url", "extra_index_url")
_WEB = re.compile(r"https?://[^\s\"'<>\]]+")


@dataclass(frozen=True)
class AllowList:
    """Pairs of host and port that may be reached."""

    pairs: frozenset[tuple[str, int]]

    def permits(self, host: str, port: int) -> bool:
        """Whether ``host:port`` may be reached. Names are compared without case and without a dot at the end."""
        return (host.lower().rstrip("."), port) in self.pairs

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts, for people."""
        return tuple(sorted({host for host, _ in self.pairs}))


def from_urls(urls: Iterable[str], hosts: Iterable[str] = ()) -> AllowList:
    """Allow the hosts of URLs, at their port; and bare ``host`` (ports 80 and 443) or ``host:port``."""
    pairs: set[tuple[str, int]] = set()
    for url in urls:
        with contextlib.suppress(ValueError):  # not a URL after all: a bracket or a port out of range
            parts = urllib.parse.urlsplit(url)
            if parts.scheme in _PORTS and parts.hostname:
                pairs.add((parts.hostname.lower().rstrip("."), parts.port or _PORTS[parts.scheme]))
    for text in hosts:
        host, _, port = text.lower().partition(":")
        if port.isdigit():
            pairs.add((host, int(port)))
        elif host:
            pairs.update((host, known) for known in _PORTS.values())
    return AllowList(frozenset(pairs))


def urls_of_apt(texts: Mapping[str, str]) -> list[str]:
    """URLs of package sources in apt's files (name to text): ``*.sources`` (deb822) and ``*.list`` (one line each)."""
    found: list[str] = []
    for name, text in texts.items():
        if name.endswith(".sources"):
            found += _deb822(text)
        elif name.endswith(".list"):
            for line in text.splitlines():
                bare = line.partition("#")[0].strip()
                if re.match(r"deb(-src)?\s", bare):
                    found += _WEB.findall(bare)
    return found


def _deb822(text: str) -> list[str]:
    found: list[str] = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and last:
                fields[last] += f" {line.strip()}"
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off", "without", "disable"):
            found += _WEB.findall(fields.get("uris", ""))
    return found


def urls_of_pip(text: str) -> list[str]:
    """URLs of package indexes in a pip.conf."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    values = (parser.get(section, key, fallback="") for section in parser.sections() for key in _PIP_KEYS)
    return [url for value in values for url in _WEB.findall(value or "")]


def urls_of_npm(text: str) -> list[str]:
    """URLs of registries in an .npmrc."""
    lines = (line.strip() for line in text.splitlines())
    return [url for line in lines if re.match(r"(@[^:]+:)?registry\s*=", line) for url in _WEB.findall(line)]


def apt_proxy(dump: str) -> dict[str, str]:
    """The proxies in what ``apt-config dump`` says: scheme to URL."""
    found = re.findall(r'^Acquire::(https?)::Proxy "([^"]*)";', dump, re.MULTILINE | re.IGNORECASE)
    return {scheme.lower(): url for scheme, url in found if url.startswith("http")}


def of_this_machine(extra: Iterable[str] = ()) -> AllowList:
    """What this machine's apt, pip, uv and npm are configured to use, and ``extra`` hosts."""
    apt = Path("/etc/apt")
    lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    urls = urls_of_apt({file.name: _read(file) for file in lists})
    home = Path.home()
    for file in (Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf", _env("PIP_CONFIG_FILE")):
        urls += urls_of_pip(_read(file))
    for file in (Path("/etc/npmrc"), home / ".npmrc", _env("NPM_CONFIG_USERCONFIG")):
        urls += urls_of_npm(_read(file))
    for name in _INDEXES:
        urls += _WEB.findall(os.environ.get(name, ""))
    return from_urls(urls, extra)


def upstream_proxies() -> dict[str, str]:
    """Proxies that this machine's apt is told to use, by scheme; none without apt."""
    try:
        done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return apt_proxy(done.stdout)


def _env(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


def _read(file: Path | None) -> str:
    if file is None or not file.is_file():
        return ""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
