"""What the routes work with: made once, from settings and secrets."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from redis.asyncio import Redis
from starlette.requests import HTTPConnection
from zentoria_common.database import Database, make_engine
from zentoria_common.outbound import Outbound
from zentoria_common.redis import make_redis
from zentoria_common.settings import SettingsError

from zentoria_auth.accounts.hashing import PasswordHasher
from zentoria_auth.accounts.service import Accounts
from zentoria_auth.clock import Clock, wall_clock
from zentoria_auth.factors.passkeys import Passkeys
from zentoria_auth.factors.service import Factors
from zentoria_auth.providers.directory import Directory
from zentoria_auth.providers.service import DirectoryPasswords, Providers
from zentoria_auth.providers.setup import make_directory, make_outbound, make_providers
from zentoria_auth.sealing import Sealer
from zentoria_auth.sessions.browsers import Browsers
from zentoria_auth.sessions.service import Sessions
from zentoria_auth.settings import Secrets, Settings
from zentoria_auth.setup.service import Setup
from zentoria_auth.signin.pending import PendingSteps
from zentoria_auth.signin.service import SignIn
from zentoria_auth.signin.throttle import Throttle
from zentoria_auth.tokens.access import AccessTokens
from zentoria_auth.tokens.keys import SigningKeys, UnusableKey
from zentoria_auth.tokens.refresh import RefreshFamilies


@dataclasses.dataclass(frozen=True)
class Services:
    """Everything that a route may need.

    Args:
        settings: of the service.
        database: zentoria_core.
        redis: of this service's own keys, which begin with :attr:`prefix`.
        clock: the time.
        hasher: passwords to hashes.
        sealer: seals what the database keeps.
        throttle: who may try.
        tokens: signs access tokens.
        sessions: begins, carries on and ends them.
        factors: one-time and recovery codes.
        passkeys: passkeys.
        sign_in: who somebody is.
        accounts: accounts.
        setup: links that work once.
        outbound: asks providers.
        providers: others by whose word people sign in.
        directory: whose passwords are taken too, where there is one.
    """

    settings: Settings
    database: Database
    redis: Redis
    clock: Clock
    hasher: PasswordHasher
    sealer: Sealer
    throttle: Throttle
    tokens: AccessTokens
    sessions: Sessions
    factors: Factors
    passkeys: Passkeys
    sign_in: SignIn
    accounts: Accounts
    setup: Setup
    outbound: Outbound
    providers: Providers
    directory: Directory | None

    @property
    def prefix(self) -> str:
        """What our keys in Redis begin with: its rights are for these."""
        return key_prefix(self.settings)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Open while the application runs; the probes close database and Redis, whose pools they share."""
        try:
            yield
        finally:
            self.hasher.close()
            await self.outbound.close()
            if self.directory is not None:
                self.directory.close()


def key_prefix(settings: Settings) -> str:
    """What our keys in Redis begin with."""
    return f"{settings.container_name}:"


def make_services(settings: Settings, secrets: Secrets, clock: Clock = wall_clock) -> Services:
    """Make them. Nothing connects yet.

    Raises:
        SettingsError: a key is none.
    """
    engine = make_engine(settings, secrets.database_password, application="zentoria-auth")
    database, redis = Database(engine), make_redis(settings, secrets.redis_password)
    prefix = key_prefix(settings)
    tokens = AccessTokens(_keys(settings, secrets), settings.public_url, clock)
    sessions = Sessions(database, RefreshFamilies(redis, prefix), Browsers(redis, prefix), tokens, clock)
    hasher, throttle = PasswordHasher(), Throttle(redis, prefix)
    sealer = Sealer(secrets.seal_key)
    factors = Factors(database, sealer, f"Zentoria ({settings.public_host})", clock)
    passkeys = Passkeys(database, redis, prefix, settings.public_host, settings.public_url, factors, clock)
    accounts = Accounts(database, hasher, sessions, throttle, clock)
    outbound, directory = make_outbound(settings), make_directory(settings)
    providers = make_providers(settings, database, redis, prefix, clock, outbound)
    sources = () if directory is None else (DirectoryPasswords(directory, providers.accounts),)
    return Services(
        settings=settings,
        database=database,
        redis=redis,
        clock=clock,
        hasher=hasher,
        sealer=sealer,
        throttle=throttle,
        tokens=tokens,
        sessions=sessions,
        factors=factors,
        passkeys=passkeys,
        sign_in=SignIn(database, hasher, throttle, factors, passkeys, PendingSteps(redis, prefix), sources),
        accounts=accounts,
        setup=Setup(database, accounts, settings.public_url, clock),
        outbound=outbound,
        providers=providers,
        directory=directory,
    )


def services_of(connection: HTTPConnection) -> Services:
    """Those of the application that took the request."""
    services: Services = connection.app.state.services
    return services


async def _of_request(connection: HTTPConnection) -> Services:  # FastAPI runs a plain function in a thread
    return services_of(connection)


ServicesDep = Annotated[Services, Depends(_of_request)]


def _keys(settings: Settings, secrets: Secrets) -> SigningKeys:
    previous = settings.jwt_previous_key_file
    try:
        before = () if previous is None else (_text(previous),)
        return SigningKeys.read(secrets.jwt_key.get_secret_value(), *before)
    except UnusableKey as error:
        raise SettingsError(f"ZENTORIA_JWT_KEY_FILE or ZENTORIA_JWT_PREVIOUS_KEY_FILE: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"ZENTORIA_JWT_PREVIOUS_KEY_FILE: {path}: {type(error).__name__}") from None
