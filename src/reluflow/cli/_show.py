"""`reluflow show`: what a store holds, as a table and as pictures."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from ..sweep._variables import STATUS
from ._sweep import GRID, STORE, describe
from .grids._pictures import Picture, read_pictures
from .grids._refusals import GridError

_ROWS = 24  # of medians, for each table
_TIMES = ("limit_jump_times", "event_times")


def opened(folder: Path) -> Any:
    """The dataset of a directory of `reluflow sweep`, or of a store of `rf.sweep`."""
    from ..sweep import load

    store = folder / STORE if (folder / STORE).exists() else folder
    try:
        return load(store, describe=describe())
    except (ValueError, OSError) as error:
        raise typer.BadParameter(
            f"{folder} holds no sweep: there is neither {STORE} in it, nor is it a store of "
            f"rf.sweep ({error})",
            param_hint="DIR",
        ) from error


def pictures_of(ds: Any, folder: Path) -> tuple[Picture, ...]:
    """Those that the grid beside the store asks for; nothing else of it is read, since files of
    data may be elsewhere now."""
    if not (folder / GRID).is_file():
        return ()
    try:
        given = tomllib.loads((folder / GRID).read_text(encoding="utf-8"))
        names = tuple(str(name) for name in ds.data_vars)
        axes = tuple(str(dim) for dim in ds.status.dims)
        return read_pictures(given.get("pictures", []), names, axes)
    except (tomllib.TOMLDecodeError, GridError) as error:
        raise typer.BadParameter(str(error), param_hint=str(folder / GRID)) from error


def default_pictures(ds: Any, against: str | None) -> tuple[Picture, ...]:
    """Of every record one, against the axis of numbers with the most values but for the seed."""
    from ..plot._sweep_data import lines

    numeric = [str(dim) for dim in ds.status.dims if dim != "seed" and ds[dim].dtype.kind in "if"]
    axis = against or max(numeric, key=lambda dim: ds.sizes[dim], default=None)
    found = []
    for name, variable in ds.data_vars.items():
        if name == "status" or "flag_meanings" in variable.attrs:
            continue
        own = [dim for dim in variable.dims if dim not in ds.status.dims]
        if len(own) == 1 and variable.dtype.kind == "f":
            found.append(Picture("times", (str(name),)))
        elif not own and axis is not None:
            yes_no = variable.dtype.kind == "b" and "seed" in variable.dims
            found.append(Picture("probability" if yes_no else "band", (str(name),), against=axis))
    try:
        lines(ds, ds.status, ("seed", axis or ""))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--against, --select") from error
    return tuple(found)


def draw(ds: Any, picture: Picture, title: str) -> Any:
    """The axes of one picture, by functions of `rf.plot` alone."""
    from .. import plot
    from ..plot._sweep_data import label_of

    ax = None
    several = len(picture.record) > 1 or bool(picture.beside)
    for name in picture.record:
        label = label_of(ds, name) if several else None
        common: dict[str, Any] = {"where": picture.where}
        if picture.kind == "times":
            ax = plot.sweep_times(ds, name, ax, **common)
            continue
        against = picture.against or ""
        if picture.kind == "band":
            ax = plot.sweep_band(ds, name, against, ax, label=label, span=picture.span, **common)
        elif picture.kind == "probability":
            ax = plot.sweep_probability(ds, name, against, ax, label=label, **common)
        else:
            ax = plot.sweep_threshold(
                ds, name, picture.along or "", against, ax, label=label, span=picture.span, **common
            )
    for name in picture.beside:
        label = label_of(ds, name)
        alike = _without_axes_that_change_nothing(ds, name)
        ax = plot.sweep_band(
            alike, name, picture.against or "", ax, label=label, dashed=True, where=None
        )
    assert ax is not None
    if len(picture.record) > 1 and picture.kind == "band":
        ax.set_ylabel("")  # the legend has them all
    if title:
        ax.set_title(title, fontsize=9)
    return ax


def _without_axes_that_change_nothing(ds: Any, name: str) -> Any:
    """One value of every axis along which a known quantity is the same: one line, not many."""
    for dim in ds.status.dims:
        values = ds[name].values
        place = ds[name].dims.index(dim)
        first = np.take(values, [0], axis=place)
        if ds[dim].dtype.kind == "U" and np.allclose(values, first, rtol=1e-9, equal_nan=True):
            ds = ds.isel({dim: [0]})
    return ds


def save(axes: Any, path: Path) -> None:
    """Whole or not at all."""
    from ..plot._style import figure_of

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    figure_of(axes).savefig(draft, dpi=200, format="png")
    os.replace(draft, path)


def show(ds: Any, console: Console) -> int:
    """Prints what there is; returns how many points failed."""
    bad = _show_points(ds, console)
    _show_axes(ds, console)
    _show_medians(ds, console)
    return bad


def _show_points(ds: Any, console: Console) -> int:
    from ..plot._sweep_data import failed

    total, waiting = ds.status.size, int((ds.status == STATUS["not_run"]).sum())
    bad = failed(ds)
    count = int(bad.sum())
    text = f"{total - waiting} of {total} points"
    console.print(text if waiting else f"{total} points", highlight=False)
    for name, codes in _codes(ds).items():
        console.print(f"  {name}: {codes}", highlight=False, markup=False, soft_wrap=True)
    if count:
        console.print(f"[bold red]{count} points failed.[/]", highlight=False)
    return count


def _codes(ds: Any) -> dict[str, str]:
    """How many points have each code, by variable."""
    found = {}
    for name, variable in ds.data_vars.items():
        meanings = str(variable.attrs.get("flag_meanings", "")).split()
        if not meanings:
            continue
        codes = np.asarray(variable.attrs["flag_values"]).tolist()
        values, counts = np.unique(variable.values, return_counts=True)
        known = dict(zip(codes, meanings, strict=True))
        found[str(name)] = ", ".join(
            f"{count} {known[value]}"
            for value, count in zip(values.tolist(), counts.tolist(), strict=True)
            if value in known
        )
    return found


def _show_axes(ds: Any, console: Console) -> None:
    table = Table(title="axes", title_justify="left")
    for column in ("axis", "values", "from", "to"):
        table.add_column(column, justify="left" if column == "axis" else "right")
    for dim in ds.status.dims:
        values = ds[dim].values
        ends = (values[0], values[-1])
        shown = [each if values.dtype.kind == "U" else f"{each:g}" for each in ends]
        table.add_row(str(dim), str(len(values)), *map(str, shown))
    console.print(table)


def _show_medians(ds: Any, console: Console) -> None:
    """Medians over the seeds, and shares of what is yes or no, by the other axes."""
    from ..plot._sweep_data import counted

    names = [
        str(name)
        for name, variable in ds.data_vars.items()
        if name != "status"
        and "flag_meanings" not in variable.attrs
        and variable.dims == ds.status.dims
    ]
    if not names:
        return
    others = [str(dim) for dim in ds.status.dims if dim != "seed"]
    over = ["seed"] if "seed" in ds.status.dims else []
    table = Table(
        title="medians over the seeds, shares of yes" if over else "values", title_justify="left"
    )
    for column in (*others, *names):  # with spaces, so that a narrow one breaks between words
        table.add_column(column.replace("_", " "), justify="right", overflow="fold")
    columns = []
    for name in names:
        values = counted(ds, name)
        yes = ds[name].dtype.kind == "b"
        reduced = (values.mean(over) if yes else values.median(over)) if over else values
        columns.append(reduced.transpose(*others).values.ravel())
    shape = tuple(ds.sizes[dim] for dim in others)
    rows = list(np.ndindex(*shape)) if shape else [()]
    chosen = rows if len(rows) <= _ROWS else [*rows[: _ROWS - 1], rows[-1]]
    for place in chosen:
        if len(rows) > _ROWS and place == rows[-1]:
            table.add_row(*["..."] * (len(others) + len(names)))
        axis = [_text(ds[dim].values[i]) for dim, i in zip(others, place, strict=True)]
        flat = int(np.ravel_multi_index(place, shape)) if shape else 0
        table.add_row(*axis, *(_text(column[flat]) for column in columns))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"


def selected(ds: Any, texts: list[str], wrong: Callable[[str, str], Exception]) -> Any:
    """With the nearest values of what --select names, as neurons=32."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in ds.status.dims:
            raise wrong(
                "--select",
                f"must be an axis and a value, of {', '.join(map(str, ds.status.dims))}, but it is "
                f"{text!r}.",
            )
        if ds[name].dtype.kind == "U":
            if value not in ds[name].values:
                raise wrong("--select", f"{name} has no {value!r}: {', '.join(ds[name].values)}.")
            ds = ds.sel({name: [value]})
            continue
        try:
            number = float(value)
        except ValueError:
            raise wrong("--select", f"{value!r} is no number.") from None
        ds = ds.isel({name: [int(np.argmin(np.abs(ds[name].values - number)))]})
    return ds
