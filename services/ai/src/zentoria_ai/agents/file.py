"""Files: uploads, finds, reads, moves, renames, deletes, restores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from zentoria_ai.agents.kit import DESTROY, READ, WRITE, Agent, Arguments, Heard, Step, listed

_ABOUT = re.compile(
    r"\b(?:about|on|for|mention(?:ing)?|named|called|containing|über|zu|namens|nach)\s+(?P<words>.+?)\s*[?.!]*$",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^\s*(?:please\s+|bitte\s+|can you\s+)?(?:find|search(?: for)?|look for|locate|show(?: me)?|where (?:is|are)|"
    r"suche?|finde|wo ist|zeige?)\s+"
    r"(?:me\s+)?(?:my|the|all|any|die|den|das|meine[nr]?)?\s*(?:files?|documents?|dateie?n?|dokumente?)?\s*(?:for|"
    r"nach)?\s*",
    re.IGNORECASE,
)
_FILE = {
    "file": "Which file?",
    "file_id": "Which file?",
    "file_ids": "Which files?",
    "filename": "Which name shall it have?",
}


class FileAgent(Agent):
    """Works on the user's files."""

    name = "file"
    reads = ("files_", "search")
    steps: ClassVar[Mapping[str, Step]] = {
        "file.upload": Step(("files_upload", "files_move"), WRITE, _FILE | {"project": "Into which project?"}),
        "file.search": Step(
            ("files_search", "search", "files_list"),
            READ,
            {"words": "What shall I look for?", "query": "What shall I look for?"},
        ),
        "file.list": Step(("files_list", "files_search"), READ, {"words": "Which files?"}),
        "file.read": Step(("files_get", "files_read"), READ, _FILE),
        "file.delete": Step(("files_delete",), DESTROY, _FILE),
        "file.move": Step(("files_move", "files_update"), WRITE, _FILE | {"project": "To which project?"}),
        "file.rename": Step(("files_rename", "files_update"), WRITE, _FILE | {"new_name": "Which name shall it have?"}),
        "file.restore": Step(("files_restore",), WRITE, _FILE),
    }

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """Files by id or name, project, words."""
        files = heard.files()
        found: dict[str, object] = {}
        if intent == "file.rename" and len(files) > 1:
            found |= {"filename": files[1], "new_name": files[1], "name": files[1]}
            files = files[:1]
        if files:
            found |= {"file": files[0], "file_id": files[0], "files": files, "file_ids": files, "attachments": files}
        if (project := heard.first("project")) is not None:
            found |= {"project": project, "folder": project}
        if (date := heard.first("date")) is not None:
            found |= {"since": date["since"], "until": date["until"]}
        if intent in ("file.search", "file.list") and (words := _words(heard)):
            found |= {"words": words, "query": words}
        return found

    def say(self, intent: str, heard: Heard) -> str:
        """What is proposed."""
        names = [one.filename or str(one.file_id) for one in heard.attachments] or heard.all("file")
        what, project = (
            listed(names, heard.german) or ("die Datei" if heard.german else "the file"),
            heard.first("project"),
        )
        if heard.german:
            into = f" in das Projekt {project}" if project else ""
            return {
                "file.upload": f"Ich lege {what}{into} ab.",
                "file.search": "Ich suche in Ihren Dateien.",
                "file.list": "Das sind Ihre Dateien.",
                "file.read": f"Ich öffne {what}.",
                "file.delete": f"Ich lösche {what}, wenn Sie zustimmen.",
                "file.move": f"Ich verschiebe {what}{into}.",
                "file.rename": f"Ich benenne {what} um.",
                "file.restore": f"Ich stelle {what} wieder her.",
            }[intent]
        into = f" to project {project}" if project else ""
        return {
            "file.upload": f"I would add {what}{into}.",
            "file.search": "Looking through your files.",
            "file.list": "These are your files.",
            "file.read": f"Opening {what}.",
            "file.delete": f"I would delete {what}, if you approve.",
            "file.move": f"I would move {what}{into}.",
            "file.rename": f"I would rename {what}.",
            "file.restore": f"I would restore {what}.",
        }[intent]


def _words(heard: Heard) -> str:
    """What is looked for: the names of files, else what stands after "about", without dates and projects."""
    if names := heard.all("file"):
        return " ".join(names)
    text = heard.text
    for one in sorted(heard.entities, key=lambda one: -one.start):
        if one.kind in ("date", "project"):
            text = f"{text[: one.start]} {text[one.end :]}"
    text = re.sub(
        r"\b(from|since|in|im|vom|seit|the|in the)?\s*(projects?|projekt|folder|ordner)\b", " ", text, flags=re.I
    )
    text = re.sub(r"\s+(from|since|of|vom|seit|in)\s*[?.!]*$", "", " ".join(text.split()), flags=re.I)
    match = _ABOUT.search(text)
    return (match["words"] if match else _LEAD.sub("", text)).strip(" ?.!\"'")[:200]
