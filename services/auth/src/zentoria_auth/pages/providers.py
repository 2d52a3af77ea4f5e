"""The other ways to sign in that the sign-in page offers: a button a provider of the site."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zentoria_auth.pages import web
from zentoria_auth.services import Services


@dataclasses.dataclass(frozen=True)
class Choice:
    """A button.

    Args:
        label: what stands on it, after "Sign in with".
        path: where it leads.
    """

    label: str
    path: str


def choices(services: Services, after: str) -> Sequence[Choice]:
    """Those of the site.

    Args:
        services: of the application.
        after: where to go after the sign-in.
    """
    return [
        Choice(one.label, f"/auth/providers/{one.name}/start?next={web.quoted(after)}")
        for one in services.providers.shown
    ]
