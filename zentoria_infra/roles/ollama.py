"""Container 405: the engine for language models. Ollama, or ours (``services/engine``) where its source says so.

Both answer OpenAI's routes on the same port. Ollama fetches its models by itself (``zentoria models pull`` asks it to);
those of ours are files that the workstation brings, and are served as soon as they are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from zentoria_infra.inventory.component_model import WorkspaceComponent
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.roles.kit.archive_service import archive_service
from zentoria_infra.roles.kit.fragment import Context, Fragment
from zentoria_infra.roles.kit.python_service import python_service
from zentoria_infra.roles.kit.role import Role

COMPONENT = "ollama"
HOME = "/var/lib/ollama"
FOLDER = f"{HOME}/models"
SETTINGS = frozenset({"cache_type", "keep_alive", "parallel", "waiting"})
"""What Ollama can be told, by the names that our engine has for it."""
CONTEXT = 4096
"""Tokens, where a model says none."""


def _environment(context: Context, service: Service) -> Mapping[str, object]:
    """Ollama's own variables; what stands under ``settings`` has the names of ours, and means the same."""
    wanted = dict(service.settings)
    keep = float(wanted.get("keep_alive", 0))
    return {
        "HOME": HOME,
        "OLLAMA_HOST": f"{context.address}:{service.port('http').first}",
        "OLLAMA_MODELS": FOLDER,
        # For good, unless a time is said: the first answer after a load takes as long as reading gigabytes.
        "OLLAMA_KEEP_ALIVE": f"{keep:g}s" if keep else "-1",
        "OLLAMA_NUM_PARALLEL": wanted.get("parallel", max(1, context.container.resources.cores // 4)),
        "OLLAMA_MAX_QUEUE": wanted.get("waiting", 16),
        "OLLAMA_KV_CACHE_TYPE": wanted.get("cache_type", "f16"),
        "OLLAMA_NOPRUNE": "true",
    }


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    """The models of ours, with the sizes of their files: so it knows how far one is that is being fetched."""
    purposes: dict[str, list[str]] = {}
    for one in service.models:
        purposes.setdefault(one.model, []).append(one.name)
    models = context.inventory.site.models
    described = [
        {
            "name": name,
            "purposes": used,
            "context": models[name].context or CONTEXT,
            **({"dimension": models[name].dimension} if models[name].dimension else {}),
            "files": {file: one.size for file, one in models[name].files.items()},
        }
        for name, used in purposes.items()
    ]
    return {
        "ZENTORIA_MODELS_FOLDER": service.models_folder or FOLDER,
        "ZENTORIA_MODELS": json.dumps(described, separators=(",", ":")),
    }


def _is_ours(inventory: Inventory, service: Service) -> bool:
    return isinstance(inventory.component(service), WorkspaceComponent)


def _build(context: Context, service: Service) -> Fragment:
    role = _ENGINE if _is_ours(context.inventory, service) else _OLLAMA
    return role.build(context, service)


def _checks(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    """Models and settings that the engine which is chosen cannot have."""
    ours = _is_ours(inventory, service)
    for name in sorted(set(service.settings) - SETTINGS) if not ours else ():
        at = inventory.position(container, f"services.{service.name}.settings.{name}")
        yield problem(at, f"Ollama has no '{name}', but {', '.join(sorted(SETTINGS))}")
    for one in service.models:
        model = inventory.site.models.get(one.model)
        if model is None or bool(model.pull) is not ours:
            continue
        at = inventory.position(container, f"services.{service.name}.models.{one.name}")
        text = "has no 'files', which our engine needs" if ours else "has no 'pull', by which Ollama fetches it"
        yield problem(at, f"'{one.model}' {text}")


_OLLAMA = archive_service(
    COMPONENT,
    title="engine for language models",
    command=lambda context, service: ("bin/ollama", "serve"),
    environment=_environment,
    volumes=(HOME,),
    metrics_path=None,
    stop_seconds=30,
)
_ENGINE = python_service(
    COMPONENT,
    title="engine for language models",
    program="zentoria-engine",
    unit="ollama.service",
    variables=_variables,
    health="/health/live",
    packages=("libgomp1",),
)
ROLE = Role(
    COMPONENT,
    _build,
    sources=_OLLAMA.sources | _ENGINE.sources,
    unit="ollama.service",
    ports=("http",),
    volumes=(HOME,),
    checks=_checks,
)
