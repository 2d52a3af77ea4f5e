"""A project of five containers for the comparison with Ansible: two of PostgreSQL, two of Redis, one of NGINX.

It is made of the shipped inventory's own files, without their exporters, log shippers and neighbours, so that there is
no more in it than a playbook of a few pages does as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ruamel.yaml

ROOT = Path(__file__).resolve().parents[2]
_FROM = {  # the new container's VMID and name: its model, the address, the one service that it keeps
    (404, "db"): ("404-db", "10.10.40.4", "postgresql"),
    (408, "proxy"): ("408-proxy", "10.10.40.8", "nginx"),
    (410, "redis"): ("410-redis", "10.10.41.0", "redis"),
    (424, "db-2"): ("404-db", "10.10.40.24", "postgresql"),
    (430, "redis-2"): ("410-redis", "10.10.40.30", "redis"),
}
SERVICES = {name: service for (_, name), (_, _, service) in _FROM.items()}
"""Each container and what it runs."""
VMIDS = {name: vmid for vmid, name in _FROM}
_ZONES = """networks:
  internal: {cidr: 10.10.32.0/20, gateway: 10.10.47.254}
zones:
  bench: {purpose: What is measured}
reserved: []
flows:
  - {row: 1, source: internet, destination: proxy, ports: [80, 443], purpose: External access}
"""


def write_five(folder: Path) -> Path:
    """Write the project below ``folder``, which is given back."""
    yaml = ruamel.yaml.YAML()
    source, target = ROOT / "inventory", folder / "inventory"
    (target / "containers").mkdir(parents=True)
    (target / "sites").mkdir()
    (folder / "templates").symlink_to(ROOT / "templates")
    (folder / "zones.yaml").write_text(_ZONES)
    read = functools.partial(_read, yaml, source)
    site = read("site.yaml")
    del site["container_defaults"]["services"]
    yaml.dump(site, target / "site.yaml")
    lab = read("sites/lab.yaml")
    lab["containers"] = {}
    yaml.dump(lab, target / "sites/lab.yaml")
    for (vmid, name), (model, address, service) in _FROM.items():
        one = read(f"containers/{model}.yaml")
        one |= {"vmid": vmid, "name": name, "address": address, "zone": "bench"}
        one["services"] = {service: one["services"][service]}
        for key in ("needs", "egress"):
            one["services"][service].pop(key, None)
        # without its exporter, nobody asks for the password of that
        if secrets := one["services"][service].get("secrets"):
            one["services"][service]["secrets"] = [path for path in secrets if "exporter" not in path]
        if "volumes" in one:
            one["volumes"]["data"]["size"] = 1
        yaml.dump(one, target / f"containers/{vmid}-{name}.yaml")
    return folder


def _read(yaml: ruamel.yaml.YAML, folder: Path, name: str) -> Any:
    return yaml.load(folder / name)


def change_one_file(folder: Path) -> Callable[[], object]:
    """Change what one configuration file of one container (NGINX's) is made of; what undoes it is given back."""
    site = folder / "inventory/site.yaml"
    before = site.read_text()
    after = before.replace("upload_max: 100M", "upload_max: 120M")
    assert after != before, "the inventory has no upload_max: 100M"
    site.write_text(after)
    return lambda: site.write_text(before)
