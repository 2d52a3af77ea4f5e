"""Sends e-mails: n8n does, with the account that its user has given it."""

from __future__ import annotations

from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import parsed, passed_on
from zentoria_backend.commands.schemas import Accepted, Mail
from zentoria_backend.services import Services


async def send(services: Services, principal: Principal, mail: Mail) -> Accepted:
    """Send one.

    Raises:
        Problem: 503, what sends them is not installed yet, or is down.
    """
    answer = await services.callees.call(
        "n8n", "POST", "/internal/v1/mail", user=principal, json=mail.model_dump(mode="json")
    )
    made = parsed(Accepted, passed_on(answer, "n8n"), "n8n")
    await services.audit.record(
        principal, "mail.send", "mail", details={"to": mail.to, "attachments": len(mail.attachments)}
    )
    return made
