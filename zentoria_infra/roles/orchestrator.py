"""Container 405: the orchestrator, beside the engine."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_infra.guest.state import File
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.fragment import Context, file
from zentoria_infra.roles.kit.python_service import python_service

PROMPTS = ("chat", "documents", "plan")
"""System prompts: ``templates/prompts/NAME.txt``, which the owner may change."""
FOLDER = "/etc/zentoria/orchestrator"
MEANING = ("embedding", "meaning")
"""Purposes whose model, where it has files, names intents and compares sentences; the last one counts."""


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    engine = context.target(service, "ollama", "http")
    variables: dict[str, object] = {
        "ZENTORIA_ENGINE_URL": f"http://{engine.host}:{engine.port}/v1",
        "ZENTORIA_PROMPTS_FOLDER": FOLDER,
    }
    if clients.callee(context.inventory, service, "rag") is not None:
        found = context.target(service, "rag", "http")
        variables["ZENTORIA_RAG_URL"] = f"http://{found.host}:{found.port}"
    served = context.inventory.served()
    if "chat" in served:
        name, model = served["chat"]
        variables["ZENTORIA_CHAT_MODEL"] = name
        if model.context is not None:
            variables["ZENTORIA_CONTEXT_TOKENS"] = model.context
    for purpose in MEANING:
        if purpose in served and served[purpose][1].files:
            variables["ZENTORIA_EMBEDDING_MODEL"] = served[purpose][0]
    if service.models_folder is not None:
        variables["ZENTORIA_MODELS_FOLDER"] = service.models_folder
    return variables


def _files(context: Context, service: Service) -> tuple[File, ...]:
    return tuple(file(f"{FOLDER}/{name}.txt", context.render(f"prompts/{name}.txt")) for name in PROMPTS)


ROLE = python_service(
    "orchestrator",
    title="AI orchestrator",
    uses=("postgres", "redis"),
    variables=_variables,
    supplied={f"{name}_api_key": f"zentoria/api_keys/{name}" for name in ("openai", "anthropic")},
    files=_files,
    identity=True,
)
