"""One file from a URL, checked by SHA-256, fetched once."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable

import requests
import tenacity
import urllib3.exceptions

from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache, MismatchError

Progress = Callable[[int, int | None], None]
"""Told after each piece: bytes so far, and bytes in all where the server says so."""

CONNECT_SECONDS = 10
SILENCE_SECONDS = 60
"""How long a server may send nothing."""
TRIES = 3
MAX_BYTES = 8 << 30
_CHUNK = 1 << 18
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class _PassingError(Exception):
    """Something that may pass: worth another try."""


def fetch(
    url: str,
    sha256: str,
    cache: BlobCache,
    *,
    proxy: str | None = None,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> str:
    """Bring the file at ``url`` into the cache; return its hash. A file that is there already asks nobody.

    Args:
        url: ``https://`` or ``http://``; the hash makes the second as safe as the first.
        sha256: what the file's SHA-256 must be.
        cache: where it is kept.
        proxy: a proxy for this download; None takes the environment's (``HTTPS_PROXY``, ``NO_PROXY``).
        progress: told how far it is.
        pause: seconds before the second try; twice as long before the third.

    Raises:
        ArtifactError: it cannot be reached, is not there, or has another hash.
    """
    if sha256 in cache:
        return sha256
    shown = shown_url(url)
    tried = f"fetch {shown}"
    proxies = {"http": proxy, "https": proxy} if proxy else None
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_PassingError),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=tenacity.wait_exponential(multiplier=pause),
        reraise=True,
    )
    with cache.incoming() as (stream, keep):

        def download() -> None:
            stream.restart()
            with requests.get(
                url, stream=True, timeout=(CONNECT_SECONDS, SILENCE_SECONDS), proxies=proxies
            ) as response:
                if response.status_code in _AGAIN:
                    raise _PassingError(f"HTTP {response.status_code} {response.reason}")
                if response.status_code != 200:
                    raise ArtifactError(
                        tried,
                        got=f"HTTP {response.status_code} {response.reason}",
                        todo="check the component's URL in the inventory",
                    )
                _copy(response, stream.write, progress)

        def attempt() -> None:
            try:
                download()
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise _PassingError(_reason(error)) from error

        try:
            retrying(attempt)
        except _PassingError as error:
            raise ArtifactError(
                tried,
                got=f"{error} ({TRIES} tries)",
                todo="check the network and the proxy, or give the component another source in the site's file",
            ) from error
        try:
            return keep(sha256)
        except MismatchError as error:
            raise ArtifactError(
                tried,
                got=f"the file ({stream.size:,} bytes) has SHA-256 {error.found}, the inventory says {error.expected}",
                todo="the file was changed or replaced: make sure which one is right before you change the inventory",
            ) from None


def shown_url(url: str) -> str:
    """The URL without user name, password and query, which may be secrets."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _copy(response: requests.Response, write: Callable[[bytes], object], progress: Progress | None) -> None:
    # An encoded body's length says nothing about the decoded one, and requests decodes.
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() and not encoded else None
    done = 0
    for chunk in response.iter_content(_CHUNK):
        done += len(chunk)
        if done > MAX_BYTES:
            raise ArtifactError(
                "fetch a file",
                got=f"it is larger than {MAX_BYTES:,} bytes",
                todo="check the URL of that component in the site file: nothing that is installed is so large",
            )
        write(chunk)
        if progress is not None:
            progress(done, total)
    if total is not None and done < total:
        raise _PassingError(f"the connection ended after {done:,} of {total:,} bytes")


def _reason(error: Exception) -> str:
    """Why, in few words. The texts of requests hold whole URLs, with what is secret in them."""
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy could not be reached or refused"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate was not accepted"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS} s"
    if isinstance(error, requests.exceptions.Timeout):
        return f"nothing was sent for {SILENCE_SECONDS} s"
    if isinstance(error, requests.exceptions.ConnectionError | urllib3.exceptions.HTTPError):
        return "the connection failed or broke"
    return type(error).__name__
