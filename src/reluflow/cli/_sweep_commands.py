"""The commands `reluflow sweep` and `reluflow show`, and their options."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import _files, _settings
from ._compilation_cache import NoCache, keep_compiled
from ._progress import loading
from ._waiting import ending_on_interrupt


def sweep(
    grid: Annotated[
        Path | None,
        typer.Argument(metavar="GRID.toml", help="What to measure, and where.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where results are kept; out/GRID by default."),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run batches on the workers of this scheduler."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Run the K-th of N parts alone, as in 3/8."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Points that run together.")
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=N", help="Only so many values of an axis, for a trial."),
    ] = None,
    rerun_failed: Annotated[
        bool, typer.Option("--rerun-failed", help="Run the points again that failed, alone.")
    ] = False,
    stop_after_failures: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End when so many have failed.")
    ] = None,
    list_names: Annotated[
        bool, typer.Option("--list", help="Explain the names that a grid may hold.")
    ] = False,
    no_cache: NoCache = False,
) -> None:
    """Run the grid of a TOML file, and keep every result as soon as it is known.

    The same command goes on after an interruption, and with values
    that were added to an axis. Records such as norm_ratio, result or
    limit_jump_times are explained by --list; examples/sweeps has grids
    of the papers' experiments.

    Ends with code 1 where points failed, which are kept with their codes;
    with 130 after Ctrl-C.
    """
    console, progress = Console(), Console(stderr=True)
    if grid is None and not list_names:
        raise typer.BadParameter("is missing; --help says what it holds.", param_hint="GRID.toml")
    with loading(progress):
        from . import _sweep

        _settings.enable_float64()
        keep_compiled(not no_cache)
    if grid is None:
        _sweep.explain(console)
        return
    read = _sweep.read(grid)
    options = _sweep.Options(
        _sweep.counts_of(first or [], read),
        _sweep.part_of(part),
        batch,
        rerun_failed,
        stop_after_failures,
    )
    out = Path("out") / grid.stem if out is None else out
    _files.check(out, (_sweep.GRID,))
    kept = f"What is complete is kept in {out}; the same command goes on there."
    with ending_on_interrupt(progress, lambda: kept), _sweep.executor_at(dask) as executor:
        ds = _run(read, grid, out, options, executor, progress)
    _report(ds, out, read.title, console)


def _run(read, grid: Path, out: Path, options, executor, progress: Console) -> Any:
    from ..sweep import StoppedAfterFailures
    from . import _sweep

    try:
        with _sweep.kept_grid(grid, out):
            return _sweep.run(read, out, options, executor, progress)
    except StoppedAfterFailures as error:
        progress.print(str(error), soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(1) from error
    except (ValueError, TypeError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint=str(grid)) from error
    except OSError as error:
        progress.print(
            f"Nothing more can be written to {out}: {error.strerror or error}. What was complete "
            "before is kept.",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(1) from error


def _report(ds, out: Path, title: str, console: Console) -> None:
    from . import _show, _sweep

    if title:
        console.print(title, markup=False, highlight=False)
    failed = _show.show(ds, console)
    console.print(
        f"kept in {out / _sweep.STORE}: `reluflow show {out}` draws it, and "
        f"reluflow.sweep.load reads it as an xarray.Dataset.",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if failed:
        console.print(
            "They are kept with their codes, and count in no picture; the same command with "
            "--rerun-failed runs them again.",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def show(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where a sweep keeps its results.", exists=True)
    ],
    record: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Draw this record; may be repeated. All by default."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="AXIS", help="The axis that is drawn below.")
    ] = None,
    along: Annotated[
        str | None,
        typer.Option(metavar="AXIS", help="Draw where on this axis a yes/no record holds."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only points for which this record holds.")
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUE", help="Only this value of an axis; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to draw; DIR/pictures by default.")
    ] = None,
) -> None:
    """Print what a sweep has found, and draw it.

    Draws the pictures that the grid asks for; with --record or --against
    others: median and band over the seeds, the probability of a yes/no
    record, the distribution of times, or a threshold.
    """
    console = Console()
    with loading(Console(stderr=True)):
        from . import _show

    ds = _show.opened(folder)
    _show.show(ds, console)
    ds = _show.selected(ds, select or [], _settings.wrong)
    pictures = _chosen(ds, folder, record, against, along, where)
    out = _pictures_folder(folder) if out is None else out
    names = tuple(f"{picture.name}.png" for picture in pictures)
    _files.check(out, names)
    for picture, name in zip(pictures, names, strict=True):
        try:
            axes = _show.draw(ds, picture, picture.title)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(str(error)) from error
        _show.save(axes, out / name)
        console.print(f"wrote {out / name}", soft_wrap=True, markup=False, highlight=False)


def _pictures_folder(folder: Path) -> Path:
    """Beside a bare store, and not in it."""
    from ._sweep import STORE

    inside = (folder / STORE).exists()
    return folder / "pictures" if inside else folder.with_name(folder.name + "-pictures")


def _chosen(ds, folder: Path, record, against, along, where) -> Any:
    import dataclasses

    from . import _show

    if record is None and against is None and along is None and where is None:
        asked = _show.pictures_of(ds, folder)
        if asked:
            return asked
    pictures = _show.default_pictures(ds, against)
    known = {picture.record[0]: picture for picture in pictures}
    for name in record or []:
        if name not in known:
            raise _settings.wrong(
                "--record", f"there is no {name!r} to be drawn; there are {', '.join(known)}."
            )
    chosen = [known[name] for name in record] if record else list(pictures)
    if along is not None:
        chosen = [
            dataclasses.replace(picture, kind="threshold", along=along)
            for picture in chosen
            if picture.kind == "probability" and picture.against != along
        ]
        if not chosen:
            raise _settings.wrong("--along", "needs a yes/no record, and --against another axis.")
    return [dataclasses.replace(picture, where=where) for picture in chosen]
