"""`reluflow sweep`: runs a grid from a file, and says where its result is."""

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from .grids._file import Grid, read_grid
from .grids._problems import PROBLEMS
from .grids._records import RECORDS
from .grids._refusals import GridError
from .grids._starts import STARTS

STORE, GRID = "results.zarr", "grid.toml"


def read(path: Path) -> Grid:
    """Raises typer.BadParameter, which ends the program with code 2."""
    try:
        return read_grid(path)
    except GridError as error:
        raise typer.BadParameter(str(error), param_hint=str(path)) from error


def explain(console: Console) -> None:
    """The names that a file may hold."""
    for title, rows in (
        ("records", [(name, record.described) for name, record in RECORDS.items()]),
        ("problems", [(name, problem.described) for name, problem in PROBLEMS.items()]),
        ("starts", [(name, start.described) for name, start in STARTS.items()]),
    ):
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table, highlight=False, markup=False)
        console.print()


def part_of(text: str | None) -> tuple[int, int] | None:
    """(3, 8) of "3/8"."""
    if text is None:
        return None
    first, slash, last = text.partition("/")
    if not (slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise typer.BadParameter(
            f"must be a part such as 3/8, the third of eight, but it is {text!r}.",
            param_hint="--part",
        )
    return int(first), int(last)


def counts_of(texts: list[str], grid: Grid) -> dict[str, int]:
    """{"seed": 5} of ["seed=5"]: so many values of an axis, for a trial."""
    found = {}
    for text in texts:
        name, equals, count = text.partition("=")
        name = "log_scale" if name == "scale" else name
        if not (equals and count.isdigit() and int(count) >= 1):
            raise typer.BadParameter(
                f"must be an axis and a number, such as seed=5, but it is {text!r}.",
                param_hint="--first",
            )
        if name not in grid.axes:
            raise typer.BadParameter(
                f"there is no axis {name!r}; there are {', '.join(grid.axes)}.",
                param_hint="--first",
            )
        found[name] = int(count)
    return found


@contextlib.contextmanager
def executor_at(address: str | None) -> Iterator[Any]:
    """That of dask at this address; None without one."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise typer.BadParameter(
            "needs dask, which is not installed: pip install 'reluflow[dask]'", param_hint="--dask"
        ) from error
    try:
        client = Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error).strip() or type(error).__name__
        raise typer.BadParameter(
            f"no scheduler of dask answers at {address}: {why}", param_hint="--dask"
        ) from error
    with client:
        yield client.get_executor()


@contextlib.contextmanager
def kept_grid(source: Path, out: Path) -> Iterator[None]:
    """A copy of the file stands beside the results, for `reluflow show`: from the beginning where
    there is none, and in the place of another one once this grid is not refused."""
    copy = out / GRID
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        _copy(source, copy)
        made_copy = True
    else:
        made_copy = False
    try:
        yield
    except (ValueError, TypeError, ImportError):
        if made_copy and not (out / STORE).exists():
            copy.unlink(missing_ok=True)
            if made:
                with contextlib.suppress(OSError):
                    out.rmdir()
        raise
    _copy(source, copy)


def _copy(source: Path, copy: Path) -> None:
    if copy.exists() and source.samefile(copy):
        return
    draft = copy.with_name(f".{copy.name}-{os.getpid()}")
    shutil.copyfile(source, draft)
    os.replace(draft, copy)


@dataclass(frozen=True)
class Options:
    """What the command line adds to a grid, in the words of `rf.sweep`; see `counts_of`."""

    counts: Mapping[str, int]
    part: tuple[int, int] | None = None
    batch: int | None = None
    rerun_failed: bool = False
    stop_after_failures: int | None = None


def run(grid: Grid, out: Path, options: Options, executor: Any, console: Console) -> Any:
    """The dataset; warnings of the library are said as sentences."""
    from ..sweep import sweep

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *rest, **more: console.print(
            f"Warning: {message}", soft_wrap=True, markup=False, highlight=False
        )
        return sweep(
            grid.measure,
            grid.first(options.counts),
            static=grid.static,
            seed=grid.seed,
            store=out / STORE,
            batch="auto" if options.batch is None else options.batch,
            executor=executor,
            rerun="failed" if options.rerun_failed else None,
            stop_after_failures=options.stop_after_failures,
            part=options.part,
            settings=grid.settings,
            describe=describe(),
        )


AXIS_SYMBOLS = {
    "seed": "seed",
    "log_lambda": r"$\ln\,\lambda$",
    "log_scale": "ln(scale)",
    "neurons": "neurons $m$",
    "samples": "samples $n$",
    "dim": "dimension $d$",
    "rtol": "rtol",
}


def describe() -> dict[str, dict[str, Any]]:
    """Attributes of what a grid may hold."""
    found: dict[str, dict[str, Any]] = {}
    for name, record in RECORDS.items():
        found[name] = {"long_name": record.described, "symbol": record.symbol}
        if name != "result":
            found[name]["units"] = record.units
        if record.dims:
            found[name]["dims"] = list(record.dims)
    for name, symbol in AXIS_SYMBOLS.items():
        found[name] = {"symbol": symbol}
    return found
