"""The six agents, by the intents that are theirs."""

from __future__ import annotations

from zentoria_ai.agents import chat, security
from zentoria_ai.agents.apikey import ApiKeyAgent
from zentoria_ai.agents.chat import ChatAgent
from zentoria_ai.agents.email import EmailAgent
from zentoria_ai.agents.file import FileAgent
from zentoria_ai.agents.kit import Agent
from zentoria_ai.agents.security import SecurityAgent
from zentoria_ai.agents.workflow import WorkflowAgent

CHAT = ChatAgent()
AGENTS: dict[str, Agent] = {
    one.name: one for one in (FileAgent(), EmailAgent(), ApiKeyAgent(), WorkflowAgent(), SecurityAgent(), CHAT)
}


def agent_of(intent: str | None) -> Agent:
    """The agent of an intent; chat has whatever is nobody's."""
    return AGENTS.get((intent or "chat").partition(".")[0], CHAT)


def refined(intent: str, text: str) -> str:
    """The intent as agents tell it apart: one that looks, and one that changes."""
    return chat.refined(security.refined(intent, text), text)
