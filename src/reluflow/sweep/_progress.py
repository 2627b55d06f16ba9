"""How far a sweep is: lanes done, rate, time left, failures; shown where there is a terminal."""

import sys
from types import TracebackType
from typing import Any


class StoppedAfterFailures(RuntimeError):
    """As many points failed as `stop_after_failures` allows."""


class Progress:
    """Counts what was done; raises `StoppedAfterFailures` where too much failed.

    It is shown by rich on a terminal and in a notebook. Without rich, or elsewhere, nothing is.
    """

    def __init__(self, shown: bool, stop_after: int | None, kept: str):
        self.done, self.failed = 0, 0
        self._stop_after, self._kept = stop_after, kept
        self._bar, self._task, self._console = _bar() if shown else (None, None, None)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def total(self, points: int) -> None:
        self._update(total=points)

    def doing(self, what: str) -> None:
        self._update(description=what)

    def say(self, text: str) -> None:
        """A line that stays; an interrupted sweep says it without a terminal too."""
        if self._console is not None:
            self._console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr)

    def again(self, points: int) -> None:
        """So many of the points that were done are run once more, in smaller batches."""
        self.done -= points
        self._update(completed=self.done)

    def add(self, points: int, failed: int = 0, names: list[str] | None = None) -> None:
        """So many more are done, of which some failed, with these codes."""
        self.done += points
        self.failed += failed
        self._update(completed=self.done, failed=f"{self.failed} failed" if self.failed else "")
        if failed and self._console is not None:
            self.say(f"{failed} of {points} points failed: {', '.join(names or [])}")
        if self._stop_after is not None and self.failed >= self._stop_after:
            raise StoppedAfterFailures(
                f"{self.failed} points failed ({', '.join(names or []) or 'see above'}), and "
                f"`stop_after_failures` is {self._stop_after}. {self._kept}"
            )

    def _update(self, **fields: Any) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, **fields)


def _bar() -> tuple[Any, Any, Any]:
    """(progress, task, console) of rich; Nones where nothing would be seen."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text
    except ImportError:
        return None, None, None

    class Rate(ProgressColumn):
        def render(self, task):
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g}/s")

    console = Console(stderr=True)
    if not console.is_terminal and not console.is_jupyter:
        return None, None, None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("[red]{task.fields[failed]}"),
    )
    bar = Progress(*columns, console=console)
    return bar, bar.add_task("sweep", total=None, failed=""), console
