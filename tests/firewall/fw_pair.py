"""Two containers in one network, with few words."""

from __future__ import annotations

import dataclasses

from zentoria_infra.firewall.compiled.parties import Attachment, Parties, Party, subtract
from zentoria_infra.firewall.config import Configuration, Datacenter, Guest, Nic, Rule

OPTIONS = {"enable": "1", "policy_in": "DROP", "policy_out": "DROP", "dhcp": "0", "ipfilter": "1", "ndp": "0"}
NETWORK = (0x0A000000, 0x0A0000FF)
A, B = NETWORK[0] + 1, NETWORK[0] + 2


def parties() -> Parties:
    """Containers a (10.0.0.1) and b (10.0.0.2) in 10.0.0.0/24."""
    attachments = {
        name: (Attachment("net0", "vmbr1", ((address, address),), "net"),) for name, address in (("a", A), ("b", B))
    }
    others = (
        Party("gateway", ((NETWORK[0] + 254,) * 2,)),
        Party("internet", subtract(((0, 2**32 - 1),), (NETWORK,))),
        Party("stranger", subtract((NETWORK,), ((A, B), (NETWORK[0] + 254,) * 2))),
    )
    return Parties(
        tuple(Party(name, attached[0].spans) for name, attached in attachments.items()),
        {"a": 101, "b": 102},
        attachments,
        others,
    )


def guest(name: str, *rules: Rule, **more: object) -> Guest:
    number = {"a": 1, "b": 2}[name]
    nic = Nic("net0", "vmbr1", True, ip=f"10.0.0.{number}/24")
    made = Guest(100 + number, name, "pve", (nic,), OPTIONS, rules=rules)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]  # fields of Guest


def configuration(*guests: Guest, **more: object) -> Configuration:
    return Configuration(Datacenter(**{"options": {"enable": "1"}, **more}), (), guests)  # type: ignore[arg-type]  # fields by name


def out(ports: str, dest: str = "10.0.0.2", **more: object) -> Rule:
    return Rule("out", "ACCEPT", dest=dest, proto="tcp", dport=ports, **more)  # type: ignore[arg-type]  # fields by name


def into(ports: str, source: str = "10.0.0.1", **more: object) -> Rule:
    return Rule("in", "ACCEPT", source=source, proto="tcp", dport=ports, **more)  # type: ignore[arg-type]  # fields by name


DENY = (Rule("in", "DROP"), Rule("out", "DROP"))

ONE, TWO = (configuration(guest("a", out(p), *DENY), guest("b", into(p), *DENY)) for p in ("1", "2"))
