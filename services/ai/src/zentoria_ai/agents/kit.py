"""What the six agents share: a step is a tool that may be proposed for an intent, and how its arguments are found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from zentoria_ai.entities.schemas import Entity, Kind
from zentoria_ai.plans.schemas import AgentName, Attachment, Effect


@dataclasses.dataclass(frozen=True)
class Heard:
    """A request, taken apart.

    Args:
        text: of the user.
        entities: what it names.
        attachments: what comes with it.
        german: whether to answer in German.
    """

    text: str
    entities: tuple[Entity, ...]
    attachments: tuple[Attachment, ...] = ()
    german: bool = False

    def all(self, kind: Kind) -> list[Any]:
        """Values of a kind, in the text's order."""
        return [one.value for one in self.entities if one.kind == kind]

    def first(self, kind: Kind) -> Any | None:
        """The first value of a kind."""
        return next(iter(self.all(kind)), None)

    def files(self) -> list[str]:
        """Files that are meant: the attachments' ids, else the names that stand there."""
        names = self.all("file")
        ids = [str(one.file_id) for one in self.attachments if not names or one.filename in names]
        known = {one.filename for one in self.attachments}
        return [*ids, *(name for name in names if name not in known)]


Arguments = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Step:
    """A way to do what an intent wants.

    Args:
        tools: names of tools that do it, the best first; the gateway offers one of them or none.
        effects: what such a tool may do at most: an offered tool of another class is not proposed.
        asks: what to ask for when an argument is missing, by its name.
    """

    tools: tuple[str, ...]
    effects: frozenset[Effect]
    asks: Mapping[str, str] = dataclasses.field(default_factory=dict)


READ: frozenset[Effect] = frozenset({"read"})
WRITE: frozenset[Effect] = frozenset({"read", "write"})
SEND: frozenset[Effect] = frozenset({"send"})
DESTROY: frozenset[Effect] = frozenset({"write", "destroy"})


class Agent:
    """One of the six. It proposes; it does nothing.

    A subclass says which steps its intents have, and which arguments a request gives.
    """

    name: ClassVar[AgentName]
    steps: ClassVar[Mapping[str, Step]]
    """By intent."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names of tools that a model may propose in its name."""

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """Values by every name that a tool may know them by; what the tool does not take is left out.

        Args:
            intent: one of its own.
            heard: the request.
        """
        raise NotImplementedError

    def say(self, intent: str, heard: Heard) -> str:
        """One sentence for the user: what is proposed."""
        raise NotImplementedError


def listed(names: Sequence[str], german: bool = False) -> str:
    """Names in a sentence."""
    if not names:
        return ""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {'und' if german else 'and'} {names[-1]}"
