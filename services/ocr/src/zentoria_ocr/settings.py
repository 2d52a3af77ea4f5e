"""What the text recognition's unit tells it, and its passwords."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from zentoria_common.settings import IdentitySettings, Name, Port, S3Settings, Seconds

Language = Annotated[str, Field(pattern=r"^[a-z]{3}(_[a-z]{3,8})?$")]
"""As Tesseract calls it: ``eng``, ``deu``, ``chi_sim``."""
MIB = 1024 * 1024


class Settings(S3Settings, IdentitySettings):
    """What the service is told by its unit. Times are in seconds, sizes in bytes."""

    http_port: Port = 8001
    s3_bucket_uploads: Name = "uploads"
    s3_bucket_documents: Name = "documents"
    """Documents are read from both; searchable ones are written to the second."""
    state_folder: Path = Path("/var/lib/zentoria-ocr")
    """Results of pages, and what is worked on now."""

    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("eng",)
    """That are installed, as JSON list; a page is read in all of them where nobody names others."""
    parallel: Annotated[int, Field(ge=1, le=32)] = 1
    """Documents that are worked on at a time; each in a process of its own."""
    queue: Annotated[int, Field(ge=0, le=1000)] = 8
    """Documents that may wait for that; further ones are refused."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Of one document's recognition."""
    page_seconds: Seconds = 180.0
    """How long one page may take."""
    child_memory: Annotated[int, Field(ge=128 * MIB)] = 1536 * MIB
    """Memory (RLIMIT_DATA) of the process that reads a document, and of each program that it starts."""
    max_document_bytes: Annotated[int, Field(ge=1)] = 512 * MIB
    max_pages: Annotated[int, Field(ge=1)] = 2000
    """That one request may ask for."""
    max_pixels: Annotated[int, Field(ge=100_000)] = 40_000_000
    """With which a page is read; a larger one is made smaller."""
    max_image_pixels: Annotated[int, Field(ge=100_000)] = 200_000_000
    """Of an image that is opened at all."""
    second_opinion_below: Annotated[float, Field(ge=0, le=100)] = 75.0
    """A page with less confidence (percent) is read by the second engine too. 0: never."""
    keep_seconds: Annotated[float, Field(ge=0)] = 86_400.0
    """How long results of pages are kept for somebody who comes again."""

    paperless_url: Annotated[str, Field(pattern=r"^$|^https?://[A-Za-z0-9.:_-]+$")] = ""
    """Paperless-ngx. Empty: it is not installed."""
    paperless_token_file: Path | None = None


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The passwords of the service; their ``repr`` shows none of them."""

    s3_secret_key: SecretStr


@dataclasses.dataclass(frozen=True)
class PaperlessSecrets:
    """What Paperless-ngx gave out: the token of the account that documents are put in and read with."""

    paperless_token: SecretStr
