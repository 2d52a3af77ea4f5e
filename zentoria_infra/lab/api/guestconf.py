"""``lxc/<vmid>.conf`` as Proxmox writes it: description as comment, keys sorted, sections for what is not now.

Pending changes are in the section ``[pve:pending]``, a snapshot in the section of its name, with ``parent``,
``snaptime``, and while it is made or removed ``snapstate``.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping

from zentoria_infra.lab.api import files
from zentoria_infra.lab.api.faults import internal

PENDING = "pve:pending"
_SECTION = re.compile(r"\[([A-Za-z][A-Za-z0-9_:\-]*)\]")
_SNAPSHOT = re.compile(r"[A-Za-z][A-Za-z0-9_\-]+")
_LINE = re.compile(r"([a-z][a-z_]*\d*):\s*(.+?)\s*")
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ":%")


@dataclasses.dataclass
class GuestConf:
    """One container's configuration.

    ``options`` is what holds now, ``pending`` what will after the next start, ``delete`` which options go then (the
    value says whether by force), ``snapshots`` what held when each of them was taken. ``digest`` is the one of the
    file that this was read from.
    """

    options: dict[str, str] = dataclasses.field(default_factory=dict)
    pending: dict[str, str] = dataclasses.field(default_factory=dict)
    delete: dict[str, bool] = dataclasses.field(default_factory=dict)
    digest: str = ""
    snapshots: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    def wanted(self) -> dict[str, str]:
        """The options as they will be once the pending changes hold."""
        merged = {**self.options, **self.pending}
        return {name: value for name, value in merged.items() if name not in self.delete}

    def copy(self) -> GuestConf:
        """A copy to change."""
        snapshots = {name: dict(options) for name, options in self.snapshots.items()}
        return GuestConf(dict(self.options), dict(self.pending), dict(self.delete), self.digest, snapshots)


def parse(text: str) -> GuestConf:
    """Read a configuration file. Lines that make no sense are passed over, as Proxmox does (with a warning)."""
    conf = GuestConf(digest=files.digest(text))
    target: dict[str, str] | None = conf.options
    for line in text.split("\n"):
        if match := _SECTION.fullmatch(line.strip()):
            target = _target(conf, match[1])
        elif target is None or not line.strip():
            continue
        elif line.startswith("#"):
            target["description"] = target.get("description", "") + urllib.parse.unquote(line[1:]) + "\n"
        elif match := _LINE.fullmatch(line):
            if target is conf.pending and match[1] == "delete":
                conf.delete = {name.lstrip("!"): name.startswith("!") for name in re.split(r"[,;\s]+", match[2])}
            else:
                target[match[1]] = match[2]
    return conf


def _target(conf: GuestConf, section: str) -> dict[str, str] | None:
    if section == PENDING:
        return conf.pending
    return conf.snapshots.setdefault(section, {}) if _SNAPSHOT.fullmatch(section) else None


def render(conf: GuestConf) -> str:
    """Write a configuration file."""
    text = _section(conf.options)
    if conf.pending or conf.delete:
        pending = dict(conf.pending)
        if conf.delete:
            pending["delete"] = ",".join(f"!{name}" if conf.delete[name] else name for name in sorted(conf.delete))
        text += f"\n[{PENDING}]\n{_section(pending)}"
    for name in sorted(conf.snapshots):
        text += f"\n[{name}]\n{_section(conf.snapshots[name])}"
    return text


def _section(options: Mapping[str, str]) -> str:
    description = options.get("description", "")
    lines = [f"#{urllib.parse.quote(line, safe=_SAFE)}" for line in description.removesuffix("\n").split("\n")]
    text = "".join(f"{line}\n" for line in lines) if description else ""
    for name in sorted(options):
        if name == "description":
            continue
        if "\n" in options[name]:
            raise internal(f"detected invalid newline inside property '{name}'")
        text += f"{name}: {options[name]}\n"
    return text
