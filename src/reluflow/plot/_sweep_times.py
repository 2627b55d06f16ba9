"""The law of the times at which something happens, over all points of a sweep."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from . import _style
from ._sweep_data import LOOKS, check, counted, label_of

_ORDINALS = ("first", "second", "third")


def sweep_times(
    ds: Any,
    record: str,
    ax: Axes | None = None,
    *,
    where: str | None = None,
    bins: int = 40,
    most: int = 4,
) -> Axes:
    """How the first, the second, ... of the times of a record are distributed over all points.

    Arguments:
        ds: of `rf.sweep`; choose points first, as in ds.sel(neurons=32), where their laws differ.
        record: a variable with one more dimension than the grid has, padded with NaN.
        ax: the axes to draw on, new ones where not given.
        where: a yes/no variable; only points for which it holds count.
        bins: between the least and the largest of the times that are drawn.
        most: how many of them.

    Raises:
        ValueError, TypeError: there is no such record, or it holds no times.
    """
    check(ds, record)
    own = [dim for dim in ds[record].dims if dim not in ds.status.dims]
    if len(own) != 1:
        raise ValueError(
            f"Argument `record` must hold several times for each point, but {record!r} has the "
            f"dimensions {', '.join(map(str, ds[record].dims))}."
        )
    _style.check_axes("ax", ax)
    values = counted(ds, record, where).transpose(..., own[0]).values
    values = values.reshape(-1, values.shape[-1])[:, :most]
    if ax is None:
        ax = _style.new_axes(4.6, 3.3)
        _style.tidy(ax)
        ax.set(xlabel=label_of(ds, record), ylabel="share of the points")
    points = int(np.isfinite(values[:, 0]).sum())
    if points == 0:
        return ax
    finite = values[np.isfinite(values)]
    logarithmic = finite.min() > 0.0 and finite.max() > 20.0 * finite.min()
    space = np.geomspace if logarithmic else np.linspace
    edges = space(finite.min(), finite.max(), bins + 1)
    for index in range(values.shape[1]):
        times = values[:, index][np.isfinite(values[:, index])]
        if not times.size:
            break
        heights = np.histogram(times, edges)[0] / points
        name = _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"
        color = LOOKS[index % len(LOOKS)][0]
        ax.stairs(heights, edges, color=color, alpha=0.25, fill=True)
        ax.stairs(
            heights, edges, color=color, linewidth=1.4, label=f"{name} ({times.size} of {points})"
        )
    if logarithmic:
        ax.set_xscale("log")
    ax.legend(frameon=False, fontsize=8)
    return ax
