"""What the orchestrator's unit tells it, and its secrets."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from zentoria_common import settings as common
from zentoria_common.identity import Identity
from zentoria_common.settings import DatabaseSettings, IdentitySettings, Port, RedisSettings, Seconds

Url = Annotated[str, Field(max_length=300, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?$")]
ModelName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]


ExternalModel = Annotated[str, Field(max_length=100, pattern=r"^(openai|anthropic):[A-Za-z0-9][A-Za-z0-9._:/-]*$")]


class Settings(DatabaseSettings, RedisSettings, IdentitySettings):
    """What the service is told by its unit. Times are in seconds."""

    http_port: Port = 5000

    engine_url: Url = "http://127.0.0.1:11434/v1"
    """OpenAI's routes of the engine."""
    rag_url: Url | None = None
    """Retrieval; without it answers are made without documents, and say so."""
    models_folder: Path = Path("/var/lib/ollama/models")
    """Where the engine keeps its weights: the small embedding model is read from there, once it is there."""
    prompts_folder: Path = Path("/etc/zentoria/orchestrator")
    """System prompts, one file each: the owner's to change."""

    chat_model: ModelName = "llama3.2:3b"
    embedding_model: ModelName = "bge-small-en-v1.5"
    """Name of the folder of the embedding model below ``models_folder``."""
    context_tokens: Annotated[int, Field(ge=512, le=1_000_000)] = 4096
    """What the chat model takes in, prompt and answer together."""
    answer_tokens: Annotated[int, Field(ge=16, le=100_000)] = 512
    """How long an answer may be."""
    first_token_timeout: Seconds = 300.0
    """How long the engine may read the prompt."""
    stall_timeout: Seconds = 60.0
    """How long it may say nothing in mid-answer."""
    plan_timeout: Seconds = 45.0
    """How long a model may think about a plan; the gateway waits for 60 s."""
    search_timeout: Seconds = 20.0
    """How long retrieval may take."""
    concurrent_answers: Annotated[int, Field(ge=1, le=1000)] = 8
    """Answers at a time; more are refused with 503, for a queue that stands is worth nothing to those in it."""
    concurrent_answers_user: Annotated[int, Field(ge=1, le=1000)] = 2
    cache_seconds: Annotated[int, Field(ge=0, le=86_400)] = 3600
    """How long an answer to the same question over the same passages is kept. 0: not at all."""
    external_models: tuple[ExternalModel, ...] = ()
    """Models of others that may be chosen, as ``openai:gpt-5`` or ``anthropic:claude-sonnet-5``. None: off."""
    openai_api_key_file: Path | None = None
    anthropic_api_key_file: Path | None = None


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The passwords of the service; their ``repr`` shows none of them."""

    database_password: SecretStr
    redis_password: SecretStr


@dataclasses.dataclass(frozen=True)
class IdentitySecrets:
    """The key with which the service shows other containers who it is."""

    identity_key: SecretStr


def load_identity(settings: Settings, environ: Mapping[str, str] | None = None) -> Identity | None:
    """Read the service's own key; None where it has none, as on a developer's machine.

    Raises:
        SettingsError: the file is missing or unreadable, or holds something else.
    """
    folder = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    if settings.identity_key_file is None and not (folder and (Path(folder) / "identity_key").exists()):
        return None
    key = common.read_secrets(IdentitySecrets, settings, environ).identity_key
    return Identity(settings.container_name, key)


@dataclasses.dataclass(frozen=True)
class _OpenAI:
    openai_api_key: SecretStr


@dataclasses.dataclass(frozen=True)
class _Anthropic:
    anthropic_api_key: SecretStr


def load_api_keys(settings: Settings) -> dict[str, SecretStr]:
    """Keys of external models' providers, of those that are there. None is read while no external model is on.

    Raises:
        SettingsError: a file is missing or unreadable.
    """
    found = {}
    if settings.external_models and settings.openai_api_key_file is not None:
        found["openai"] = common.read_secrets(_OpenAI, settings).openai_api_key
    if settings.external_models and settings.anthropic_api_key_file is not None:
        found["anthropic"] = common.read_secrets(_Anthropic, settings).anthropic_api_key
    return found
