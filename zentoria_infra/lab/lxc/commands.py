"""Run the programs that the runtime is made of (``mount``, ``ip``, ``lxc-start``...) and say how they failed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from zentoria_infra.lab.runtime import RuntimeFailure

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Search path for programs: a person's own PATH often lacks the sbin folders."""

_TAIL = 600


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for programs: messages in English and a PATH that finds them."""
    return {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **(extra or {})}


def run(
    argv: Sequence[str | Path],
    *,
    feed: str | None = None,
    timeout: float | None = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        argv: the program and its arguments.
        feed: text for its standard input; nothing when None.
        timeout: seconds until it is killed; None waits for ever.
        env: additions to the environment.
        cwd: folder to run in.

    Raises:
        RuntimeFailure: it is not installed, ended with another code than 0, or took too long. The text has
            the form of Proxmox's tasks: ``command 'X' failed: exit code 1``, then the tail of its output.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=feed,
            stdin=subprocess.DEVNULL if feed is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment(env),
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as failure:
        raise RuntimeFailure(f"unable to find command '{words[0]}'") from failure
    except subprocess.TimeoutExpired as failure:
        raise RuntimeFailure(f"command '{' '.join(words)}' failed: got timeout") from failure
    if done.returncode != 0:
        raise RuntimeFailure(failure_text(words, done.returncode, done.stderr or done.stdout))
    return done.stdout


def failure_text(words: Sequence[str], code: int, output: str) -> str:
    """Words for a program that failed, with the end of what it said."""
    tail = output.strip()[-_TAIL:]
    head = f"command '{' '.join(words)}' failed: exit code {code}"
    return f"{head}: {tail}" if tail else head
