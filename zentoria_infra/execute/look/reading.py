"""Reading many things at once, where Ctrl-C need not wait for the slowest of them."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def readers(at_once: int, name: str) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Threads for work that changes nothing. Ctrl-C leaves them behind: what they would find is not needed any more.

    Args:
        at_once: how many there are at most.
        name: of the threads.
    """
    pool = concurrent.futures.ThreadPoolExecutor(at_once, thread_name_prefix=name)
    waits = True
    try:
        yield pool
    except KeyboardInterrupt:
        waits = False
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=not waits)
