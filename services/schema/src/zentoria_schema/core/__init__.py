"""Models of the database zentoria_core."""

from zentoria_schema.core.accounts import Identity, Passkey, RecoveryCode, Session, SetupLink, TotpFactor, User
from zentoria_schema.core.audit import AuditEntry, AuditHead
from zentoria_schema.core.base import Base
from zentoria_schema.core.files import Document, DocumentPage, File, FileVersion, Upload
from zentoria_schema.core.keys import ApiKey
from zentoria_schema.core.oauth import OAuthClient, OAuthGrant
from zentoria_schema.core.settings import Setting
from zentoria_schema.core.talk import Conversation, Memory, Message
from zentoria_schema.core.work import Approval, IdempotencyKey, Job, Workflow

__all__ = [
    "ApiKey",
    "Approval",
    "AuditEntry",
    "AuditHead",
    "Base",
    "Conversation",
    "Document",
    "DocumentPage",
    "File",
    "FileVersion",
    "IdempotencyKey",
    "Identity",
    "Job",
    "Memory",
    "Message",
    "OAuthClient",
    "OAuthGrant",
    "Passkey",
    "RecoveryCode",
    "Session",
    "Setting",
    "SetupLink",
    "TotpFactor",
    "Upload",
    "User",
    "Workflow",
]
