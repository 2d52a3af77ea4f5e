"""The agent and the prober, each as one compressed text, and the command that runs them in a guest."""

from __future__ import annotations

import functools
import shlex
import zlib
from collections.abc import Sequence
from importlib import resources

MODULES = (
    "failure", "paths", "masking", "common", "run", "files", "unsynced", "packages", "network", "units", "archives",
    "releases", "rollback", "migrations", "owned", "main",
)  # fmt: skip
"""The agent's modules, each after those that it imports."""

PROBER = ("packets", "sniff", "listen", "attempt", "main")
"""The prober's modules, likewise."""

NO_PYTHON = "zentoria: there is no python3 here"
"""What the shell says, with exit code 97, when the guest's template has no Python."""

_LOADER = "import sys,zlib;s=sys.stdin.buffer;exec(zlib.decompress(s.read(int(s.readline()))))"
_SHELL = f"command -v python3 >/dev/null 2>&1 || {{ echo '{NO_PYTHON}'; exit 97; }}; exec python3 -IS -c \"$1\""
_BOOT = """
import sys, types
package = types.ModuleType({package!r})
package.__path__ = []
sys.modules[{package!r}] = package
for name, source in {sources!r}:
    module = types.ModuleType({package!r} + "." + name)
    module.__package__ = {package!r}
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(source, {package!r} + "/" + name + ".py", "exec"), module.__dict__)
sys.modules[{package!r} + ".main"].main()
"""


@functools.cache
def agent() -> bytes:
    """The agent, as the loader reads it: a line with the length, then the compressed source."""
    return _packed("agent", MODULES)


@functools.cache
def prober() -> bytes:
    """The prober, likewise; the same command runs it."""
    return _packed("probe", PROBER)


@functools.cache
def models() -> bytes:
    """What looks after files of models, likewise."""
    return _packed("models", ("main",))


def _packed(name: str, modules: Sequence[str]) -> bytes:
    folder = resources.files("zentoria_infra.guest") / name
    sources = [(module, (folder / f"{module}.py").read_text(encoding="utf-8")) for module in modules]
    packed = zlib.compress(_BOOT.format(package=f"zentoria_{name}", sources=sources).encode(), 6)
    return b"%d\n" % len(packed) + packed


def agent_argv() -> list[str]:
    """The command that runs in the guest. It says nothing of what is to be done: that comes through its input."""
    return ["sh", "-c", _SHELL, "sh", _LOADER]


def bootstrap_argv(proxy: str | None) -> list[str]:
    """A command that installs Python from the guest's package sources, for templates without it.

    Args:
        proxy: URL of the HTTP proxy for apt, or None.
    """
    options = f"-o {shlex.quote('Acquire::http::Proxy=' + proxy)} " if proxy else ""
    line = (
        f"export DEBIAN_FRONTEND=noninteractive; apt-get {options}-q update && "
        f"apt-get {options}-q -y --no-install-recommends install python3"
    )
    return ["sh", "-c", line]
