"""What the unit tells the service, and its passwords."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from zentoria_common import settings as common
from zentoria_common.settings import DatabaseSettings, IdentitySettings, Name, Port, S3Settings, Seconds

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Url = Annotated[str, Field(max_length=300, pattern=r"^https?://[A-Za-z0-9._:/-]+$")]


class Settings(DatabaseSettings, S3Settings, IdentitySettings):
    """What the service is told by its unit. Times are in seconds, sizes in bytes."""

    http_port: Port = 8100
    container_name: Name = "embeddings"
    database_name: Name = "zentoria_vectors"
    database_port: Port = 5432

    s3_bucket_uploads: Name = "uploads"
    s3_bucket_documents: Name = "documents"
    """The only buckets that objects are read from."""

    engine_url: Url = "http://127.0.0.1:11434/v1"
    embedding_model: Annotated[str, Field(min_length=1, max_length=100)] = "bge-small-en-v1.5"
    embedding_version: Annotated[str, Field(min_length=1, max_length=40)] = "1"
    embedding_dimension: Annotated[int, Field(ge=1, le=2000)] = 384
    embedding_query_prefix: Annotated[str, Field(max_length=200)] = ""
    embedding_passage_prefix: Annotated[str, Field(max_length=200)] = ""
    """What the model wants before a question and before a passage, as its card says."""
    embedding_batch: Annotated[int, Field(ge=1, le=256)] = 16
    tokenizer_file: Path | None = None
    """``tokenizer.json`` of the embedding model, where it is not BERT's uncased vocabulary."""
    chunk_tokens: Annotated[int, Field(ge=64, le=8192)] = 512
    chunk_overlap: Annotated[int, Field(ge=0, le=512)] = 48

    index_kind: Literal["pgvector", "qdrant"] = "pgvector"
    qdrant_url: Url = "http://127.0.0.1:6333"

    document_max_bytes: Annotated[int, Field(ge=1)] = 512 * 1024 * 1024
    parse_seconds: Seconds = 900.0
    """How long one document may take to be read."""
    parse_page_seconds: Seconds = 60.0
    """How long one page of it may."""
    parse_memory: Annotated[int, Field(ge=64 * 1024 * 1024)] = 1024 * 1024 * 1024
    parse_pages: Count = 2000
    """Pages that are read; of the rest it is said that they were not."""
    parse_unpacked: Annotated[int, Field(ge=1)] = 300 * 1024 * 1024
    """How large the parts of an office document may be, unpacked, together."""
    ingests: Annotated[int, Field(ge=1, le=64)] = 2
    """Documents that are read at the same time; as many again may wait four times over."""

    supported_bound: Share = 0.36
    supported_words: Share = 0.2
    """From which score on the documents support an answer, and the share of words in it. As ``zentoria-rag calibrate``
    found them for bge-small-en-v1.5 and the questions in ``services/rag/tests/library``; another model has others."""


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The passwords of the service; their ``repr`` shows none of them."""

    database_password: SecretStr
    s3_secret_key: SecretStr


def load_settings() -> Settings:
    """Read the settings from the process's environment.

    Raises:
        SettingsError: a variable is missing or wrong, or holds a password.
    """
    return common.read_settings(Settings, Secrets)


def load_secrets(settings: Settings, environ: Mapping[str, str] | None = None) -> Secrets:
    """Read the passwords from their files, else from systemd's credentials.

    Raises:
        SettingsError: a file is missing, unreadable, empty, or readable by every user.
    """
    return common.read_secrets(Secrets, settings, os.environ if environ is None else environ)
