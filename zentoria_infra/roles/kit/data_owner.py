"""Files on a volume belong to their user, whatever number the user has in this container."""

from __future__ import annotations

from zentoria_infra.guest.state import Command


def data_owner(name: str, home: str, user: str) -> Command:
    """A step that gives everything below ``home`` to ``user`` and its group.

    The volume outlives the container: in a new one the user may be another number.

    Args:
        name: of what the data is, as ``redis``; for the step's id.
        home: where the volume is.
        user: whose it is.
    """
    look = ("find", home, "-mindepth", "1", "-maxdepth", "2", "-name", "lost+found", "-prune", "-o", "!", "-user",
            user, "-print", "-quit")  # fmt: skip
    change = ("find", home, "-mindepth", "1", "-name", "lost+found", "-prune", "-o", "-exec", "chown", "-h",
              f"{user}:{user}", "{}", "+")  # fmt: skip
    return Command(id=f"{name}:owner of the data", check=look, expect="", apply=change, timeout=600)
