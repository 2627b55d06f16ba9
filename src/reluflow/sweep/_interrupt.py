"""Ctrl-C ends a sweep after the batch in flight, a second one at once."""

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

from .._support._background import in_background

Result = TypeVar("Result")


class Interrupt:
    """Listens for Ctrl-C while it is open, on the main thread, which alone receives it."""

    def __init__(self, say: Callable[[str], None], kept: str):
        self._say, self._kept = say, kept
        self.asked = False
        self._before, self._listens = None, False

    def __enter__(self) -> "Interrupt":
        self._before = signal.getsignal(signal.SIGINT)
        # A job that a shell started in the background ignores Ctrl-C, and goes on doing so.
        main = threading.current_thread() is threading.main_thread()
        self._listens = main and callable(self._before)
        if self._listens:
            signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *error) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, self._before)

    def wait(self, work: Callable[[], Result]) -> Result:
        """`work()`, during which Ctrl-C is heard."""
        return in_background(work) if self._listens else work()

    def check(self) -> None:
        """Raises KeyboardInterrupt after a first Ctrl-C."""
        if self.asked:
            raise KeyboardInterrupt(f"The sweep was interrupted. {self._kept}")

    def _heard(self, number, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt(f"The sweep was interrupted at once. {self._kept}")
        self.asked = True
        self._say("Ctrl-C: the sweep ends after the batch in flight; once more ends it now.")
