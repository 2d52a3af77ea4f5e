"""The lab's daemon: the API, the guests' proxy, port forwards and sshd, in one process without a terminal.

``zentoria lab up`` starts it (:mod:`zentoria_infra.lab.control`) and reads on a pipe how it goes: one JSON object a
line, ``{"say": text}``, at last ``{"ready": notes}`` or ``{"error": {...}}``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from zentoria_infra.errors import LabError
from zentoria_infra.lab import certificates, credentials, marks, power, registry, second_storage, site_overlay
from zentoria_infra.lab.api import losses
from zentoria_infra.lab.api.server import ApiServer
from zentoria_infra.lab.certificates import Pki
from zentoria_infra.lab.firewall.enforcer import Enforcer
from zentoria_infra.lab.firewall.facts import PROXY, lab_facts
from zentoria_infra.lab.firewall.reading import Reader
from zentoria_infra.lab.layout import NODE
from zentoria_infra.lab.lxc import network, template
from zentoria_infra.lab.lxc.runtime import LxcRuntime
from zentoria_infra.lab.network import allow_list, name_server, netns
from zentoria_infra.lab.network.forward_proxy import ForwardProxy
from zentoria_infra.lab.network.package_cache import PACKAGES, PackageCache
from zentoria_infra.lab.network.port_forward import PROXY_ADDRESS, PortForward
from zentoria_infra.lab.registry import Lab
from zentoria_infra.lab.runtime import RuntimeFailure
from zentoria_infra.lab.runtimes import attach_words, runtime_of
from zentoria_infra.lab.shell import ssh
from zentoria_infra.lab.shell.openings import CYCLES, Timer, lab_node
from zentoria_infra.lab.supervisor import Supervisor

_LOG = logging.getLogger(__name__)
_LOG_BYTES = 4 << 20
_T = TypeVar("_T")


class Report:
    """Tells whoever started us how it goes; when nobody listens any more, that is no error."""

    def __init__(self, descriptor: int | None) -> None:
        self._stream = None if descriptor is None else os.fdopen(descriptor, "w")

    def say(self, text: str) -> None:
        """A line for the user, while it starts."""
        _LOG.info("%s", text)
        self._send({"say": text})

    def ready(self, notes: list[str]) -> None:
        """Everything answers. ``notes`` are what went wrong all the same."""
        self._send({"ready": notes})
        self._close()

    def failed(self, error: LabError) -> None:
        """It does not start."""
        self._send({"error": {"tried": error.tried, "on": error.on, "got": error.got, "todo": error.todo}})
        self._close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._stream is not None:
            try:
                self._stream.write(json.dumps(message) + "\n")
                self._stream.flush()
            except OSError:
                self._close()

    def _close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None


class Daemon:
    """One lab at work.

    Args:
        lab: what to run.
        report: where to tell how it goes.
    """

    def __init__(self, lab: Lab, report: Report) -> None:
        self._lab = lab
        self._layout = lab.layout
        self._report = report
        self._runtime = runtime_of(lab)
        self._open = contextlib.AsyncExitStack()
        self._enforcer: Enforcer | None = None

    async def run(self) -> None:
        """Start everything, serve until SIGTERM or SIGINT, stop everything.

        Raises:
            LabError: something did not start; what had started is stopped again.
        """
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end.set)
        async with self._open:
            starting = asyncio.create_task(self._start())
            ending = asyncio.create_task(end.wait())
            await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                _LOG.info("told to stop while starting")
                _end_children()
                with contextlib.suppress(LabError, RuntimeFailure, OSError):
                    await starting
                return
            notes = starting.result()
            marks.ready(self._layout).write_text(f"{os.getpid()}\n")
            self._report.ready(notes)
            _LOG.info("ready")
            await ending
            _LOG.info("stopping")
            marks.ready(self._layout).unlink(missing_ok=True)

    async def _start(self) -> list[str]:
        fresh = not self._booted()
        await _in_thread(self._prepare)
        notes = await self._start_firewall()
        pki = Pki(self._layout.secrets)
        certificates.ensure_pki(pki, f"Zentoria lab {self._lab.name} CA", ("127.0.0.1", "localhost"))
        server = ApiServer(
            self._layout, self._runtime, ssl_context=certificates.server_context(pki), release=self._lab.pve
        )
        server.node.fingerprint = certificates.fingerprint(pki)
        server.node.losses.lose_as_told(os.environ.get(losses.VARIABLE, ""))
        if self._enforcer is not None:
            server.node.filtering.carried_out_by(self._enforcer.halt, self._enforcer.go_on)
        await server.start()
        self._open.push_async_callback(server.stop)
        await _in_thread(lambda: second_storage.ensure(self._layout))
        await _in_thread(lambda: credentials.ensure(self._layout))
        if self._lab.guests == "lxc":
            await self._start_network()
        await self._start_sshd()
        timer = Timer(lab_node(self._lab), CYCLES * self._lab.firewall_cycle)
        timer.start()
        self._open.callback(timer.stop)
        site_overlay.write(self._lab)
        marks.booted(self._layout).write_text(marks.boot_id())
        if not fresh:
            return notes
        problems = await _in_thread(lambda: power.start_all(self._layout))
        for problem in problems:
            _LOG.warning("%s", problem)
        return [*notes, *problems]

    def _booted(self) -> bool:
        try:
            same = marks.booted(self._layout).read_text() == marks.boot_id()
        except FileNotFoundError:
            return False
        return same and (self._lab.guests == "none" or netns.exists(self._layout.netns))

    def _prepare(self) -> None:
        if isinstance(self._runtime, LxcRuntime):
            self._runtime.host_up(self._report.say)
            self._runtime.ensure_template(self._report.say)
        elif not self._booted():
            for vmid in power.configurations(self._layout):
                self._runtime.stop(vmid, self._report.say)

    async def _start_firewall(self) -> list[str]:
        """Filter packets before anything can start a guest; gives back what the user must know."""
        if not isinstance(self._runtime, LxcRuntime):
            return []
        layout = self._layout
        enforcer = Enforcer(
            layout.netns, Reader(layout.pve, NODE), lab_facts(strict=self._lab.strict), marks.firewall(layout),
            cycle=self._lab.firewall_cycle, applied_file=marks.in_force(layout),
        )  # fmt: skip
        why_not = await _in_thread(enforcer.start)
        self._open.callback(enforcer.stop)
        self._enforcer = enforcer
        return [f"the firewall is not enforced in this lab: {why_not}"] if why_not else []

    async def _start_network(self) -> None:
        allow = allow_list.of_this_machine(self._lab.allow)
        try:
            listener = netns.listen_in(self._layout.netns, *PROXY)
        except OSError as error:
            raise LabError(
                "start the guests' proxy",
                on="{}:{}".format(*PROXY),
                got=str(error),
                todo="another program holds it in the lab's namespace: `zentoria lab down`, then `zentoria lab up`",
            ) from error
        cache = PackageCache(template.default_cache() / PACKAGES)
        proxy = ForwardProxy(listener, allow, cache, await _in_thread(allow_list.upstream_proxies))
        self._open.callback(listener.close)
        await proxy.start()
        self._open.push_async_callback(proxy.stop)
        _LOG.info("the guests' proxy lets through %s", ", ".join(allow.hosts) or "nothing")
        if not allow.hosts:
            self._report.say("this machine has no package sources: guests can install nothing")
        await self._start_names(allow.hosts)
        for port, inside in ((self._lab.ports.https, 443), (self._lab.ports.http, 80)):
            forward = PortForward(port, self._layout.netns, (PROXY_ADDRESS, inside), network.OUTSIDE)
            await forward.start()
            self._open.push_async_callback(forward.stop)

    async def _start_names(self, hosts: Sequence[str]) -> None:
        names = name_server.NameServer(hosts)
        try:
            await names.start(*name_server.sockets_in(self._layout.netns, PROXY[0]))
        except OSError as error:
            raise LabError(
                "start the guests' name server",
                on=f"{PROXY[0]}:53",
                got=str(error),
                todo="another program holds it in the lab's namespace: `zentoria lab down`, then `zentoria lab up`",
            ) from error
        self._open.push_async_callback(names.stop)

    async def _start_sshd(self) -> None:
        layout = self._layout
        config = ssh.write_files(layout, attach_words(self._runtime), strict=self._lab.strict)
        ssh.ensure_privsep(layout)
        argv = [ssh.program(), "-D", "-e", "-f", str(config)]
        ready: Callable[[], bool] = lambda: _ssh_answers(layout.ssh_port)  # noqa: E731 - typed for the supervisor
        sshd = Supervisor("sshd", argv, layout.logs / "sshd.log", marks.sshd_pid(layout), ready)
        await sshd.start()
        self._open.push_async_callback(sshd.stop)


def _ssh_answers(port: int) -> bool:
    """Whether an SSH server greets on a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _end_children() -> None:
    """End the programs that we wait for (the template's build takes a while). Guests are no children of ours."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.terminate()


async def _in_thread(function: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(None, function)


def _log_to(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name, file in (("", "daemon.log"), ("zentoria_infra.lab.network.forward_proxy", "proxy.log")):
        handler = logging.handlers.RotatingFileHandler(folder / file, maxBytes=_LOG_BYTES, backupCount=2)
        handler.setFormatter(form)
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def main(argv: list[str] | None = None) -> int:
    """Run one lab's daemon; ends at SIGTERM."""
    parser = argparse.ArgumentParser(prog="zentoria-lab")
    parser.add_argument("name")
    parser.add_argument("--report", type=int, default=None)
    options = parser.parse_args(argv)
    report = Report(options.report)
    lab = registry.find(options.name)
    if lab is None:
        report.failed(
            LabError(
                "start the lab's daemon",
                on=options.name,
                got="there is no such lab",
                todo="start it with `zentoria lab up`",
            )
        )
        return 1
    layout = lab.layout
    pid_file = marks.daemon_pid(layout)
    pid_file.write()
    _log_to(layout.logs)
    marks.ready(layout).unlink(missing_ok=True)
    try:
        asyncio.run(Daemon(lab, report).run())
        return 0
    except LabError as error:
        _LOG.error("%s", error)
        report.failed(error)
    except Exception as error:  # a bug must reach the user and the log, there is no terminal
        _LOG.exception("the daemon ended")
        report.failed(LabError("start the lab", got=f"{type(error).__name__}: {error}", todo=f"see {layout.logs}"))
    finally:
        marks.ready(layout).unlink(missing_ok=True)
        pid_file.remove()
    return 1


if __name__ == "__main__":
    sys.exit(main())
