"""API keys: makes, lists, rotates, revokes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from zentoria_ai.agents.kit import DESTROY, READ, WRITE, Agent, Arguments, Heard, Step, listed

_KEY = {"key": "Which key?", "key_id": "Which key?"}
MOST_DAYS = 3650


class ApiKeyAgent(Agent):
    """Works on the user's API keys. What a key may do is proposed narrowly: the scopes that were named, and no more."""

    name = "apikey"
    reads = ("keys_",)
    steps: ClassVar[Mapping[str, Step]] = {
        "apikey.create": Step(
            ("keys_create",),
            WRITE,
            {"name": "What shall the key be called?", "scopes": "What may the key do?", "days": "For how long?"},
        ),
        "apikey.list": Step(("keys_list",), READ),
        "apikey.rotate": Step(("keys_rotate",), DESTROY, _KEY),
        "apikey.revoke": Step(("keys_revoke",), DESTROY, _KEY),
    }

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """Name, scopes, days; or the key that is meant."""
        found: dict[str, object] = {}
        key, scopes = heard.first("key"), _scopes(heard)
        if intent == "apikey.create":
            if scopes:
                found["scopes"] = scopes
            name = key or (f"{listed(sorted({one.split(':')[0] for one in scopes}))} key" if scopes else None)
            if name:
                found |= {"name": name, "label": name}
            if (duration := heard.first("duration")) is not None:
                days = min(max(1, round(duration["days"])), MOST_DAYS)
                found |= {"days": days, "expires_in_days": days, "valid_days": days}
            elif (date := heard.first("date")) is not None:
                found["expires_at"] = date["until"]
        elif key is not None:
            found |= {"key": key, "key_id": key}
        return found

    def say(self, intent: str, heard: Heard) -> str:
        """What is proposed."""
        key, scopes = heard.first("key") or "", listed(_scopes(heard), heard.german)
        if heard.german:
            return {
                "apikey.create": f"Ich würde einen Schlüssel für {scopes} anlegen."
                if scopes
                else "Was darf der Schlüssel?",
                "apikey.list": "Das sind Ihre API-Schlüssel.",
                "apikey.rotate": f"Ich würde den Schlüssel {key} erneuern.".replace("  ", " "),
                "apikey.revoke": f"Ich würde den Schlüssel {key} widerrufen.".replace("  ", " "),
            }[intent]
        return {
            "apikey.create": f"I would make a key for {scopes}." if scopes else "What may the key do?",
            "apikey.list": "These are your API keys.",
            "apikey.rotate": re.sub(" +", " ", f"I would replace the key {key} by a new one."),
            "apikey.revoke": re.sub(" +", " ", f"I would revoke the key {key}, if you approve."),
        }[intent]


def _scopes(heard: Heard) -> list[str]:
    return sorted({scope for one in heard.all("scope") for scope in one})
