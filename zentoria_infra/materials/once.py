"""Values that are made once, by whoever asks first; others who ask meanwhile wait for that one and no other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Once(Generic[Key, Value]):
    """A value for each key. Safe from several threads.

    What could not be made is not kept: everybody who waited gets the error, and who asks later tries again.

    Args:
        make: makes the value of a key; called from several threads, and for a key by one at a time.
    """

    def __init__(self, make: Callable[[Key], Value]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._found: dict[Key, Future[Value]] = {}

    def __call__(self, key: Key) -> Value:
        """The value of a key.

        Raises:
            Exception: what making it raised.
        """
        with self._guard:
            found = self._found.get(key)
            mine = found is None
            if found is None:
                found = self._found[key] = Future()
        if mine:
            try:
                found.set_result(self._make(key))
            except BaseException as error:
                with self._guard:
                    del self._found[key]
                found.set_exception(error)
        return found.result()

    def begin(self, keys: Iterable[Key], at_once: int) -> None:
        """Make the values of some keys beforehand, in threads that the end of the program does not wait for.

        What fails here fails again for who asks for it, who then tells.
        """
        waiting: queue.SimpleQueue[Key] = queue.SimpleQueue()
        for key in keys:
            waiting.put(key)

        def work() -> None:
            while True:
                try:
                    key = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    self(key)
                except Exception:  # noqa: S112 -- whoever needs it asks again and gets the error, with its own words
                    continue

        for number in range(min(at_once, waiting.qsize())):
            threading.Thread(target=work, name=f"begin-{number}", daemon=True).start()
