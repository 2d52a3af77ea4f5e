"""The console script ``zentoria-backend``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

import structlog
import uvloop

from zentoria_backend import __version__, logs
from zentoria_backend.app import create_app, make_probes
from zentoria_backend.check import check
from zentoria_backend.health.probes import Probe
from zentoria_backend.server import listening_sockets, make_server
from zentoria_backend.settings import Settings, SettingsError, load_secrets, load_settings, unknown_variables

EX_CONFIG = 78
"""sysexits.h: a configuration error. With ``RestartPreventExitStatus=78`` systemd does not try again."""

_log = structlog.stdlib.get_logger("zentoria_backend.main")


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    parser = argparse.ArgumentParser(prog="zentoria-backend", description="Zentoria's MCP API gateway.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve HTTP and WebSocket (the default)")
    checker = commands.add_parser("check", help="ask PostgreSQL and Redis, print JSON, exit 0 when both answer")
    checker.add_argument("--wait", type=float, default=15.0, metavar="SECONDS", help="keep trying (default 15)")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        secrets = load_secrets(settings)
    except SettingsError as error:
        sys.stderr.write(f"zentoria-backend: settings: {error}\n")
        sys.exit(EX_CONFIG)
    probes = make_probes(settings, secrets)
    if options.command == "check":
        logs.configure("critical", "stderr")  # the report says it all, and standard output is only the report
        sys.exit(uvloop.run(check(probes, timeout=settings.dependency_timeout, patience=options.wait)))
    logs.configure(settings.log_level)
    for name in unknown_variables(os.environ):
        _log.warning("unknown setting", names=name)
    _serve(settings, probes)


def _serve(settings: Settings, probes: tuple[Probe, ...]) -> None:
    # uvicorn raises the signal again after its graceful stop, for the handler that was there before: this one.
    signal.signal(signal.SIGTERM, _stopped)
    signal.signal(signal.SIGINT, _stopped)
    try:
        sockets = listening_sockets(settings)
    except OSError as error:
        sys.stderr.write(f"zentoria-backend: cannot listen: {error.strerror or error}\n")
        sys.exit(1)
    server = make_server(settings, create_app(settings, probes))
    _log.info("starting", version=__version__, sockets=list(sockets))
    server.run(sockets=list(sockets.values()))


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
