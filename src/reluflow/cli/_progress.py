"""What is going on: a moving line on a terminal, now and then a line in a file or a pipe.

It says so while JAX is being imported, and thus imports none of it.
"""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

LOADING = "loading JAX"
_CALLS, _MOST_SKIPPED = 0.2, 1000  # seconds, and steps, between two looks into a compiled loop
_FIRST_LINE, _LAST_INTERVAL = 5.0, 60.0  # seconds between lines, where nothing can move


class Reached(NamedTuple):
    """How far an integration is."""

    time: float
    loss: float
    steps: int
    saved: int

    def described(self, end: float | None = None) -> str:
        """In a line; `end` is the time at which the flow ends, where there is one."""
        of = f" of {end:.4g}" if end is not None and math.isfinite(end) else ""
        return (
            f"t = {self.time:.4g}{of}, loss {self.loss:.3g}, {self.steps} steps, {self.saved} saves"
        )


@contextlib.contextmanager
def loading(console: Console) -> Iterator[None]:
    """Says that it does, where what is imported takes a second or two."""
    with Display(console) as display:
        display.begin(LOADING)
        yield


class Display:
    """One line about what is being done, as a context manager.

    Whoever computes calls `begin` and `reached`, from any thread; whoever waits calls `tick`.
    """

    def __init__(self, console: Console):
        self._console = console
        self._moves = console.is_terminal
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[where]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not self._moves)
        self._task = self._bar.add_task("starting", total=None, where="")
        self._end: float | None = None
        self._doing, self._where = "starting", ""
        self._began, self._wait, self._next = 0.0, 0.0, math.inf
        self._called: float | None = None
        self.last: Reached | None = None

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        self._bar.stop()

    def begin(self, doing: str, end: float | None = None) -> None:
        """A new stage; `end` is the time at which a flow ends, where it is one."""
        self._doing, self._where, self._end = doing, "", end
        self._called, self.last = None, None
        self._began, self._wait = time.monotonic(), _FIRST_LINE
        self._next = self._began + self._wait
        if self._moves:
            self._bar.reset(self._task, total=None, description=doing, where="")
        else:
            self._console.print(f"{doing} ...", soft_wrap=True, highlight=False, markup=False)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, soft_wrap=not self._moves, highlight=False, markup=False)

    def at(self, where: str) -> None:
        """How far the stage is."""
        self._where = where
        if self._moves:
            self._bar.update(self._task, where=where)

    def reached(self, reached: Reached) -> None:
        """How far a flow is."""
        self.last = reached
        self.at(reached.described(self._end))

    def skip_after(self, skipped: int) -> int:
        """After how many steps a loop should call again, that called after this many."""
        now, before = time.monotonic(), self._called
        self._called = now
        if before is None:
            return 1
        wished = skipped * _CALLS / max(now - before, 1e-9)
        # Twice as many at most: the steps that come may take far longer than those before.
        return int(max(1, min(wished, 2 * skipped, _MOST_SKIPPED)))

    def tick(self) -> None:
        """A line, if it is time for one; the times between them grow to a minute."""
        now = time.monotonic()
        if self._moves or now < self._next:
            return
        self._wait = min(2.0 * self._wait, _LAST_INTERVAL)
        self._next = now + self._wait
        self._console.print(
            " ".join(filter(None, (self._doing, self._where, f"({now - self._began:.0f} s)"))),
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
