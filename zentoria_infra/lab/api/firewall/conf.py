"""Firewall files (``cluster.fw``, ``<vmid>.fw``, ``host.fw``) in Proxmox's syntax (PVE::Firewall)."""

from __future__ import annotations

import dataclasses
import re

OPTION_ORDER = ("-i", "-source", "-dest", "-p", "-dport", "-sport", "-icmp-type", "-log")
_FLAGS = {
    "-i": "iface",
    "-iface": "iface",
    "-source": "source",
    "-dest": "dest",
    "-p": "proto",
    "-proto": "proto",
    "-dport": "dport",
    "-sport": "sport",
    "-icmp-type": "icmp-type",
    "-log": "log",
}
RULE_KEYS = ("macro", *dict.fromkeys(_FLAGS.values()), "comment")
"""The optional fields of a rule."""
_SECTION = re.compile(r"\[(\w+)(?:\s+([A-Za-z][A-Za-z0-9\-_]+))?\]\s*(?:#\s*(.*?)\s*)?", re.IGNORECASE)
_RULE = re.compile(r"(\|?)(IN|OUT|FORWARD|GROUP)\s+(?:([A-Za-z][A-Za-z0-9]*)\(([A-Z]+)\)|(\S+))((?:\s+-\S+\s+\S+)*)")
_ALIAS = re.compile(r"([A-Za-z][A-Za-z0-9\-_]+)\s+(\S+)")
_OPTION = re.compile(r"([a-z][a-z0-9_]*):\s*(.*?)\s*")


@dataclasses.dataclass
class Rule:
    """One rule. ``type`` is in, out, forward or group; ``fields`` holds what is set of ``RULE_KEYS``."""

    type: str
    action: str
    enable: bool = False
    fields: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Alias:
    """A name for an address or a network."""

    name: str
    cidr: str
    comment: str = ""


@dataclasses.dataclass
class Entry:
    """An address, network or alias in an IP set; ``nomatch`` takes it out."""

    cidr: str
    nomatch: bool = False
    comment: str = ""


@dataclasses.dataclass
class IpSet:
    """A named set of addresses."""

    comment: str = ""
    entries: list[Entry] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Group:
    """A security group: rules that others can take in by name."""

    comment: str = ""
    rules: list[Rule] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class FirewallConf:
    """One file. Aliases are kept under their name in lower case."""

    options: dict[str, str] = dataclasses.field(default_factory=dict)
    aliases: dict[str, Alias] = dataclasses.field(default_factory=dict)
    ipsets: dict[str, IpSet] = dataclasses.field(default_factory=dict)
    rules: list[Rule] = dataclasses.field(default_factory=list)
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)


def _split_comment(line: str) -> tuple[str, str]:
    text, _, comment = line.partition("#")
    return text.strip(), comment.strip()


def parse_rule(line: str) -> Rule | None:
    """Read one rule; None when it is none (Proxmox skips such lines)."""
    text, comment = _split_comment(line)
    match = _RULE.fullmatch(text)
    if not match:
        return None
    off, kind, macro, macro_action, action, flags = match.groups()
    rule = Rule(kind.lower(), macro_action or action, not off)
    words = flags.split()
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag not in _FLAGS:
            return None
        rule.fields[_FLAGS[flag]] = value
    if macro:
        rule.fields["macro"] = macro
    if comment:
        rule.fields["comment"] = comment
    return rule


def parse(text: str) -> FirewallConf:
    """Read a firewall file; lines that make no sense are skipped."""
    conf = FirewallConf()
    section, entries, rules = "", list[Entry](), list[Rule]()
    for raw in text.split("\n"):
        line = raw.strip()
        if match := _SECTION.fullmatch(line):
            section, name, comment = match[1].lower(), match[2] or "", match[3] or ""
            if section == "ipset" and name:
                entries = conf.ipsets.setdefault(name, IpSet(comment)).entries
            elif section == "group" and name:
                rules = conf.groups.setdefault(name, Group(comment)).rules
            elif section == "rules":
                rules = conf.rules
        elif line and not line.startswith("#"):
            _read_line(conf, section, line, entries, rules)
    return conf


def _read_line(conf: FirewallConf, section: str, line: str, entries: list[Entry], rules: list[Rule]) -> None:
    text, comment = _split_comment(line)
    if section == "options":
        if match := _OPTION.fullmatch(line):
            conf.options[match[1]] = match[2]
    elif section == "aliases":
        if match := _ALIAS.fullmatch(text):
            conf.aliases[match[1].lower()] = Alias(match[1], match[2], comment)
    elif section == "ipset":
        entries.append(Entry(text.lstrip("!").strip(), text.startswith("!"), comment))
    elif section in ("rules", "group") and (rule := parse_rule(line)):
        rules.append(rule)


def _comment(text: str) -> str:
    return f" # {text}" if text else ""


def render_rule(rule: Rule) -> str:
    """One rule as a line."""
    fields = rule.fields
    action = f"{fields['macro']}({rule.action})" if fields.get("macro") else rule.action
    flags = "".join(f" {flag} {fields[_FLAGS[flag]]}" for flag in OPTION_ORDER if fields.get(_FLAGS[flag]))
    return f"{'' if rule.enable else '|'}{rule.type.upper()} {action}{flags}{_comment(fields.get('comment', ''))}"


def render(conf: FirewallConf) -> str:
    """Write a firewall file; empty sections are left out."""
    blocks: list[str] = []

    def block(head: str, lines: list[str]) -> None:
        blocks.append("\n".join([head, "", *lines, ""]))

    if conf.options:
        block("[OPTIONS]", [f"{key}: {conf.options[key]}" for key in sorted(conf.options)])
    if conf.aliases:
        block("[ALIASES]", [f"{alias.name} {alias.cidr}{_comment(alias.comment)}" for alias in conf.aliases.values()])
    for name in sorted(conf.ipsets):
        ipset = conf.ipsets[name]
        lines = [f"{'!' if entry.nomatch else ''}{entry.cidr}{_comment(entry.comment)}" for entry in ipset.entries]
        block(f"[IPSET {name}]{_comment(ipset.comment)}", lines)
    if conf.rules:
        block("[RULES]", [render_rule(rule) for rule in conf.rules])
    for name in sorted(conf.groups):
        group = conf.groups[name]
        block(f"[group {name}]{_comment(group.comment)}", [render_rule(rule) for rule in group.rules])
    return "\n".join(blocks)
