"""One's own account, for the gateway."""

from __future__ import annotations

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_auth.accounts.schemas import Me, MeChange, PasswordChange
from zentoria_auth.person import ProfileReader, ProfileWriter, must_be_fresh
from zentoria_auth.services import ServicesDep

router = APIRouter(prefix="/internal/v1/me", tags=["account"])


@router.get("", responses=answers(403, 404))
async def me(person: ProfileReader, services: ServicesDep) -> Me:
    """One's own account."""
    return await services.accounts.me(person.user_id)


@router.patch("", responses=answers(403, 404))
async def change(change: MeChange, person: ProfileWriter, services: ServicesDep) -> Me:
    """Change one's name."""
    return await services.accounts.rename(person.user_id, change.name)


@router.post("/password", status_code=204, responses=answers(403, 404, 429))
async def password(change: PasswordChange, person: ProfileWriter, services: ServicesDep) -> None:
    """Change the password. All other sessions end."""
    await must_be_fresh(services, person, change.current_password)
    await services.accounts.change_password(
        person.user_id, change.new_password.get_secret_value(), person.peer, person.actor, person.sid
    )
