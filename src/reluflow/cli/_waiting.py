"""Computes on another thread, so that Ctrl-C is heard at once.

A compiled program, and its compilation, return to Python only when they are done: the main thread,
which alone receives signals, must not be the one that waits inside XLA.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects
_INTERVAL = 0.1  # seconds between two looks at what was computed

Result = TypeVar("Result")


def in_background(work: Callable[[], Result], tick: Callable[[], Any] = lambda: None) -> Result:
    """`work()`, computed on a daemon thread; `tick()` is called here, ten times a second.

    What `work` raises is raised here.
    """
    done, outcome = threading.Event(), []

    def target() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))
        finally:
            done.set()

    threading.Thread(target=target, daemon=True).start()
    while not done.wait(_INTERVAL):
        tick()
    tick()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


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
