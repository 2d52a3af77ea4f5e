"""Objects behind the S3 interface: a store for each bucket, and a probe. The code knows no server but S3."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions
from obstore.store import S3Store
from pydantic import SecretStr

from zentoria_common.health.probe import ProbeError, one_line
from zentoria_common.settings import S3Settings, SettingsError

if TYPE_CHECKING:
    from obstore.store import ClientConfig

OUTAGES: Mapping[type[Exception], str] = {exceptions.GenericError: "s3"}
"""What obstore raises when a server does not answer, or answers with a 5xx.

What it answers with a 4xx are other exceptions, as ``NotFoundError``.
"""

PROBED = "zentoria-probe/nothing"
"""A key that there never is: whether it is there is a question that costs a server next to nothing."""

RETRIES = 2
RETRY_SECONDS = 2
"""After so long a request that failed is not sent again: who waits for it is told so."""
TRANSFER_SECONDS = 600
"""How long one request may take: a part of an upload on a slow disk."""


def make_store(settings: S3Settings, secret_key: SecretStr, bucket: str) -> S3Store:
    """A store of one bucket. Nothing connects before it is used.

    Args:
        settings: where the server is, and as whom.
        secret_key: that belongs to ``settings.s3_access_key``.
        bucket: its name; it has to be there.

    Raises:
        SettingsError: the file of certificates cannot be read.
    """
    client: ClientConfig = {
        "allow_http": settings.s3_endpoint.startswith("http://"),
        "connect_timeout": datetime.timedelta(seconds=settings.dependency_timeout),
        "timeout": datetime.timedelta(seconds=TRANSFER_SECONDS),
    }
    if settings.s3_ca_file is not None:
        try:
            client["root_certificate"] = settings.s3_ca_file.read_bytes()
        except OSError as error:
            raise SettingsError(f"ZENTORIA_S3_CA_FILE: {settings.s3_ca_file}: {error.strerror}") from None
    return S3Store(
        bucket,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key,
        secret_access_key=secret_key.get_secret_value(),
        virtual_hosted_style_request=False,
        client_options=client,
        retry_config={"max_retries": RETRIES, "retry_timeout": datetime.timedelta(seconds=RETRY_SECONDS)},
    )


class S3Probe:
    """Asks whether a key is there that never is. Only the server can say no, and only to whom it knows."""

    name = "s3"

    def __init__(self, store: S3Store, secret_key: str = "") -> None:
        self._store = store
        self._secret_key = secret_key

    async def ask(self) -> dict[str, str]:
        """Send one HEAD."""
        try:
            await obstore.head_async(self._store, PROBED)
        except (FileNotFoundError, exceptions.NotFoundError):
            return {"bucket": str(self._store.config.get("bucket", ""))}
        except (exceptions.BaseError, PermissionError, OSError) as error:
            raise _s3_error(error, self._secret_key) from None
        raise ProbeError("wrong answer", f"{PROBED} is there")

    async def close(self) -> None:
        """Nothing to give back: the store's connections end with it."""


def _s3_error(error: Exception, secret_key: str) -> ProbeError:
    detail = one_line(str(error), secret_key)
    if isinstance(error, exceptions.UnauthenticatedError):
        return ProbeError("login refused", detail)
    if isinstance(error, exceptions.PermissionDeniedError | PermissionError):
        return ProbeError("not permitted", detail)
    lowered = detail.lower()
    if "refused" in lowered:
        return ProbeError("connection refused", detail)
    return ProbeError("connection timed out" if "timed out" in lowered else "cannot connect", detail)
