"""The console script of a service: ``serve``, ``check``, and exit codes that its unit knows."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import FrameType
from typing import Generic, TypeVar

import structlog
import uvloop
from fastapi import FastAPI

from zentoria_common import logs
from zentoria_common.check import check, refused
from zentoria_common.health.probe import Probe
from zentoria_common.server import Watcher, listening_sockets, make_server
from zentoria_common.settings import (
    CommonSettings,
    SettingsError,
    read_secrets,
    read_settings,
    unknown_variables,
)
from zentoria_common.workers import Workers

EX_CONFIG = 78
"""sysexits.h: a configuration error. With ``RestartPreventExitStatus=78`` systemd does not try again."""
COLLECT = (10_000, 20, 20)
"""When garbage is looked for (``gc.set_threshold``): a request makes thousands of objects, and hardly a cycle."""

_log = structlog.stdlib.get_logger("zentoria_common.program")
_Settings = TypeVar("_Settings", bound=CommonSettings)
_Secrets = TypeVar("_Secrets")


@dataclasses.dataclass(frozen=True)
class Command(Generic[_Settings, _Secrets]):
    """A further command of a service's program, with the same settings and secrets.

    Args:
        name: as ``users``.
        help: one line for ``--help``.
        configure: adds its arguments.
        run: does it, and returns the exit code. Log lines go to standard error, warnings and errors alone.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[_Settings, _Secrets, argparse.Namespace], Coroutine[None, None, int]]


def _nothing(*_: object) -> Sequence[Probe]:
    return ()


@dataclasses.dataclass(frozen=True)
class Program(Generic[_Settings, _Secrets]):
    """What a service is made of.

    Args:
        name: of its distribution and console script, as ``zentoria-backend``.
        description: one line for ``--help``.
        version: its version.
        settings: its kind of settings.
        secrets: a dataclass of its secrets.
        probes: makes what ``check`` asks; nothing connects before it is asked.
        app: makes the application, with probes and whatever else of its own.
        ports: by name of the socket; used where systemd passes none.
        commands: further ones, beside ``serve`` and ``check``.
        required: makes what is asked once before ``serve``: where one of them fails for good (:class:`ProbeError` with
            ``fatal``, as a database at another migration), the service refuses to start. What does not answer at all is
            no reason: the service says so by its health, and goes on when it is back.
    """

    name: str
    description: str
    version: str
    settings: type[_Settings]
    secrets: type[_Secrets]
    probes: Callable[[_Settings, _Secrets], Sequence[Probe]]
    app: Callable[[_Settings, _Secrets], FastAPI]
    ports: Callable[[_Settings], Mapping[str, int]]
    commands: Sequence[Command[_Settings, _Secrets]] = ()
    required: Callable[[_Settings, _Secrets], Sequence[Probe]] = _nothing

    def run(self, arguments: list[str] | None = None) -> None:
        """Run it. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
        parser = argparse.ArgumentParser(prog=self.name, description=self.description)
        parser.add_argument("--version", action="version", version=self.version)
        commands = parser.add_subparsers(dest="command", metavar="COMMAND")
        commands.add_parser("serve", help="serve (the default)")
        checker = commands.add_parser("check", help="ask the dependencies, print JSON, exit 0 when all answer")
        checker.add_argument("--wait", type=float, default=15.0, metavar="SECONDS", help="keep trying (default 15)")
        for command in self.commands:
            added = commands.add_parser(command.name, help=command.help, description=command.help)
            command.configure(added)
        options = parser.parse_args(arguments)
        try:
            settings = read_settings(self.settings, self.secrets)
            secrets = read_secrets(self.secrets, settings)
            sys.exit(self._run(options, settings, secrets))
        except SettingsError as error:
            sys.stderr.write(f"{self.name}: settings: {error}\n")
            sys.exit(EX_CONFIG)

    def _run(self, options: argparse.Namespace, settings: _Settings, secrets: _Secrets) -> int:
        package = self.name.replace("-", "_")
        if options.command == "check":
            logs.configure("critical", "stderr", package)  # the report says it all, on standard output is nothing else
            checking = check(
                self.probes(settings, secrets),
                name=self.name,
                version=self.version,
                timeout=settings.dependency_timeout,
                patience=options.wait,
            )
            return uvloop.run(checking)
        for command in self.commands:
            if options.command == command.name:
                logs.configure("warning", "stderr", package)
                return uvloop.run(command.run(settings, secrets, options))
        logs.configure(settings.log_level, package=package)
        for name in unknown_variables(self.settings, os.environ):
            _log.warning("unknown setting", names=name)
        # asyncio's own loop leaves no threads behind, which workers would be forked beside
        if refusal := asyncio.run(refused(self.required(settings, secrets), settings.dependency_timeout)):
            sys.stderr.write(f"{self.name}: refuses to serve: {refusal}\n")
            return 1
        return self._serve(settings, secrets)

    def _serve(self, settings: _Settings, secrets: _Secrets) -> int:
        # uvicorn raises the signal again after its graceful stop, for the handler that was there before: this one.
        signal.signal(signal.SIGTERM, _stopped)
        signal.signal(signal.SIGINT, _stopped)
        try:
            sockets = listening_sockets(settings.bind_host, self.ports(settings))
        except OSError as error:
            sys.stderr.write(f"{self.name}: cannot listen: {error.strerror or error}\n")
            return 1
        _log.info("starting", version=self.version, sockets=list(sockets), count=settings.workers)
        shared = list(sockets.values())
        if settings.workers == 1:
            return self._run_server(settings, secrets, shared)
        gc.collect()
        gc.freeze()  # what was loaded stays for good, and is in memory once for all workers
        patience = settings.drain_timeout + settings.shutdown_timeout + 5
        return Workers(
            settings.workers, lambda parent: self._run_server(settings, secrets, shared, parent), patience=patience
        ).run()

    def _run_server(
        self, settings: _Settings, secrets: _Secrets, sockets: list[socket.socket], watcher: Watcher | None = None
    ) -> int:
        server = make_server(settings, self.app(settings, secrets), watcher)
        gc.collect()
        gc.freeze()  # what was loaded stays for good: no later collection has to look through it
        gc.set_threshold(*COLLECT)
        server.run(sockets=sockets)
        return 0


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
