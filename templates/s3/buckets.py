#!/usr/bin/python3
# Made by Zentoria. "check": is every bucket there, with versioning and lifecycle as said? "make": see to it.
# Nothing is ever removed. Python's standard library alone, and the S3 interface alone: any server will do.
import datetime
import hashlib
import hmac
import http.client
import json
import sys
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

SETTINGS = "{{ settings }}/buckets.json"
IDENTITIES = "{{ settings }}/identities.json"
REGION = "us-east-1"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Failed(Exception):
    """What was asked, and what came back."""


def sign(key, *parts):
    """The signing key of Signature Version 4."""
    for part in parts:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def call(host, port, identity, method, path, query="", body=b""):
    """One request, signed (AWS Signature Version 4, a header for each part). Returns status and body."""
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": f"{host}:{port}", "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        (
            method,
            urllib.parse.quote(path),
            query,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            digest,
        )
    )
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = sign(("AWS4" + identity["secretKey"]).encode(), day, REGION, "s3", "aws4_request")
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    scoped = f"Credential={identity['accessKey']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {scoped}, SignedHeaders={names}, Signature={signature}"
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path + ("?" + query if query else ""), body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def flat(element):
    """A document as names and texts, whatever its namespace and white space."""
    name = element.tag.rpartition("}")[2]
    inner = sorted((flat(one) for one in element), key=repr)
    return (name, (element.text or "").strip() if not inner else "", inner)


def same(one, other):
    """Whether two documents say the same. Rules that a server fills with empty elements are the same."""
    try:
        # Our own document and our own server's; entities that grow are stopped by expat (2.4.1 and newer).
        return strip(flat(ElementTree.fromstring(one))) == strip(flat(ElementTree.fromstring(other)))  # noqa: S314
    except ElementTree.ParseError:
        return False


def strip(tree):
    """Without elements that have nothing in them."""
    name, text, inner = tree
    kept = [one for one in (strip(one) for one in inner) if one[1] or one[2]]
    return (name, text, kept)


def lifecycle(rules):
    """The document for a bucket's rules: days by kind."""
    inner = ""
    if days := rules.get("parts_days"):
        inner += (
            f"<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation>"
            "</AbortIncompleteMultipartUpload>"
        )
    if days := rules.get("old_versions_days"):
        inner += f"<NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays></NoncurrentVersionExpiration>"
    return (
        f'<LifecycleConfiguration xmlns="{NAMESPACE}"><Rule><ID>zentoria</ID><Filter><Prefix></Prefix></Filter>'
        f"<Status>Enabled</Status>{inner}</Rule></LifecycleConfiguration>"
    ).encode()


VERSIONING = (
    f'<VersioningConfiguration xmlns="{NAMESPACE}"><Status>Enabled</Status></VersioningConfiguration>'
).encode()


def main(verb):
    """Look at each bucket, and see to it when it is to be made."""
    with open(SETTINGS) as stream:
        wanted = json.load(stream)
    with open(IDENTITIES) as stream:
        identities = json.load(stream)["identities"]
    admin = next(one for one in identities if "Admin" in one["actions"])["credentials"][0]

    def ask(method, path, query="", body=b""):
        return call(wanted["host"], wanted["port"], admin, method, path, query, body)

    def put(path, query="", body=b""):
        # A server that has just started may have no place to write to for a moment.
        for left in range(20, -1, -1):
            status, answer = ask("PUT", path, query, body)
            if status < 300 or (status == 409 and not query):
                return
            if status < 500 or not left:
                raise Failed(f"PUT {path}?{query}: {status} {answer.decode()[:300]}")
            time.sleep(1)

    wrong = []
    for name, rules in sorted(wanted["buckets"].items()):
        path = "/" + name
        if ask("HEAD", path)[0] != 200:
            wrong.append(name + " is missing")
            if verb == "make":
                put(path)
            else:
                continue
        for query, document in (("versioning=", VERSIONING), ("lifecycle=", lifecycle(rules))):
            status, answer = ask("GET", path, query)
            if status != 200 or not same(answer, document):
                wrong.append(name + ": " + query.rstrip("="))
                if verb == "make":
                    put(path, query, document)
    print("\n".join(wrong) or "as said")
    return 1 if wrong and verb == "check" else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except (Failed, OSError, http.client.HTTPException, ValueError, KeyError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
