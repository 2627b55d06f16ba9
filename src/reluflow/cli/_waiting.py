"""Ends the program on Ctrl-C, and says what is kept; the work is done by `in_background`."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape

from .._support._background import in_background as in_background

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects


@contextlib.contextmanager
def ending_on_interrupt(console: Console, kept: Callable[[], str]) -> Iterator[None]:
    """Ends the program with code 130 on Ctrl-C, after saying `kept()`: what there is, what to do.

    The exit is immediate: Python would wait for threads that are inside XLA. A second Ctrl-C ends
    the program while what was begun is still being tidied up.
    """
    before = signal.getsignal(signal.SIGINT)
    # A job that a shell started in the background ignores Ctrl-C, and goes on doing so.
    listens = callable(before) and threading.current_thread() is threading.main_thread()
    if listens:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            f"[bold yellow]Interrupted.[/] {escape(kept())}", soft_wrap=True, highlight=False
        )
        _exit_now()
    finally:
        if listens:
            signal.signal(signal.SIGINT, before)


def _interrupt(signum, frame) -> None:
    signal.signal(signal.SIGINT, lambda signum, frame: _exit_now())
    raise KeyboardInterrupt


def _exit_now() -> None:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(INTERRUPTED)
