"""Redis and S3 as they are: clients, probes, what is said when they are away."""

from __future__ import annotations

from typing import Any

import obstore
import pytest
import redis.exceptions
from pydantic import SecretStr
from real_servers import RedisServer, S3Server
from zentoria_common.health.probe import Probe, ProbeError
from zentoria_common.redis import OUTAGES, RedisProbe, make_redis
from zentoria_common.s3 import S3Probe, make_store
from zentoria_common.settings import RedisSettings, S3Settings


def redis_settings(server: RedisServer, **changes: Any) -> RedisSettings:
    values: dict[str, Any] = {"redis_host": server.host, "redis_port": server.port, "redis_user": "backend"}
    return RedisSettings(**(values | changes))


def s3_settings(server: S3Server, **changes: Any) -> S3Settings:
    return S3Settings(**({"s3_endpoint": server.endpoint, "s3_access_key": "backend"} | changes))


async def complaint(probe: Probe) -> tuple[str, str]:
    with pytest.raises(ProbeError) as caught:
        await probe.ask()
    await probe.close()
    return caught.value.reason, caught.value.detail


@pytest.mark.asyncio
async def test_redis_is_used_as_the_services_own_user(redis_server: RedisServer) -> None:
    client = make_redis(redis_settings(redis_server), SecretStr(redis_server.password("backend")))
    await client.set("backend:one", "1", ex=60)
    assert await client.get("backend:one") == "1"
    with pytest.raises(redis.exceptions.NoPermissionError):
        await client.get("auth:family:1")
    probe = RedisProbe(client)
    assert (await probe.ask())["server"] == "redis"
    await probe.close()


@pytest.mark.asyncio
async def test_what_redis_refuses_is_said_without_the_password(redis_server: RedisServer) -> None:
    wrong = RedisProbe(make_redis(redis_settings(redis_server), SecretStr("hunter2")), "hunter2")
    reason, detail = await complaint(wrong)
    assert reason == "login refused"
    assert "hunter2" not in detail
    nobody = make_redis(redis_settings(redis_server, redis_port=1), SecretStr("x"))
    assert (await complaint(RedisProbe(nobody)))[0] == "connection refused"
    with pytest.raises(tuple(OUTAGES)):
        await nobody.get("backend:x")
    await nobody.aclose()


@pytest.mark.asyncio
async def test_a_client_is_well_again_when_redis_is_back(redis_server: RedisServer) -> None:
    client = make_redis(redis_settings(redis_server), SecretStr(redis_server.password("backend")))
    await client.set("backend:kept", "1")
    redis_server.stop()
    with pytest.raises(tuple(OUTAGES)):
        await client.get("backend:kept")
    redis_server.start()
    assert await client.get("backend:kept") == "1"
    await client.aclose()


@pytest.mark.asyncio
async def test_s3_keeps_objects_in_the_buckets_of_its_key(s3_server: S3Server) -> None:
    settings, key = s3_settings(s3_server), SecretStr(s3_server.secret_key("backend"))
    store = make_store(settings, key, "uploads")
    await obstore.put_async(store, "1/one", b"content")
    assert bytes(await (await obstore.get_async(store, "1/one")).bytes_async()) == b"content"
    assert await S3Probe(store).ask() == {"bucket": "uploads"}
    assert (await complaint(S3Probe(make_store(settings, key, "backups"))))[0] == "not permitted"


@pytest.mark.asyncio
async def test_what_s3_refuses_is_said_without_the_key(s3_server: S3Server) -> None:
    reason, detail = await complaint(
        S3Probe(make_store(s3_settings(s3_server), SecretStr("hunter2"), "uploads"), "hunter2")
    )
    assert reason in ("login refused", "not permitted")
    assert "hunter2" not in detail
    away = s3_settings(s3_server, s3_endpoint="http://127.0.0.1:1")
    assert (await complaint(S3Probe(make_store(away, SecretStr("x"), "uploads"))))[0] == "connection refused"
