"""The kinks of a one-dimensional fit, below the function that has them."""

import numpy as np
from matplotlib.axes import Axes

from .._model._dataset import Dataset
from .._model._network import Network
from ..analysis import kinks as find_kinks
from . import _style


def kinks(net: Network, data: Dataset, ax: Axes | None = None, *, tolerance: float = 1e-3) -> Axes:
    """u -> h((u, c)) with its kinks: a stem at each, as high as the slope changes there.

    Arguments:
        net: a single network on inputs (u, c).
        data: the data, drawn as dots.
        ax: the axes to draw on, new ones where not given.
        tolerance: of `rf.analysis.kinks`: what is merged, and what is left out as too small.
    """
    found = find_kinks(net, data, tolerance)
    _style.check_axes("ax", ax)
    if ax is None:
        ax = _style.new_axes(6.0, 3.6)
        _style.tidy(ax)
        ax.set_xlabel("input $u$")
        ax.set_ylabel("output $h(u)$;  change of slope")
    x = np.asarray(data.x)
    u, bias = x[:, 0], x[0, 1]
    margin = 0.3 * max(float(np.ptp(u)), 1.0)
    left, right = u.min() - margin, u.max() + margin
    grid = np.linspace(left, right, 801)
    ax.plot(
        grid,
        net(np.stack([grid, np.full_like(grid, bias)], axis=1)),
        color=_style.GREEN,
        linewidth=1.8,
        label="$h(u)$",
    )
    ax.plot(u, data.y, "o", color="black", markersize=6, label="data", zorder=4)
    inside = [kink for kink in found if left <= kink.position <= right]
    for positive, color, label in (
        (True, _style.POSITIVE, "kink upwards"),
        (False, _style.NEGATIVE, "kink downwards"),
    ):
        mine = [kink for kink in inside if (kink.change > 0.0) == positive]
        if mine:
            places, changes = zip(*((kink.position, kink.change) for kink in mine), strict=True)
            ax.vlines(places, 0.0, changes, color=color, linewidth=1.6)
            ax.plot(places, changes, "D", color=color, markersize=5, label=label, zorder=3)
    ax.axhline(0.0, color=_style.GREY, linewidth=0.8)
    ax.set_xlim(left, right)
    outside = len(found) - len(inside)
    title = f"{len(found)} kinks" if len(found) != 1 else "1 kink"
    ax.set_title(title + (f", {outside} of them further out" if outside else ""), fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax
