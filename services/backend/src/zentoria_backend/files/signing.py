"""Signs requests to an S3 server: AWS Signature Version 4, in the header ``Authorization``.

obstore signs what it sends itself, and hides the ids of multipart uploads, without which an upload cannot go on in
another request nor be given up by another process. botocore would bring 60 MiB of memory for these lines.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import SecretStr

ALGORITHM = "AWS4-HMAC-SHA256"


def signed_headers(
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    payload_sha256: str,
    *,
    region: str,
    access_key: str,
    secret_key: SecretStr,
    now: datetime.datetime,
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The headers that a request needs besides its own.

    Source: "Authenticating Requests: Using the Authorization Header", Amazon S3 API reference.

    Args:
        method: of HTTP.
        host: with its port, as in the header.
        path: not quoted yet.
        query: likewise.
        payload_sha256: of the body, in hexadecimal digits; the server refuses another one.
        region: of the server.
        access_key: whose request it is.
        secret_key: that belongs to it.
        now: the time in UTC; the server takes requests of the last 15 minutes.
        headers: others that are signed too, in lower case.
    """
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    signed = {"host": host, "x-amz-content-sha256": payload_sha256, "x-amz-date": stamp, **(headers or {})}
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/-_.~"),
            canonical_query(query),
            *(f"{name}:{signed[name].strip()}" for name in sorted(signed)),
            "",
            names,
            payload_sha256,
        )
    )
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = b"AWS4" + secret_key.get_secret_value().encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**signed, "authorization": f"{ALGORITHM} {credential}"}


def canonical_query(query: Mapping[str, str]) -> str:
    """The query as it is signed and sent: quoted, sorted, and with ``=`` also where there is no value."""
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items()))
