"""The other ways to sign in that the sign-in page offers; who has some registers them with the application."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request


@dataclasses.dataclass(frozen=True)
class Choice:
    """A button.

    Args:
        label: what stands on it, after "Sign in with".
        path: where it leads, below ``/auth/``.
    """

    label: str
    path: str


Choices = Callable[[str], Sequence[Choice]]
"""Takes where to go after the sign-in, and gives the buttons."""


def offer(app: FastAPI, made: Choices) -> None:
    """Have the sign-in page offer them."""
    app.state.sign_in_choices = made


def choices(request: Request, after: str) -> Sequence[Choice]:
    """Those of this application."""
    made: Choices | None = getattr(request.app.state, "sign_in_choices", None)
    return () if made is None else made(after)
