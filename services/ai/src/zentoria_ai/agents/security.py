"""Security: reads audit, sessions and firewall, and explains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from zentoria_ai.agents.kit import DESTROY, READ, Agent, Arguments, Heard, Step

_ENDS = re.compile(r"\b(end|close|terminate|kick|sign (?:me )?out|log (?:me )?out|beende|schließe|abmelden)\b", re.I)
_ACTIONS = (
    (re.compile(r"\bfail\w*|fehlgeschlagen\w*|break in|einbr\w+", re.I), "auth.login_failed"),
    (
        re.compile(r"\b(sign(ed)?|log(ged)?)[ -]?(ins?|on)\b|anmeld\w*|angemeldet|sign-?ins?|logins?", re.I),
        "auth.login",
    ),
    (re.compile(r"\bdelet\w+|removed?|gelöscht", re.I), "files.delete"),
    (re.compile(r"\bdownload\w*|heruntergeladen", re.I), "files.download"),
    (re.compile(r"\bupload\w*|hochgeladen", re.I), "files.upload"),
)


class SecurityAgent(Agent):
    """Looks at what happened and what is allowed. The most that it proposes is to end sessions."""

    name = "security"
    reads = ("audit_", "sessions_list", "firewall_", "system_")
    steps: ClassVar[Mapping[str, Step]] = {
        "security.activity": Step(("audit_search", "audit_list"), READ),
        "security.sessions": Step(("sessions_list",), READ),
        "security.end_sessions": Step(
            ("sessions_revoke", "sessions_end"), DESTROY, {"session": "Which session?", "session_id": "Which session?"}
        ),
        "security.firewall": Step(("firewall_list", "firewall_check", "system_flows"), READ),
        "security.explain": Step(("audit_search", "audit_list"), READ),
    }

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """Who, what, when."""
        found: dict[str, object] = {}
        who = [*heard.all("email"), *heard.all("person")]
        if who:
            found |= {"actor": who[0], "user": who[0]}
        if (date := heard.first("date")) is not None:
            found |= {"since": date["since"], "until": date["until"]}
        if intent == "security.activity":
            action = next((name for pattern, name in _ACTIONS if pattern.search(heard.text)), None)
            if action is not None:
                found["action"] = action
        if names := heard.files():
            found |= {"resource": names[0], "file": names[0]}
        return found

    def say(self, intent: str, heard: Heard) -> str:
        """What is proposed."""
        if heard.german:
            return {
                "security.activity": "Das steht im Protokoll.",
                "security.sessions": "Hier sind Sie angemeldet.",
                "security.end_sessions": "Ich würde diese Sitzungen beenden, wenn Sie zustimmen.",
                "security.firewall": "Das lässt die Firewall zu.",
                "security.explain": "Das ist zuletzt geschehen.",
            }[intent]
        return {
            "security.activity": "This is in the audit log.",
            "security.sessions": "This is where you are signed in.",
            "security.end_sessions": "I would end these sessions, if you approve.",
            "security.firewall": "This is what the firewall allows.",
            "security.explain": "This is what happened lately.",
        }[intent]


def refined(intent: str, text: str) -> str:
    """Whether sessions are to be looked at, or ended."""
    return "security.end_sessions" if intent == "security.sessions" and _ENDS.search(text) else intent
