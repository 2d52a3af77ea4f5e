"""One's own second factors, for the gateway."""

from __future__ import annotations

import uuid

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_auth.accounts import repository as accounts
from zentoria_auth.accounts.rules import RuleError, clean_name
from zentoria_auth.accounts.service import NoAccount, Refused
from zentoria_auth.factors.schemas import (
    Codes,
    PasskeyAdded,
    PasskeyList,
    PasskeyMade,
    PasskeyRename,
    PasskeyShown,
    Proof,
    TotpCode,
    TotpSecret,
)
from zentoria_auth.person import ProfileReader, ProfileWriter, must_be_fresh
from zentoria_auth.services import ServicesDep
from zentoria_auth.signin.schemas import PasskeyQuestion

router = APIRouter(prefix="/internal/v1/me", tags=["second factors"])


@router.post("/totp", responses=answers(403, 404, 409, 429))
async def begin_totp(proof: Proof, person: ProfileWriter, services: ServicesDep) -> TotpSecret:
    """Begin to set up an authenticator app; it counts when a code of it was shown."""
    await must_be_fresh(services, person, proof.current_password)
    account = await services.accounts.me(person.user_id)
    made = await services.factors.begin_totp(person.user_id, account.email)
    return TotpSecret(secret=made.secret, uri=made.uri)


@router.post("/totp/confirm", responses=answers(403))
async def confirm_totp(code: TotpCode, person: ProfileWriter, services: ServicesDep) -> Codes:
    """Show the first code of the app."""
    codes = await services.factors.confirm_totp(person.user_id, code.code.get_secret_value(), person.peer, person.actor)
    return Codes(recovery_codes=list(codes))


@router.post("/totp/remove", status_code=204, responses=answers(403, 404, 429))
async def remove_totp(proof: Proof, person: ProfileWriter, services: ServicesDep) -> None:
    """Take the app away."""
    await must_be_fresh(services, person, proof.current_password)
    await services.factors.remove_totp(person.user_id, person.peer, person.actor)


@router.post("/recovery-codes", responses=answers(403, 429))
async def new_codes(proof: Proof, person: ProfileWriter, services: ServicesDep) -> Codes:
    """Ten new recovery codes; the old ones end."""
    await must_be_fresh(services, person, proof.current_password)
    return Codes(recovery_codes=list(await services.factors.new_codes(person.user_id, person.peer, person.actor)))


@router.get("/passkeys", responses=answers(403))
async def passkeys(person: ProfileReader, services: ServicesDep) -> PasskeyList:
    """One's own passkeys."""
    found = await services.passkeys.listed(person.user_id)
    return PasskeyList(items=[PasskeyShown.model_validate(one, from_attributes=True) for one in found])


@router.post("/passkeys/options", responses=answers(403, 404, 409, 429))
async def passkey_options(proof: Proof, person: ProfileWriter, services: ServicesDep) -> PasskeyQuestion:
    """What to ask a browser that shall make a passkey."""
    await must_be_fresh(services, person, proof.current_password)
    async with services.database.session() as session:
        account = await accounts.find(session, user_id=person.user_id)
    if account is None:
        raise NoAccount
    question = await services.passkeys.ask_to_add(account.id, account.handle, account.email, account.name)
    return PasskeyQuestion(id=question.id, options=question.options)


@router.post("/passkeys", status_code=201, responses=answers(403))
async def add_passkey(made: PasskeyMade, person: ProfileWriter, services: ServicesDep) -> PasskeyAdded:
    """Keep the passkey that the browser made."""
    added, codes = await services.passkeys.add(
        person.user_id, made.id, made.credential, _cleaned(made.name), person.peer, person.actor
    )
    return PasskeyAdded(id=added, recovery_codes=list(codes))


@router.patch("/passkeys/{passkey_id}", status_code=204, responses=answers(403, 404))
async def rename_passkey(
    passkey_id: uuid.UUID, change: PasskeyRename, person: ProfileWriter, services: ServicesDep
) -> None:
    """Give a passkey another name."""
    await services.passkeys.rename(person.user_id, passkey_id, _cleaned(change.name))


@router.post("/passkeys/{passkey_id}/remove", status_code=204, responses=answers(403, 404, 429))
async def remove_passkey(passkey_id: uuid.UUID, proof: Proof, person: ProfileWriter, services: ServicesDep) -> None:
    """Take a passkey away."""
    await must_be_fresh(services, person, proof.current_password)
    await services.passkeys.remove(person.user_id, passkey_id, person.peer, person.actor)


def _cleaned(name: str) -> str:
    try:
        return clean_name(name)
    except RuleError as error:
        raise Refused(error) from None
