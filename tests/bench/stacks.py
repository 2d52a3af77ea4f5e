"""Projects of any size, made of the shipped one: its 17 containers again and again, each stack with its own flows.

What is made is a folder as a user would write it, so that reading the files is measured too. It differs from the
shipped inventory where it must: names of further stacks end in their number (``db-7``), VMIDs go on at 100000,
addresses fill 10.10.32.0/20 (of more than 3,000 containers 10.10.0.0/16, which their network is then), nobody but the
first proxy is reached from the internet, and only the first ``logs`` and ``backup`` reach all. So flows grow with
containers, as they do when stacks are added, and not with their square.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ruamel.yaml

from zentoria_infra.inventory.load import CONTAINERS, ZONES, load

ROOT = Path(__file__).resolve().parents[2]
STACK = 17
"""Containers of the shipped inventory."""
FIRST_VMID = 100_000
_NETWORK, _LARGE = ipaddress.IPv4Network("10.10.32.0/20"), ipaddress.IPv4Network("10.10.0.0/16")
_ROOM = 3_000
_TAKEN = ipaddress.IPv4Network("10.10.40.0/22")
"""Where the shipped containers are."""


def write_project(folder: Path, containers: int) -> Path:
    """A project of ``containers`` (a multiple of 17) below ``folder``, which is returned.

    Raises:
        ValueError: that is no whole number of stacks.
    """
    stacks, rest = divmod(containers, STACK)
    if rest or not stacks:
        raise ValueError(f"{containers} containers are no whole number of stacks of {STACK}")
    shutil.copytree(ROOT / "inventory", folder / "inventory")
    (folder / "templates").symlink_to(ROOT / "templates")
    shipped = load(ROOT, site="lab")
    services = {(one.name, service.name) for one in shipped.containers for service in one.services}
    addresses = _addresses(_LARGE if containers > _ROOM else _NETWORK)
    files = {path.name.split("-", 1)[0]: path.read_text() for path in sorted((ROOT / CONTAINERS).iterdir())}
    zones = (ROOT / ZONES).read_text()
    if containers > _ROOM:
        zones = zones.replace(str(_NETWORK), str(_LARGE))
    flows = _flows()
    more: list[str] = []
    for number in range(2, stacks + 1):
        for one in shipped.containers:
            vmid, name = FIRST_VMID + 100 * number + one.vmid % 100, f"{one.name}-{number}"
            text = _renamed(files[str(one.vmid)], services, number)
            text = text.replace(f"vmid: {one.vmid}", f"vmid: {vmid}", 1)
            text = text.replace(f"name: {one.name}", f"name: {name}", 1)
            text = text.replace(f"address: {one.address}", f"address: {next(addresses)}", 1)
            (folder / CONTAINERS / f"{vmid}-{name}.yaml").write_text(text)
        more += [_flow(flow, number) for flow in flows]
    (folder / ZONES).write_text(zones.replace("\nassert:", "\n".join(["", *more, "", "assert:"]), 1))
    return folder


def _addresses(network: ipaddress.IPv4Network) -> Iterator[ipaddress.IPv4Address]:
    for address in network.hosts():
        if address not in _TAKEN and address != ipaddress.IPv4Address("10.10.47.254"):
            yield address


def _renamed(text: str, services: set[tuple[str, str]], number: int) -> str:
    """A container's file whose needs lead to its own stack; those of all containers go."""
    text = re.sub(r"^ *- \{service: all,.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^    models: \{.*\}\n", "", text, flags=re.MULTILINE)  # one service of a site serves a purpose
    text = re.sub(r"needs:\n(?! *- )", "needs: []\n", text)
    text = re.sub(r"\b(zentoria/(?:db|redis)/(?!exporter)[a-z0-9]+)_password\b", rf"\1-{number}_password", text)
    text = re.sub(r"\b(zentoria/minio/[a-z0-9]+)_secret_key\b", rf"\1-{number}_secret_key", text)
    text = re.sub(r"\b(zentoria/identity/[a-z0-9]+)\b", rf"\1-{number}", text)
    text = re.sub(r"(?<=trusts: \[)[^\]]+", lambda match: re.sub(r"\w+", rf"\g<0>-{number}", match[0]), text)

    def own(match: re.Match[str]) -> str:
        found = (match[1], match[2])
        return f"{match[1]}-{number}.{match[2]}" if found in services else match[0]

    return re.sub(r"\b([a-z0-9]+)\.([a-z0-9-]+)\b", own, text)


def _flows() -> list[dict[str, Any]]:
    """The shipped flows between two containers."""
    document = ruamel.yaml.YAML(typ="safe", pure=True).load((ROOT / ZONES).read_text())
    return [flow for flow in document["flows"] if {flow["source"], flow["destination"]}.isdisjoint({"all", "internet"})]


def _flow(flow: dict[str, Any], number: int) -> str:
    source, destination = f"{flow['source']}-{number}", f"{flow['destination']}-{number}"
    ports = ", ".join(str(port) for port in flow["ports"])
    return f"  - {{derived: growth, source: {source}, destination: {destination}, ports: [{ports}], purpose: growth}}"
