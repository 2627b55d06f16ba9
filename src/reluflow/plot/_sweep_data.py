"""What the pictures of a sweep have in common: which points count, and one line for each choice."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from .._support._checks import shortened
from ..sweep._variables import STATUS
from . import _style

# Colours of Okabe and Ito; markers too, for who sees none of them.
LOOKS = tuple(
    zip(
        (_style.BLUE, _style.VERMILION, _style.GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
        ("o", "s", "^", "D", "v", "P", "X"),
        strict=True,
    )
)
_ENDED_WELL = ("successful", "loss_reached", "rest_reached")  # of `rf.RESULTS`
_TICKS = 12  # values of an axis that have one each
# Between the ends of an axis, and of what is drawn, from which on it may be logarithmic.
_FAR, _WIDE = 4.0, 10.0


def check(ds: Any, record: str, axes: tuple[str | None, ...] = ()) -> None:
    """Raises unless this is a dataset of `rf.sweep` with these names."""
    if not (hasattr(ds, "data_vars") and "status" in ds.data_vars):
        raise TypeError(f"Argument `ds` must be a dataset of rf.sweep, but it is {shortened(ds)}.")
    records = [str(name) for name in ds.data_vars if name != "status"]
    if record not in records:
        raise ValueError(
            f"Argument `record` must be one of {', '.join(records)}, but it is {record!r}."
        )
    for axis in axes:
        if axis is not None and axis not in ds.status.dims:
            raise ValueError(
                f"There is no axis {axis!r}, only {', '.join(map(str, ds.status.dims))}."
            )


def failed(ds: Any) -> Any:
    """Which points ended badly, by their status or by a code of `rf.RESULTS`; those that were not
    run did not."""
    bad = ds.status > STATUS["complete"]
    for variable in ds.data_vars.values():
        names = str(variable.attrs.get("flag_meanings", "")).split()
        if variable.name != "status" and "successful" in names:
            good = [code for code, name in enumerate(names) if name in _ENDED_WELL]
            wrong = ~variable.isin(good) & (ds.status == STATUS["complete"])
            bad = bad | wrong.any([dim for dim in wrong.dims if dim not in ds.status.dims])
    return bad


def counted(ds: Any, record: str, where: str | None = None) -> Any:
    """A record as floats; NaN where a point failed, was not run, or has a false `where`."""
    there = (ds.status == STATUS["complete"]) & ~failed(ds)
    if where is not None:
        check(ds, where)
        there = there & (ds[where] == 1)
    return ds[record].astype(float).where(there)


def lines(ds: Any, array: Any, kept: tuple[str, ...]) -> list[tuple[str, Any]]:
    """(label, part) for each combination of values of the axes that are not kept.

    Raises:
        ValueError: there are more of them than can be told apart.
    """
    others = [str(dim) for dim in array.dims if dim not in kept]
    parts = [("", array)]
    for axis in others:
        values = array[axis].values
        if len(values) == 1:
            parts = [(label, part.isel({axis: 0})) for label, part in parts]
            continue
        parts = [
            (", ".join(filter(None, (label, _choice(ds, axis, value)))), part.isel({axis: index}))
            for label, part in parts
            for index, value in enumerate(values)
        ]
    if len(parts) > len(LOOKS):
        raise ValueError(
            f"There are {len(parts)} lines, one for each choice of {', '.join(others)}, and "
            f"{len(LOOKS)} at most can be told apart: choose some first, as in "
            f"ds.sel({others[-1]}=...)."
        )
    return parts


def _choice(ds: Any, axis: str, value: Any) -> str:
    shown = value if isinstance(value, str) else _style.number(float(value))
    name = label_of(ds, axis)
    return str(shown) if isinstance(value, str) else f"{_short(name)} = {shown}"


def _short(name: str) -> str:
    """The symbol alone of "neurons $m$"."""
    parts = name.split("$")
    return f"${parts[1]}$" if len(parts) == 3 and parts[1] else name


def label_of(ds: Any, name: str) -> str:
    """The symbol of a variable or an axis, else its long name."""
    attributes = ds[name].attrs
    return str(attributes.get("symbol") or attributes.get("long_name") or name)


def along(ds: Any, axis: str) -> tuple[np.ndarray, str, bool]:
    """(places, label, whether they are logarithmic) of the values of an axis.

    Negative values that reach far, as those of ln(lambda), are turned round.
    """
    values = ds[axis].values
    if values.dtype.kind not in "if":
        raise ValueError(f"The axis {axis!r} holds no numbers: nothing can be drawn against it.")
    values, label = values.astype(float), label_of(ds, axis)
    if (values < 0.0).all() and _is_wide(-values):
        turned = r"$\ln(1/\lambda)$" if axis == "log_lambda" else f"minus {label}"
        return -values, turned, True
    return values, label, bool((values > 0.0).all() and _is_wide(values))


def _is_wide(values: np.ndarray) -> bool:
    """Whether they reach far, and are spaced more evenly by their logarithms."""
    ordered = np.sort(values)
    if len(ordered) < 3 or ordered[-1] < _FAR * ordered[0]:
        return False
    even, geometric = np.diff(ordered), np.diff(np.log(ordered))
    return bool(geometric.std() / geometric.mean() < even.std() / even.mean())


def new_axes(ds: Any, axis: str, ax: Axes | None) -> Axes:
    """Axes on which values of this axis are below."""
    _style.check_axes("ax", ax)
    if ax is not None:
        return ax
    ax = _style.new_axes(4.6, 3.3)
    _style.tidy(ax)
    places, label, logarithmic = along(ds, axis)
    ax.set_xlabel(label)
    if logarithmic:
        ax.set_xscale("log")
    if len(places) <= _TICKS:
        chosen = np.sort(places)[:: 1 if len(places) <= _TICKS // 2 or not logarithmic else 2]
        ax.set_xticks(chosen, [f"{place:g}" for place in chosen])
        ax.xaxis.set_minor_formatter(NullFormatter())
    elif logarithmic:
        _plain(ax.xaxis)
    return ax


def _plain(axis: Any) -> None:
    """1, 2, 5, 10 ... as they are, on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def finish(ax: Axes, values: list[np.ndarray], label: str) -> None:
    """A label, a logarithmic axis where what was drawn asks for it, and a legend."""
    drawn = np.concatenate([np.ravel(each) for each in values]) if values else np.zeros(0)
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and (drawn > 0.0).all() and drawn.max() > _WIDE * drawn.min():
        ax.set_yscale("log")
        if drawn.max() < 1e4 * drawn.min():
            _plain(ax.yaxis)
    if not ax.get_ylabel():
        ax.set_ylabel(label)
    if len([text for text in ax.get_legend_handles_labels()[1] if text]) > 0:
        ax.legend(frameon=False, fontsize=8)
