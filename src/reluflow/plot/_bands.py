"""A number over several seeds, against what is varied: the mean, and how far the seeds reach."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, NullFormatter

from .._support._checks import as_float64, check_ndim, check_type
from . import _style

_COLOURS = (_style.BLUE, _style.VERMILION, _style.GREEN, "#CC79A7", "#E69F00")


def bands(
    sizes,
    curves: Mapping[str, np.ndarray],
    ax: Axes | None = None,
    *,
    dashed: Collection[str] = (),
    xlabel: str = "",
    ylabel: str = r"$|\theta|^2$",
) -> Axes:
    """Mean over seeds with a band from the least to the largest, on logarithmic axes.

    The squared norm against the number of samples or of neurons (2026, Fig. 5 and 6).

    Arguments:
        sizes: (sizes,) what is varied.
        curves: a label -> (sizes, seeds); NaN where there is no value, as for a run that failed.
        ax: the axes to draw on, new ones where not given.
        dashed: labels of curves that are known rather than measured; dashed.
        xlabel, ylabel: of new axes.

    Raises:
        ValueError: a curve that does not have a row for each size.
    """
    sizes = np.asarray(as_float64("sizes", sizes))
    check_ndim("sizes", sizes, ("sizes",))
    if not (sizes.size and np.all(sizes > 0.0)):
        raise ValueError(
            "Argument `sizes` must hold positive numbers, for a logarithmic axis, but it is "
            f"{sizes}."
        )
    check_type("curves", curves, Mapping)
    missing = set(dashed) - set(curves)
    if isinstance(dashed, str) or missing:
        raise ValueError(
            f"Argument `dashed` must hold labels of `curves`, {list(curves)}, but it is {dashed!r}."
        )
    _style.check_axes("ax", ax)
    if ax is None:
        ax = _style.new_axes(5.6, 4.0)
        _style.tidy(ax)
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
        ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
        ax.xaxis.set_minor_formatter(NullFormatter())
        for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            set_formatter(LogFormatter(minor_thresholds=(2.0, 0.5)))
    for index, (label, values) in enumerate(curves.items()):
        values = np.asarray(as_float64(f"curves[{label!r}]", values))
        if values.ndim != 2 or values.shape[0] != sizes.shape[0]:
            raise ValueError(
                f"Argument `curves` must have the shape ({sizes.shape[0]}, seeds) for each label, "
                f"but {label!r} has shape {values.shape}."
            )
        some = np.isfinite(values).any(axis=1)
        at, kept = sizes[some], values[some]
        color = _style.GREY if label in dashed else _COLOURS[index % len(_COLOURS)]
        line: dict[str, Any] = {"linestyle": "--"}
        dots: dict[str, Any] = {"marker": "o", "markersize": 4}
        style = line if label in dashed else dots
        ax.plot(at, np.nanmean(kept, axis=1), color=color, label=label, **style)
        ax.fill_between(
            at,
            np.nanmin(kept, axis=1),
            np.nanmax(kept, axis=1),
            color=color,
            alpha=0.2,
            linewidth=0.0,
        )
    ax.legend(frameon=False, fontsize=9)
    return ax
