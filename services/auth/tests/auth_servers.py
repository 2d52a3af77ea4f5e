"""What the tests of this service run against: keys, secrets, settings."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from zentoria_auth.settings import Secrets, Settings

PUBLIC_URL = "https://zentoria.test"


def ec_key(curve: ec.EllipticCurve | None = None) -> str:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def secrets(**changes: str) -> Secrets:
    values = {"database_password": "x", "redis_password": "x", "jwt_key": ec_key(), "seal_key": "canary-seal-key"}
    return Secrets(**{name: SecretStr(value) for name, value in (values | changes).items()})


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_host": "127.0.0.1",
        "database_port": 1,
        "database_user": "auth",
        "redis_host": "127.0.0.1",
        "redis_port": 1,
        "redis_user": "default",
        "public_url": PUBLIC_URL,
        "health_interval": 3600.0,
        "dependency_timeout": 2.0,
    }
    return Settings(**(values | changes))
