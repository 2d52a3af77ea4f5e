"""The console script of a service: ``serve``, ``check``, and exit codes that its unit knows."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Generic, TypeVar

import structlog
import uvloop
from fastapi import FastAPI

from zentoria_common import logs
from zentoria_common.check import check
from zentoria_common.health.probe import Probe
from zentoria_common.server import listening_sockets, make_server
from zentoria_common.settings import (
    CommonSettings,
    SettingsError,
    read_secrets,
    read_settings,
    unknown_variables,
)

EX_CONFIG = 78
"""sysexits.h: a configuration error. With ``RestartPreventExitStatus=78`` systemd does not try again."""

_log = structlog.stdlib.get_logger("zentoria_common.program")
_Settings = TypeVar("_Settings", bound=CommonSettings)
_Secrets = TypeVar("_Secrets")


@dataclasses.dataclass(frozen=True)
class Program(Generic[_Settings, _Secrets]):
    """What a service is made of.

    Args:
        name: of its distribution and console script, as ``zentoria-backend``.
        description: one line for ``--help``.
        version: its version.
        settings: its kind of settings.
        secrets: a dataclass of its secrets.
        probes: makes what asks its dependencies; nothing connects before it is asked.
        app: makes the application, which owns the probes from its startup on.
        ports: by name of the socket; used where systemd passes none.
    """

    name: str
    description: str
    version: str
    settings: type[_Settings]
    secrets: type[_Secrets]
    probes: Callable[[_Settings, _Secrets], Sequence[Probe]]
    app: Callable[[_Settings, Sequence[Probe]], FastAPI]
    ports: Callable[[_Settings], Mapping[str, int]]

    def run(self, arguments: list[str] | None = None) -> None:
        """Run it. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
        parser = argparse.ArgumentParser(prog=self.name, description=self.description)
        parser.add_argument("--version", action="version", version=self.version)
        commands = parser.add_subparsers(dest="command", metavar="COMMAND")
        commands.add_parser("serve", help="serve (the default)")
        checker = commands.add_parser("check", help="ask the dependencies, print JSON, exit 0 when all answer")
        checker.add_argument("--wait", type=float, default=15.0, metavar="SECONDS", help="keep trying (default 15)")
        options = parser.parse_args(arguments)
        try:
            settings = read_settings(self.settings, self.secrets)
            secrets = read_secrets(self.secrets, settings)
        except SettingsError as error:
            sys.stderr.write(f"{self.name}: settings: {error}\n")
            sys.exit(EX_CONFIG)
        probes = self.probes(settings, secrets)
        package = self.name.replace("-", "_")
        if options.command == "check":
            logs.configure("critical", "stderr", package)  # the report says it all, on standard output is nothing else
            checking = check(
                probes, name=self.name, version=self.version, timeout=settings.dependency_timeout, patience=options.wait
            )
            sys.exit(uvloop.run(checking))
        logs.configure(settings.log_level, package=package)
        for name in unknown_variables(self.settings, os.environ):
            _log.warning("unknown setting", names=name)
        self._serve(settings, probes)

    def _serve(self, settings: _Settings, probes: Sequence[Probe]) -> None:
        # uvicorn raises the signal again after its graceful stop, for the handler that was there before: this one.
        signal.signal(signal.SIGTERM, _stopped)
        signal.signal(signal.SIGINT, _stopped)
        try:
            sockets = listening_sockets(settings.bind_host, self.ports(settings))
        except OSError as error:
            sys.stderr.write(f"{self.name}: cannot listen: {error.strerror or error}\n")
            sys.exit(1)
        server = make_server(settings, self.app(settings, probes))
        _log.info("starting", version=self.version, sockets=list(sockets))
        server.run(sockets=list(sockets.values()))


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
