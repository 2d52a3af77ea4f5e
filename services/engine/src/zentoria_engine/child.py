"""A process for one chat model: llama.cpp's server, on loopback, until its parent goes.

A model that is too large or broken, or a fault in native code, ends this process and nothing else. It is the first that
the kernel takes when memory runs out. Settings come as one JSON object on standard input; ``{"url": ...}`` or
``{"error": ...}`` goes to standard output, where the rest of what is printed does not come.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "800"


def params(wanted: dict[str, Any]) -> Any:
    """llama.cpp's parameters for a model."""
    # 100 MB of native code that only this process wants
    from xllamacpp import CommonParams, ggml_type

    made = CommonParams()
    made.model.path = wanted["path"]
    made.model_alias = {wanted["name"]}
    made.api_keys = [wanted["key"]]
    made.n_parallel = wanted["slots"]
    made.n_ctx = wanted["context"] * wanted["slots"]
    made.kv_unified = False  # else those who answer at the same time take the context from each other
    made.cpuparams.n_threads = made.cpuparams_batch.n_threads = wanted["threads"]
    made.cpuparams.poll = made.cpuparams_batch.poll = 0  # others want the cores while there is nothing to do
    made.n_gpu_layers = wanted["gpu_layers"]
    made.cache_type_k = made.cache_type_v = getattr(ggml_type, f"GGML_TYPE_{wanted['cache_type'].upper()}")
    made.cache_ram_mib = 0
    made.fit_params = False  # it would make the context smaller, silently
    made.ctx_shift = False  # it would drop what came first, silently
    made.warmup = False
    made.ui = False
    made.endpoint_slots = True
    made.verbosity = 1
    made.n_threads_http = wanted["slots"] + 4
    return made


def main() -> None:
    """Entry point of ``python -m zentoria_engine.child``."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before we could ask to follow it
        return
    with contextlib.suppress(OSError):  # where the kernel does not let us, it chooses by size, which is us as well
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp prints where it likes
    wanted = json.loads(sys.stdin.buffer.readline())
    try:
        from xllamacpp import Server

        server = Server(params(wanted))
        said = {"url": server.listening_address}
    except (RuntimeError, OSError, ImportError, ValueError) as error:
        said = {"error": " ".join(str(error).split())[:300]}
    print(json.dumps(said), file=answers, flush=True)
    if "url" in said:
        sys.stdin.buffer.read()
    os._exit(0)  # its threads need not be waited for: nothing here outlives the process


if __name__ == "__main__":
    main()
