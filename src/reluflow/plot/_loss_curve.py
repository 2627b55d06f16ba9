"""The loss against time: plateaus (saddles) and the drops between them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .._checks import as_number
from .._losses import square
from .._solution import Solution
from ..analysis._trajectory import saved_times
from . import _style


def loss_curve(
    sol: Solution,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    color: str = _style.BLUE,
    linestyle: str = "-",
    plateaus: Sequence = (),
    decades: float = 2.0,
) -> Axes:
    """L(t) on a logarithmic axis, with its plateaus marked (2022, Fig. 3).

    Arguments:
        sol: a single trajectory with saved times; padding is left out.
        ax: the axes to draw on, new ones where not given.
        label, color, linestyle: of the curve; a label makes a legend.
        plateaus: what `rf.analysis.plateaus` found: each is drawn as a line at its loss, with
            its value and the time at which it is left.
        decades: how far below the lowest plateau (or the loss at the start) the axis reaches.
            The end of a run falls without bound, and would squeeze the plateaus flat.
    """
    shown = saved_times(sol)
    _style.check_axes("ax", ax)
    _style.check_items("plateaus", plateaus, ("loss", "start", "end"), "rf.analysis.plateaus")
    decades = as_number("decades", decades)
    ts, losses = np.asarray(sol.ts)[shown], np.asarray(sol.losses)[shown]
    fresh = ax is None
    if ax is None:
        ax = _style.new_axes(6.4, 3.8)
        _style.tidy(ax)
        ax.set_xlabel(_style.TIME_LABEL)
        ax.set_ylabel(_label(sol))
        ax.set_yscale("log")
        ax.margins(x=0.0)
    positive = np.where(losses > 0.0, losses, np.nan)  # a logarithm has no place for 0
    ax.plot(ts, positive, color=color, linestyle=linestyle, linewidth=1.8, label=label)
    if fresh:
        lowest = min([plateau.loss for plateau in plateaus], default=losses[0])
        floor = max(np.nanmin(positive), lowest * 10.0**-decades)
        # A seventh of the height is for the text above the first plateau.
        top = losses.max() * max(3.0, (losses.max() / floor) ** (1.0 / 6.0))
        ax.set_ylim(0.7 * floor, top)
    if plateaus:
        marks = [_mark(ax, plateau, ts[-1]) for plateau in plateaus]
        _style.place(ax, marks, ts, positive)
    if label is not None:
        ax.legend(frameon=False, loc="lower left")
    return ax


def _label(sol: Solution) -> str:
    if sol.loss != square:
        return f"loss  $L$  ({sol.loss})"
    return _style.LOSS_LABEL if sol.data.weights is None else "loss  $L$"


def _mark(ax: Axes, plateau, last: float) -> tuple[str, float, float]:
    """A thin line along the plateau and a dot where it is left; both numbers, for a text there."""
    left = np.isfinite(plateau.end)
    end = plateau.end if left else last
    ax.hlines(plateau.loss, plateau.start, end, color=_style.GREY, linestyle=":", linewidth=1.2)
    if left:
        ax.plot([end], [plateau.loss], "o", color=_style.GREY, markersize=4)
    when = f"left at $t$ = {_style.number(end)}" if left else "not left"
    return f"$L$ = {_style.number(plateau.loss)}\n{when}", end, plateau.loss
