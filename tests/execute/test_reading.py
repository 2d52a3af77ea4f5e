"""Threads that read: waited for, but not by somebody who has pressed Ctrl-C."""

import subprocess
import sys
import threading

import pytest

from zentoria_infra.execute.look.reading import readers


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_they_are_waited_for(error: type[Exception] | None) -> None:
    done = threading.Event()

    def work() -> None:
        done.wait(0.1)
        done.set()

    try:
        with readers(1, "test") as pool:
            pool.submit(work)
            if error:
                raise error
    except RuntimeError:
        pass
    assert done.is_set()


def test_ctrl_c_does_not_wait_for_them() -> None:
    """Nor for those that have not begun; and the command ends at once, with its own code and words."""
    script = """
import os, signal, sys, threading, time
from zentoria_infra.cli.commands import inventory as inventory_cmd
from zentoria_infra.cli import main
from zentoria_infra.execute.look.reading import readers

def slow(*args, **options):
    with readers(2, "test") as pool:
        for _ in range(4):
            pool.submit(time.sleep, 60)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        threading.Event().wait(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
inventory_cmd.inventory_of = slow
sys.argv = ["zentoria", "validate"]
main.run()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=40, check=False)
    assert run.returncode == 130, run.stderr
    assert "run the same command again" in run.stderr
    assert "Traceback" not in run.stderr
