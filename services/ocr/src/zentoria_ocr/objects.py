"""Buckets of the object storage, and of which user's what is in them."""

from __future__ import annotations

from obstore.store import S3Store
from pydantic import SecretStr
from zentoria_common.s3 import make_store
from zentoria_common.settings import S3Settings


class Objects:
    """Stores by their buckets. Nothing connects before it is used."""

    def __init__(self, settings: S3Settings, secret_key: SecretStr) -> None:
        self._settings, self._secret_key = settings, secret_key
        self._stores: dict[str, S3Store] = {}

    def bucket(self, name: str) -> S3Store:
        """The store of one bucket."""
        if name not in self._stores:
            self._stores[name] = make_store(self._settings, self._secret_key, name)
        return self._stores[name]
