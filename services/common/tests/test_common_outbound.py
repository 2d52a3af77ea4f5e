from __future__ import annotations

import asyncio
import gzip
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from zentoria_common import outbound
from zentoria_common.outbound import Allowed, Outbound, OutboundError, is_public

HERE = Allowed.parse(["127.0.0.0/8"])
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(head: str, body: bytes = b"", *, end: bool = True) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() + body)
        await writer.drain()
        if not end:
            await reader.read()  # until the client has had enough

    return handle


@asynccontextmanager
async def server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    served = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await handler(reader, writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        await asyncio.gather(*served)


async def refusal(client: Outbound, url: str) -> OutboundError:
    with pytest.raises(OutboundError) as caught:
        await client.get(url)
    await client.close()
    return caught.value


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("1.1.1.1", True), ("2606:4700::1111", True), ("64:ff9b::101:101", True),
        ("0.1.2.3", False), ("10.10.40.4", False), ("100.64.0.1", False), ("127.0.0.1", False), ("127.1.2.3", False),
        ("169.254.169.254", False), ("172.16.0.1", False), ("192.0.0.1", False), ("192.168.1.1", False),
        ("198.18.0.1", False), ("203.0.113.1", False), ("224.0.0.1", False), ("239.1.1.1", False),
        ("240.0.0.1", False), ("255.255.255.255", False),
        ("::", False), ("::1", False), ("::ffff:10.0.0.1", False), ("::ffff:127.0.0.1", False),
        ("64:ff9b::a0a:2804", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("2002:a0a:2804::1", False),
        ("2001:0:a0a:2804::1", False), ("fc00::1", False), ("fd12::1", False), ("fe80::1", False), ("ff02::1", False),
        ("2001:db8::1", False), ("::7f00:1", False), ("::a0a:2804", False), ("fec0::1", False), ("5f00::1", False),
        ("3fff::1", False), ("::ffff:0:127.0.0.1", False), ("2a00:1450:4001:80e::200e", True),
    ],
)  # fmt: skip
def test_what_is_the_internet(text: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(text)) is public


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_ipv6_clothes(address: ipaddress.IPv4Address) -> None:
    if not is_public(address):
        for prefix in ("::ffff:0:0", "64:ff9b::"):
            assert not is_public(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address)))
        assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80)))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://2130706433/",
        "https://0x7f000001/", "https://127.1/", "https://0/", "https://localhost/", "https://localhost./",
        "https://LOCALHOST/", "https://169.254.169.254/latest/meta-data/", "https://10.10.40.4:6432/",
        "http://1.1.1.1/", "https://1.1.1.1:22/", "ftp://1.1.1.1/", "file:///etc/passwd", "gopher://x/", "//x/", "x",
        "", "https://", "https:///x", "https://user:hunter2@example.com/", "https://user@127.0.0.1/",
        "https://\u2460\u2461\u2466.0.0.1/", "https://exa\nmple.com/", "https://x:99999999/", "https://[::1%25lo]/",
    ],
)  # fmt: skip
async def test_nothing_of_ours_is_asked(url: str) -> None:
    error = await refusal(Outbound(timeout=5), url)
    assert error.reason in ("refused", "unreachable")
    assert "hunter2" not in str(error)


@pytest.mark.asyncio
async def test_a_name_is_judged_by_what_it_resolves_to_when_the_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = iter([["127.0.0.1"], ["10.0.0.1", "::1"], []])

    async def resolve(host: str, port: int) -> list[outbound.Address]:
        return [ipaddress.ip_address(one) for one in next(turns)]

    monkeypatch.setattr(outbound, "resolve", resolve)
    client = Outbound()
    for _ in range(3):
        with pytest.raises(OutboundError) as caught:
            await client.get("https://rebinding.example/")
        assert caught.value.reason == "refused"
    await client.close()


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for ``idp.example``, and the file of its issuer (itself)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("idp.example")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    chain, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, private)
    return context, chain


@pytest.mark.asyncio
async def test_the_name_is_kept_for_tls_while_the_address_is_the_judged_one(
    monkeypatch: pytest.MonkeyPatch, authority: tuple[ssl.SSLContext, Path]
) -> None:
    async def resolve(host: str, port: int) -> list[outbound.Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    monkeypatch.setattr(outbound, "resolve", resolve)
    context, ca = authority
    async with server(answering("200 OK\r\nContent-Length: 8", b'{"a": 1}'), context) as port:
        client = Outbound(HERE, ca_file=ca)
        answer = await client.get(f"https://idp.example:{port}/x")
        assert (answer.status, answer.json()) == (200, {"a": 1})
        await client.close()
        # The same server under a name that its certificate has not.
        assert (await refusal(Outbound(HERE, ca_file=ca), f"https://other.example:{port}/")).reason == "unreachable"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answering("200 OK\r\nContent-Length: 3000", b"x" * 3000), "too large"),
        (answering("200 OK\r\nContent-Length: 99", b"x", end=False), "timeout"),
        (answering("200 OK\r\nContent-Encoding: gzip", gzip.compress(b"x" * 10**6)), "bad answer"),
        (answering("200 OK\r\nContent-Length: 99", b"x"), "unreachable"),
        (answering("nonsense"), "unreachable"),
    ],
)
async def test_an_answer_is_bounded(handler: Handler, reason: str) -> None:
    async with server(handler) as port:
        client = Outbound(HERE, timeout=1.0, max_bytes=2000)
        assert (await refusal(client, f"http://127.0.0.1:{port}/")).reason == reason


@pytest.mark.asyncio
async def test_a_redirect_is_an_answer_like_any_other() -> None:
    async with server(answering("302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0")) as port:
        client = Outbound(Allowed.parse(["localhost"]))
        answer = await client.get(f"http://localhost:{port}/")
        assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:1/")
        await client.close()


@pytest.mark.asyncio
async def test_deep_json_is_a_bad_answer() -> None:
    body = b"[" * 100_000
    async with server(answering(f"200 OK\r\nContent-Length: {len(body)}", body)) as port:
        client = Outbound(HERE)
        answer = await client.get(f"http://127.0.0.1:{port}/")
        with pytest.raises(OutboundError, match="no JSON"):
            answer.json()
        await client.close()
