"""Objects behind the S3 interface: whole ones by obstore, multipart uploads by their own five requests."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

import httpx2
import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store
from pydantic import SecretStr
from zentoria_common.problems import Unavailable
from zentoria_common.s3 import TRANSFER_SECONDS, make_store
from zentoria_common.settings import S3Settings

from zentoria_backend.files.signing import canonical_query, signed_headers

if TYPE_CHECKING:
    from obstore import BytesStream

READ_BYTES = 1 << 20
"""How much of an object is on its way to a client at a time."""
PIECE_BYTES = 256 << 10
"""How much of a part is given to the connection at a time."""

_log = structlog.stdlib.get_logger("zentoria_backend.files")


class NoSuchUpload(Exception):
    """The server knows no multipart upload of that id: it was completed, or given up."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One part that the server has.

    Args:
        number: from 1.
        etag: what the server calls it.
        size: in bytes.
        sha256: of its bytes, in hexadecimal digits.
    """

    number: int
    etag: str
    size: int
    sha256: str


class ObjectStore:
    """Buckets of one S3 server. Nothing connects before it is used.

    Args:
        settings: where it is, and as whom.
        secret_key: of ``settings.s3_access_key``.
        clock: the time in UTC.
    """

    def __init__(
        self,
        settings: S3Settings,
        secret_key: SecretStr,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._settings, self._secret_key, self._clock = settings, secret_key, clock
        self._stores: dict[str, S3Store] = {}
        self._host = urlsplit(settings.s3_endpoint).netloc
        self._client: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Give connections back."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def bucket(self, name: str) -> S3Store:
        """The store of one bucket."""
        if name not in self._stores:
            self._stores[name] = make_store(self._settings, self._secret_key, name)
        return self._stores[name]

    async def put(self, bucket: str, key: str, data: bytes | memoryview) -> None:
        """Write a small object; the server checks its SHA-256.

        Raises:
            Unavailable: the server does not answer, or did not get what was sent.
        """
        await self._ask("PUT", bucket, key, {}, data)

    async def read(
        self, bucket: str, key: str, start: int, length: int, *, chunk: int = READ_BYTES
    ) -> AsyncIterator[bytes]:
        """Open a part of an object; the first chunk comes when it is asked for.

        Args:
            bucket: its bucket.
            key: of the object.
            start: the first byte.
            length: how many, at least one.
            chunk: the least size of what comes at a time, in bytes.

        Raises:
            FileNotFoundError: there is no such object.
            Unavailable: the server does not answer. While it is read, too.
        """
        store = self.bucket(bucket)
        skip = 0
        try:
            try:
                found = await obstore.get_async(store, key, options={"range": (start, start + length)})
            except BaseError as error:
                if "non-partial" not in str(error):
                    raise
                # rclone's server answers a range with 200, which obstore does not take: all of it, then, and we cut
                found, skip = await obstore.get_async(store, key), start
        except (NotFoundError, FileNotFoundError):
            raise FileNotFoundError(key) from None
        except (BaseError, OSError) as error:
            raise _away(error) from error
        return _cut(found.stream(min_chunk_size=chunk), skip, length)

    async def copy(self, bucket: str, key: str, to_bucket: str, to_key: str) -> None:
        """Copy an object within the server; one that is there already is written again, with the same bytes.

        Raises:
            FileNotFoundError: there is no such object.
            Unavailable: the server does not answer, or could not.
        """
        headers = {"x-amz-copy-source": quote(f"/{bucket}/{key}", safe="/-_.~")}
        tree = _tree(await self._ask("PUT", to_bucket, to_key, {}, headers=headers))
        if not tree.tag.endswith("CopyObjectResult"):  # an error after 200, as S3 may answer
            raise Unavailable("s3", "the object storage could not copy an object")

    async def there(self, bucket: str, key: str) -> bool:
        """Whether there is such an object.

        Raises:
            Unavailable: the server does not answer.
        """
        try:
            await obstore.head_async(self.bucket(bucket), key)
        except (NotFoundError, FileNotFoundError):
            return False
        except (BaseError, OSError) as error:
            raise _away(error) from error
        return True

    async def delete(self, bucket: str, *keys: str) -> None:
        """Remove objects; one that is not there is removed already.

        Raises:
            Unavailable: the server does not answer.
        """
        for key in keys:
            try:
                await obstore.delete_async(self.bucket(bucket), key)
            except (NotFoundError, FileNotFoundError):
                continue
            except (BaseError, OSError) as error:
                raise _away(error) from error

    async def keys(self, bucket: str, prefix: str) -> list[str]:
        """Names of objects in the folder ``prefix``, which ends with ``/``.

        Raises:
            Unavailable: the server does not answer.
        """
        try:
            found = await obstore.list(self.bucket(bucket), prefix).collect_async()
        except (BaseError, OSError) as error:
            raise _away(error) from error
        return [str(one["path"]) for one in found]

    async def begin(self, bucket: str, key: str) -> str:
        """Begin a multipart upload; returns its id.

        Raises:
            Unavailable: the server does not answer.
        """
        answer = await self._ask("POST", bucket, key, {"uploads": ""}, headers={"x-amz-checksum-algorithm": "SHA256"})
        return _text(_tree(answer), "UploadId")

    async def put_part(
        self, bucket: str, key: str, upload: str, number: int, data: bytes | memoryview, sha256: str
    ) -> Part:
        """Send one part; the server checks its SHA-256. A part of that number that is there is replaced.

        Raises:
            NoSuchUpload: it was completed or given up meanwhile.
            Unavailable: the server does not answer, or did not get what was sent.
        """
        query = {"partNumber": str(number), "uploadId": upload}
        answer = await self._ask("PUT", bucket, key, query, data, sha256)
        return Part(number, answer.headers.get("etag", "").strip('"'), len(data), sha256)

    async def complete(self, bucket: str, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts.

        Raises:
            NoSuchUpload: it was completed or given up meanwhile.
            Unavailable: the server does not answer, or could not.
        """
        inner = "".join(
            f"<Part><PartNumber>{one.number}</PartNumber><ETag>&quot;{escape(one.etag)}&quot;</ETag>"
            f"<ChecksumSHA256>{_base64(one.sha256)}</ChecksumSHA256></Part>"
            for one in parts
        )
        body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        tree = _tree(await self._ask("POST", bucket, key, {"uploadId": upload}, body))
        if not tree.tag.endswith("CompleteMultipartUploadResult"):  # an error after 200, as S3 may answer
            raise Unavailable("s3", "the object storage could not put the parts together")

    async def abort(self, bucket: str, key: str, upload: str) -> None:
        """Give a multipart upload up; one that is not there is given up already.

        Raises:
            Unavailable: the server does not answer.
        """
        try:
            await self._ask("DELETE", bucket, key, {"uploadId": upload})
        except NoSuchUpload:
            return

    async def unfinished(self, bucket: str, key: str) -> list[str]:
        """Ids of multipart uploads to this key that are not complete.

        Raises:
            Unavailable: the server does not answer.
        """
        try:
            tree = _tree(await self._ask("GET", bucket, "", {"uploads": "", "prefix": key}))
        except NoSuchUpload:  # so says rclone's server where there are none at all
            return []
        every = (one for one in tree if one.tag.rpartition("}")[2] == "Upload")
        return [_text(one, "UploadId") for one in every if _text(one, "Key") == key]

    async def _ask(
        self,
        method: str,
        bucket: str,
        key: str,
        query: Mapping[str, str],
        body: bytes | memoryview = b"",
        sha256: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        path = f"/{bucket}/{key}" if key else f"/{bucket}"
        digest = sha256 or hashlib.sha256(body).hexdigest()
        # The hash that is signed is not looked at by every server; this one is.
        copied = "x-amz-copy-source" in (headers or {})
        checksum = {"x-amz-checksum-sha256": _base64(digest)} if method == "PUT" and not copied else {}
        signed = signed_headers(
            method,
            self._host,
            path,
            query,
            digest,
            region=self._settings.s3_region,
            access_key=self._settings.s3_access_key,
            secret_key=self._secret_key,
            now=self._clock(),
            headers={**checksum, **(headers or {})},
        )
        if self._client is None:
            self._client = self._connected()
        try:
            answer = await self._client.request(
                method,
                f"{self._settings.s3_endpoint}{path}?{canonical_query(query)}",
                headers={**signed, "content-length": str(len(body))} if len(body) > PIECE_BYTES else signed,
                # in pieces: the transport copies what the socket does not take at once
                content=_pieces(body) if len(body) > PIECE_BYTES else bytes(body),
            )
        except httpx2.HTTPError as error:
            raise _away(error) from error
        if answer.status_code == 404 and b"NoSuchUpload" in answer.content:
            raise NoSuchUpload
        if answer.status_code == 404 and copied:
            raise FileNotFoundError(key)
        if answer.is_error:
            _log.warning("s3 refuses", error_type=method, status=answer.status_code)
            raise Unavailable("s3", "the object storage does not take what was sent")
        return answer

    def _connected(self) -> httpx2.AsyncClient:
        settings = self._settings
        verify: str | bool = str(settings.s3_ca_file) if settings.s3_ca_file else True
        timeout = httpx2.Timeout(TRANSFER_SECONDS, connect=settings.dependency_timeout, pool=TRANSFER_SECONDS)
        return httpx2.AsyncClient(verify=verify, timeout=timeout, trust_env=False)


async def _pieces(body: bytes | memoryview) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield bytes(body[start : start + PIECE_BYTES])


async def _cut(stream: BytesStream, skip: int, length: int) -> AsyncIterator[bytes]:
    """The chunks of a stream from ``skip`` on, ``length`` bytes in all."""
    try:
        async for one in stream:
            size = len(one)
            chunk = bytes(one)[skip : skip + length] if skip or size > length else bytes(one)
            skip = max(0, skip - size)
            length -= len(chunk)
            if chunk:
                yield chunk
            if not length:
                return
    except (BaseError, OSError) as error:
        raise _away(error) from error


def _away(error: Exception) -> Unavailable:
    _log.warning("s3 fails", error_type=type(error).__qualname__)
    return Unavailable("s3", "the object storage does not answer at the moment")


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _tree(answer: httpx2.Response) -> ElementTree.Element:
    try:
        # Our own server's, whom we trust with the files; entities that grow are stopped by expat (2.4.1 and newer).
        return ElementTree.fromstring(answer.content)  # noqa: S314
    except ElementTree.ParseError as error:
        raise _away(error) from error


def _text(tree: ElementTree.Element, name: str) -> str:
    for one in tree:
        if one.tag.rpartition("}")[2] == name:
            return one.text or ""
    raise Unavailable("s3", f"the object storage answered without {name}")
