"""What a text must at least be, where no tool says more. Each raises ValueError with what is wrong."""

from __future__ import annotations

import ast
import configparser
import ipaddress
import json
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Mapping

import ruamel.yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

Parse = Callable[[str], object]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_VARIABLE = re.compile(r"""[A-Za-z_][A-Za-z0-9_]*=("[^"\\$`]*"|'[^'\\$`]*')""")
_USER = re.compile(r'"[^"]+" "SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+"')
_FIREWALL = re.compile(r"\[(OPTIONS|ALIASES|RULES|IPSET [a-z0-9_-]+|group [A-Za-z0-9_-]+)\]( #.*)?")
_HBA_METHODS = frozenset({"peer", "scram-sha-256", "reject", "cert"})


def _each(text: str, good: Callable[[str], object], comments: str = "#") -> None:
    """Check every line that is neither empty nor a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith(tuple(comments)):
            try:
                fine = good(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            if fine is None or fine is False:
                raise ValueError(f"line {number} is not of its kind: {line[:60]}")


def ini(text: str) -> None:
    """Sections of ``key = value``, each section and key once."""
    reader = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    try:
        reader.read_string(text)
    except configparser.Error as error:
        raise ValueError(str(error)) from None


def unit(text: str) -> None:
    """As systemd's files: a key may be there again."""
    reader = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"), strict=False)
    try:
        reader.read_string(text)
    except configparser.Error as error:
        raise ValueError(str(error)) from None


def environment(text: str) -> None:
    """``NAME="value"``, single quotes where it has double ones; nothing in it that systemd takes for more than text."""
    _each(text, _VARIABLE.fullmatch)


def hosts(text: str) -> None:
    """An address and its names a line."""

    def good(line: str) -> bool:
        address, *names = line.split()
        ipaddress.ip_address(address)
        return bool(names) and all(_HOST.fullmatch(name) for name in names)

    _each(text, good)


def host_name(text: str) -> None:
    """One host name."""
    _each(text, _HOST.fullmatch)


def time_zone(text: str) -> None:
    """A name of the time zone database."""
    try:
        zoneinfo.ZoneInfo(text.strip())
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(str(error)) from None


def hba(text: str) -> None:
    """pg_hba.conf: type, database, user, address of a host, method."""

    def good(line: str) -> bool:
        kind, *rest = line.split()
        if kind == "local":
            return len(rest) == 3 and rest[2] in _HBA_METHODS
        ipaddress.ip_network(rest[2] if len(rest) > 2 else "")
        return kind == "host" and len(rest) == 4 and rest[3] in _HBA_METHODS

    _each(text, good)


def user_list(text: str) -> None:
    """PgBouncer's users, each with a SCRAM verifier and no password."""
    _each(text, _USER.fullmatch)


def pve_firewall(text: str) -> None:
    """Sections of /etc/pve/firewall; what is in them has its own proof."""

    def good(line: str) -> object:
        return _FIREWALL.fullmatch(line) if line.startswith("[") else True

    _each(text, good)


def certificate(text: str) -> None:
    """PEM: certificates."""
    x509.load_pem_x509_certificates(text.encode())


def private_key(text: str) -> None:
    """PEM: a key without a passphrase."""
    load_pem_private_key(text.encode(), None)


def yaml(text: str) -> None:
    """YAML 1.2, any number of documents."""
    try:
        list(ruamel.yaml.YAML(typ="safe", pure=True).load_all(text))
    except ruamel.yaml.error.YAMLError as error:
        raise ValueError(str(error)) from None


def python(text: str) -> None:
    """Python's own parser."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None


def one_word(text: str) -> None:
    """A password's file: one line, one word."""
    if len(text.split()) != 1 or not text.endswith("\n"):
        raise ValueError("it is not one word and the end of its line")


def prose(text: str) -> None:
    """What a model is told: something, and nothing that is not to be read."""
    if not text.strip() or not all(sign.isprintable() or sign == "\n" for sign in text):
        raise ValueError("it is empty, or has control characters")


def nothing(text: str) -> None:
    """A mark: the file is there, and empty."""
    if text:
        raise ValueError("it is not empty")


def comments(text: str) -> None:
    """Nothing but comments."""
    _each(text, lambda line: False)


def keys(text: str) -> None:
    """Lines of ``key = value``."""
    _each(text, re.compile(r"[a-z_]+ = \S.*").fullmatch)


PARSERS: Mapping[str, tuple[str, Parse]] = {
    "*.json": ("JSON", json.loads),
    "*.toml": ("TOML", tomllib.loads),
    "*.yaml": ("YAML", yaml),
    "*.yml": ("YAML", yaml),
    "*.py": ("Python", python),
    "*.ini": ("sections and keys", ini),
    "/etc/systemd/*": ("sections and keys", unit),
    "/etc/default/*": ("variables", environment),
    "/etc/zentoria/*/environment": ("variables", environment),
    "/etc/hosts": ("hosts", hosts),
    "/etc/hostname": ("a host name", host_name),
    "/etc/timezone": ("the time zone database", time_zone),
    "*/pg_hba.conf": ("rows of pg_hba.conf", hba),
    "/etc/pgbouncer/userlist.txt": ("SCRAM verifiers", user_list),
    "/etc/pve/firewall/*.fw": ("sections; the proof judges the rules", pve_firewall),
    "*/fullchain.pem": ("a certificate", certificate),
    "*/ldap-ca.pem": ("a certificate", certificate),
    "*/privkey.pem": ("a private key", private_key),
    "*_password": ("one word", one_word),
    "*_secret_key": ("one word", one_word),
    "*_client_secret": ("one word", one_word),
    "*/seal_key": ("one word", one_word),
    "*_api_key": ("one word", one_word),
    "*_token": ("one word", one_word),
    "/etc/zentoria/orchestrator/*.txt": ("text for a model", prose),
    "*/identity_key": ("a private key", private_key),
    "*/jwt_key": ("a private key", private_key),
    "*/jwt_previous_key": ("a private key", private_key),
    "/etc/.pve-ignore.*": ("empty", nothing),
    "*/pg_ident.conf": ("comments only", comments),
    "*/createcluster.conf": ("keys", keys),
}
"""By pattern of a path (``fnmatch``): what the text is read as, and by what."""
