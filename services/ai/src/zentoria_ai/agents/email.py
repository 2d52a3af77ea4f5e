"""E-mail: proposes mails, looks for them, sums them up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from zentoria_ai.agents.kit import READ, SEND, Agent, Arguments, Heard, Step, listed

_ABOUT = re.compile(
    r"\b(?:about|regarding|re|subject|über|betreff|wegen)[: ]\s*(?P<subject>.+?)(?:\s+(?:saying|that says|"
    r"with the text|und sag|with)\b.*)?[?.!]*$",
    re.I,
)
_SAYS = re.compile(
    r"\b(?:saying(?: that)?|that says|with the text|tell(?:ing)? (?:him|her|them) that|text:|dass|"
    r"mit dem text)\s*[:\"“„]?\s*(?P<body>.+?)[\"”“]?\s*$",
    re.I,
)
_TELL = re.compile(r"\btell\s+.+?\s+(?:by (?:e-?)?mail\s+)?that\s+(?P<body>.+?)\s*$", re.I)


class EmailAgent(Agent):
    """Works on the user's mail."""

    name = "email"
    reads = ("mail_",)
    steps: ClassVar[Mapping[str, Step]] = {
        "email.send": Step(
            ("mail_send",),
            SEND,
            {
                "to": "To which address?",
                "subject": "What is it about?",
                "body": "What shall it say?",
                "text": "What shall it say?",
            },
        ),
        "email.search": Step(("mail_search", "mail_list"), READ, {"words": "What shall I look for?"}),
        "email.summarise": Step(("mail_list", "mail_search"), READ, {"words": "Which mails?"}),
    }

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """Recipients, subject, text, attachments; or words, sender, dates."""
        found: dict[str, object] = {}
        about = _ABOUT.search(heard.text)
        if intent == "email.send":
            if to := heard.all("email"):
                found |= {"to": to, "recipients": to}
            says = _SAYS.search(heard.text) or _TELL.search(heard.text)
            files = heard.files()
            if says is not None:
                found |= {"body": says["body"], "text": says["body"]}
            if about is not None:
                found["subject"] = about["subject"]
            elif files:
                found["subject"] = listed([one.filename for one in heard.attachments] or heard.all("file"))
            if files:
                found |= {"attachments": files, "file_ids": files}
                found.setdefault("body", "")
                found.setdefault("text", "")
            return found
        if about is not None:
            found |= {"words": about["subject"], "query": about["subject"]}
        senders = [*heard.all("email"), *heard.all("person")]
        if senders:
            found |= {"from": senders[0], "sender": senders[0]}
            found.setdefault("words", senders[0])
        if (date := heard.first("date")) is not None:
            found |= {"since": date["since"], "until": date["until"]}
        return found

    def say(self, intent: str, heard: Heard) -> str:
        """What is proposed."""
        to = listed(heard.all("email"), heard.german)
        if intent == "email.send":
            if heard.german:
                return f"Ich würde diese E-Mail an {to} senden, wenn Sie zustimmen." if to else "An welche Adresse?"
            return f"I would send this mail to {to}, if you approve." if to else "To which address?"
        return "Ich sehe in Ihrem Postfach nach." if heard.german else "Looking into your mailbox."
