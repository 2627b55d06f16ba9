"""Computes on another thread, so that Ctrl-C is heard at once.

A compiled program, and its compilation, return to Python only when they are done: the main thread,
which alone receives signals, must not be the one that waits inside XLA.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

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
