"""E-mail, which a workflow sends with the user's own account."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.commands import mail
from zentoria_backend.commands.schemas import Mail
from zentoria_backend.files import service as files
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Offer, Outcome, under_approval

Address = Annotated[str, Field(max_length=254, pattern=r"^[^\s@\x00<>,;]{1,64}@[^\s@\x00<>,;]{1,189}$")]


async def mail_send(
    ctx: Ctx,
    to: Annotated[list[Address], Field(min_length=1, max_length=50)],
    subject: Annotated[str, Field(max_length=300, pattern=r"^[^\x00\r\n]*$")],
    body: Annotated[str, Field(max_length=100_000, pattern=r"^[^\x00]*$")],
    attachments: Annotated[list[UUID], Field(max_length=20, description="files of the user's")] = [],  # noqa: B006 - never changed; the schema shows it
    approval_id: ApprovalId = None,
) -> Outcome:
    """Send an e-mail from the user's account. The user has to approve it first, as it will be sent."""
    here = call(ctx)
    there = [await files.get_file(here.services, here.principal, one) for one in attachments]
    whole = Mail(to=to, subject=subject, body=body, attachments=[one.id for one in there])
    shown = {"to": to, "subject": subject, "body": body, "attachments": [one.filename for one in there]}
    return await under_approval(
        here,
        "mail_send",
        whole.model_dump(mode="json"),
        approval_id,
        ",".join(f"{one.id}:{one.revision}" for one in there) or None,
        lambda: mail.send(here.services, here.principal, whole),
        title=f"Send an e-mail to {', '.join(to[:3])}{' and others' if len(to) > 3 else ''}",
        effects=[Effect(what="e-mail", where=", ".join(to), after=shown)],
    )


OFFERS = (Offer("mail_send", "Send an e-mail", mail_send, kind="changes", effect="send"),)
