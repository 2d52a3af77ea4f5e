"""Objects of the two buckets, read into a file and checked."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store
from pydantic import SecretStr
from zentoria_common.problems import Unavailable
from zentoria_common.s3 import make_store

from zentoria_rag.parsing.model import DocumentError
from zentoria_rag.settings import Settings

READ_BYTES = 1 << 20
_log = structlog.stdlib.get_logger("zentoria_rag.documents")


class NoSuchObject(Exception):
    """There is none of that name, or its bucket is not one that is read."""


class Objects:
    """The buckets that documents lie in. Nothing connects before it is used."""

    def __init__(self, settings: Settings, secret_key: SecretStr) -> None:
        self._settings, self._secret_key = settings, secret_key
        self._stores: dict[str, S3Store] = {}

    def bucket(self, name: str) -> S3Store:
        """The store of one bucket.

        Raises:
            NoSuchObject: it is not one that is read.
        """
        if name not in (self._settings.s3_bucket_uploads, self._settings.s3_bucket_documents):
            raise NoSuchObject(name)
        if name not in self._stores:
            self._stores[name] = make_store(self._settings, self._secret_key, name)
        return self._stores[name]

    async def fetch(self, bucket: str, key: str, sha256: str, to: Path) -> None:
        """Write an object to a file.

        Raises:
            NoSuchObject: see there.
            DocumentError: it is too large, or other bytes than were said.
            Unavailable: the server does not answer.
        """
        most = self._settings.document_max_bytes
        digest, size = hashlib.sha256(), 0
        try:
            found = await obstore.get_async(self.bucket(bucket), key)
            if int(found.meta["size"]) > most:
                raise DocumentError("too-large", f"it has more than {most // 1024 // 1024} MiB")
            with to.open("wb") as file:
                async for piece in found.stream(min_chunk_size=READ_BYTES):
                    data = bytes(piece)
                    size += len(data)
                    digest.update(data)
                    await asyncio.to_thread(file.write, data)
        except (NotFoundError, FileNotFoundError):
            raise NoSuchObject(key) from None
        except (BaseError, OSError) as error:
            _log.warning("s3 fails", error_type=type(error).__qualname__)
            raise Unavailable("s3", "the object storage does not answer at the moment") from error
        if digest.hexdigest() != sha256:
            raise DocumentError("changed", "the object's bytes are not those that were announced")
