"""What a running lab adds to the site ``lab``: ports, keys, certificates. The inventory is read with it laid over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zentoria_infra.errors import LabError
from zentoria_infra.lab import registry
from zentoria_infra.lab.layout import NODE
from zentoria_infra.lab.registry import DEFAULT, Lab

OWN = "own.yaml"
"""A file in the lab's folder that its user may write: it is laid over the site last, and goes with the lab."""
SITE = "lab"
"""The site that every lab is an instance of."""


def overlay_path(name: str) -> Path | None:
    """The overlay of a lab; None when that lab was never up."""
    file = registry.root_of(name) / "site.yaml"
    return file if file.is_file() else None


def for_site(site: str, instance: str = "") -> list[Path]:
    """Files to lay over a site: that of the lab ``instance`` (default: the default lab) for the site ``lab``.

    Raises:
        LabError: a lab was named, and there is none of that name.
    """
    if site != SITE:
        if instance:
            raise LabError(
                f"use site '{site}:{instance}'",
                got="only the site 'lab' has several instances",
                todo="use `--site lab:NAME`, or the site's name without a colon",
            )
        return []
    file = overlay_path(instance or DEFAULT)
    if file is None and instance:
        known = ", ".join(lab.name for lab in registry.every()) or "none"
        raise LabError(
            f"use the lab '{instance}'", got=f"there is no such lab (there are: {known})",
            todo=f"zentoria lab up --name {instance}",
        )  # fmt: skip
    own = [] if file is None else [file.with_name(OWN)]
    return [one for one in (file, *own) if one is not None and one.is_file()]


def values(lab: Lab) -> dict[str, Any]:
    """The overlay as plain data, in the shape of inventory/site.yaml."""
    # Every command asks whether there is an overlay; only a lab that starts makes one.
    from zentoria_infra.lab.credentials import POOL, TOKEN, USER
    from zentoria_infra.lab.lxc.network import BRIDGES
    from zentoria_infra.lab.shell import ssh

    layout = lab.layout
    access: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": lab.ports.ssh,
        "user": ssh.user(),
        "host_key": ssh.public_host_key(layout),
        "key_file": str(ssh.client_key(layout)),
        "inside": lab.guests == "lxc",
    }
    found: dict[str, Any] = {
        "proxmox": {
            "host": "127.0.0.1",
            "port": lab.ports.api,
            "node": NODE,
            "pool": POOL,
            "ca_file": str(layout.secrets / "ca.pem"),
            "token_id": f"{USER}!{TOKEN}",
            "token_secret_file": str(layout.secrets / "token"),
            "ssh": access,
        },
        "public_port": lab.ports.https,
        "firewall": {"node_addresses": [address.partition("/")[0] for address in BRIDGES.values()]},
        # with the lab go the passwords of what ran in it
        "secrets_file": str(layout.secrets / "stack" / "secrets.json"),
    }
    if lab.name != DEFAULT:
        found["id"] = f"{SITE}-{lab.name}"
    return found


def write(lab: Lab) -> Path:
    """Write the overlay of a lab."""
    from ruamel.yaml import YAML

    file = lab.layout.root / "site.yaml"
    partial = file.with_suffix(".new")
    with partial.open("w") as stream:
        stream.write("# Written by `zentoria lab up`; changes are lost.\n")
        yaml = YAML()
        yaml.width = 1000
        yaml.dump(values(lab), stream)
    partial.replace(file)
    return file
