"""Container 419: retrieval. Documents are read, cut, embedded by the engine, and found again."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.fragment import Context
from zentoria_infra.roles.kit.python_service import python_service

SPARE = 256
"""MiB of the container's memory that are the service's own and the system's, and not a document's."""
PREFIXES: Mapping[str, tuple[str, str]] = {
    "nomic-embed-text": ("search_query: ", "search_document: "),
    "bge-small-en-v1.5": ("Represent this sentence for searching relevant passages: ", ""),
}
"""What models want before a question and before a passage, as their cards say."""


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    found: dict[str, object] = {
        "ZENTORIA_PARSE_MEMORY": max(SPARE, context.container.resources.memory - SPARE) * 1024 * 1024,
    }
    if clients.callee(context.inventory, service, "ollama") is not None:
        engine = context.target(service, "ollama", "http")
        found["ZENTORIA_ENGINE_URL"] = f"http://{engine.host}:{engine.port}/v1"
    if clients.callee(context.inventory, service, "qdrant") is not None:
        index = context.target(service, "qdrant", "http")
        found["ZENTORIA_QDRANT_URL"] = f"http://{index.host}:{index.port}"
    served = context.inventory.served().get("embedding")
    if served is not None:
        name, model = served
        query, passage = PREFIXES.get(name, ("", ""))
        found |= {
            "ZENTORIA_EMBEDDING_MODEL": name,
            "ZENTORIA_EMBEDDING_DIMENSION": model.dimension or 384,
            "ZENTORIA_EMBEDDING_QUERY_PREFIX": query,
            "ZENTORIA_EMBEDDING_PASSAGE_PREFIX": passage,
        }
    return found


ROLE = python_service("rag", title="retrieval", uses=("postgres", "s3"), variables=_variables, identity=True)
