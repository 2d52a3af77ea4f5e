"""The firewall as text: Proxmox's own files, or a ruleset for a gateway that routes between the containers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import Parties
from zentoria_infra.firewall.config import Alias, Configuration, IpSet, Rule
from zentoria_infra.firewall.show.gateway import gateway

Form = Literal["pve", "iptables", "nft"]

_FLAGS = {
    "-i": "iface",
    "-source": "source",
    "-dest": "dest",
    "-p": "proto",
    "-dport": "dport",
    "-sport": "sport",
    "-icmp-type": "icmp_type",
    "-log": "log",
}
"""Flag of a line in a file to the field of a rule, in the order in which Proxmox writes them."""


class Template(Protocol):
    """Renders files of ``templates/``; who calls :func:`render` knows where that folder is."""

    def __call__(self, name: str, /, **values: object) -> str:
        """Render ``templates/<name>`` with values."""
        ...


def render(compiled: Compiled, parties: Parties, form: Form, template: Template) -> dict[str, str]:
    """A compiled firewall in another form: texts by file name.

    Args:
        compiled: what to render.
        parties: of the same inventory.
        form: ``pve``: files as in /etc/pve/firewall. ``iptables``: input of iptables-restore. ``nft``: a file for
            ``nft -f``. The last two are for a gateway that routes: containers on one bridge are out of its sight.
        template: renders files below ``templates/firewall``.

    Raises:
        InventoryError: a template is wrong.
    """
    if form == "pve":
        return pve_files(compiled.configuration)
    name = f"gateway.{form}"
    return {name: template(f"firewall/{name}", gateway=gateway(compiled, parties))}


def pve_files(configuration: Configuration) -> dict[str, str]:
    """The files of /etc/pve/firewall by name; a file that would be empty is left out."""
    datacenter = configuration.datacenter
    blocks = [*_options(datacenter.options), *_aliases(datacenter.aliases), *_ipsets(datacenter.ipsets)]
    blocks += _section("[RULES]", map(rule_line, datacenter.rules))
    for group in sorted(datacenter.groups, key=lambda one: one.name):
        blocks.append(_block(f"[group {group.name}]{_comment(group.comment)}", map(rule_line, group.rules)))
    files = {"cluster.fw": "\n".join(blocks)}
    for guest in configuration.guests:
        blocks = [*_options(guest.options), *_aliases(guest.aliases), *_ipsets(guest.ipsets)]
        blocks += _section("[RULES]", map(rule_line, guest.rules))
        files[f"{guest.vmid}.fw"] = "\n".join(blocks)
    return {name: text for name, text in files.items() if text}


def rule_line(rule: Rule) -> str:
    """A rule as a line of a file; ``|`` before it when it is disabled."""
    action = f"{rule.macro}({rule.action})" if rule.macro else rule.action
    flags = "".join(f" {flag} {value}" for flag, name in _FLAGS.items() if (value := getattr(rule, name)))
    return f"{'' if rule.enable else '|'}{rule.type.upper()} {action}{flags}{_comment(rule.comment)}"


def _options(options: Mapping[str, str]) -> list[str]:
    return _section("[OPTIONS]", (f"{key}: {options[key]}" for key in sorted(options)))


def _aliases(aliases: Iterable[Alias]) -> list[str]:
    return _section("[ALIASES]", (f"{one.name} {one.cidr}{_comment(one.comment)}" for one in aliases))


def _ipsets(ipsets: Iterable[IpSet]) -> list[str]:
    return [
        _block(
            f"[IPSET {one.name}]{_comment(one.comment)}",
            (f"{'!' if entry.nomatch else ''}{entry.cidr}{_comment(entry.comment)}" for entry in one.entries),
        )
        for one in sorted(ipsets, key=lambda one: one.name)
    ]


def _section(head: str, lines: Iterable[str]) -> list[str]:
    """A block, or none without lines."""
    there = [*lines]
    return [_block(head, there)] if there else []


def _block(head: str, lines: Iterable[str]) -> str:
    return "\n".join([head, "", *lines, ""])


def _comment(text: str) -> str:
    return f" # {text}" if text else ""
