"""What a proof finds, and the words for it."""

from __future__ import annotations

import dataclasses
import enum

from zentoria_infra.firewall.compiled.intent import Compiled, Intent
from zentoria_infra.firewall.config import Guest, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.firewall.proof.semantics import DEFAULTS, Blame, option
from zentoria_infra.inventory.problems import Position


class Kind(enum.StrEnum):
    """In which way a configuration differs from what is intended."""

    MISSING = "missing"
    """Intended, and not allowed at one end."""
    EXTRA = "extra"
    """Allowed, and not intended."""
    FORGED = "forged"
    """A guest may send with an address that is not its own."""
    UNFILTERED = "unfiltered"
    """A guest on one of our bridges is not filtered: no address on that bridge can be believed."""
    VANISHED = "vanished"
    """Proxmox leaves a rule or an object out without an error."""
    WEAKENED = "weakened"
    """Nothing more is allowed as it stands, but only because something else still holds it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Args:
        kind: in which way.
        source: party that sends; of a difference that is no pair's, the guest (or ``datacenter``).
        destination: party that receives; empty when it is no pair's. Of ``weakened`` it may be several names.
        services: as ``tcp/5432``; empty when it is about no packets.
        vmid: guest whose firewall it is; 0 for the datacenter's objects.
        rule: the rule to blame; None when it is an option, or when there is no rule.
        rule_position: its position in its list, from 0.
        position: where the inventory says what it should be.
        explanation: all of it in words.
    """

    kind: Kind
    source: str
    destination: str
    services: str
    vmid: int
    rule: Rule | None
    rule_position: int | None
    position: Position
    explanation: str

    def __str__(self) -> str:
        pair = f"{self.source} -> {self.destination}" if self.destination else self.source
        head = " ".join(word for word in (f"{self.kind}:", pair, self.services) if word)
        return f"{head}: {self.explanation} [{self.position}]"


class Positions:
    """Finds the place in the inventory that a rule, an option or an object comes from."""

    def __init__(self, compiled: Compiled) -> None:
        self._intents = {intent.key: intent for intent in compiled.intents}
        self._others = compiled.positions
        self._fallback = next((intent.position for intent in compiled.intents), Position("the inventory"))

    def of_word(self, word: str) -> Position | None:
        """The place that an identity stands for."""
        if word in self._intents:
            return self._intents[word].position
        return self._others.get(word)

    def of_guest(self, vmid: int) -> Position:
        """A container's file."""
        return self._others.get(str(vmid), Position("no file of the inventory"))

    def of(self, blame: Blame, vmid: int) -> Position:
        """The place of what is to blame: of its rule, else of the guest."""
        found = self.of_word(identity(blame.rule.comment)) if blame.rule is not None else None
        return found or self.of_guest(vmid)

    def of_datacenter(self) -> Position:
        """Something to point at when the datacenter itself is meant."""
        return self._fallback

    def is_of(self, word: str, intent: Intent) -> bool:
        """Whether a rule with that identity is made for an intent: its own, a further part of it, or shared."""
        if word == intent.key:
            return True
        return word in self._others and self._others[word] == intent.position and word not in self._intents


def name_of(blame: Blame, guest: Guest) -> str:
    """What is to blame, in words."""
    if blame.rule is not None:
        word = identity(blame.rule.comment) or "not made by Zentoria"
        if blame.group:
            return (
                f"rule {blame.position} of group {blame.group} ({word}), taken in by rule {blame.taken} of {guest.vmid}"
            )
        return f"rule {blame.position} of {guest.vmid} ({word})"
    if blame.option not in DEFAULTS:
        return f"the switch of the {blame.option}"
    value = option(guest, blame.option)
    if value != guest.options.get(blame.option):
        return f"option {blame.option} of {guest.vmid}, which is not set (the default is {DEFAULTS[blame.option]})"
    return f"option {blame.option}={value} of {guest.vmid}"
