"""The chain of saddles: the level of each, its index, and how closely it was passed."""

import numpy as np
from matplotlib.axes import Axes

from .._integration._solution import Solution
from . import _style
from ._loss_curve import loss_curve


def saddles(sol: Solution, found, ax: Axes | None = None, **kwargs) -> Axes:
    """Loss levels of the critical points against time, over the loss curve.

    A thick line from where the flow comes within reach of a saddle to where it leaves, with
    the Morse index and the escape rate; a dot where it was passed the closest.

    Arguments:
        sol: a single trajectory with saved times.
        found: `rf.analysis.saddles(sol, data)`.
        ax: the axes to draw on, new ones where not given.
        kwargs: of `loss_curve`.
    """
    _style.check_items("found", found, ("index", "leaving", "reached"), "rf.analysis.saddles")
    kwargs.setdefault("color", _style.GREY)
    fresh = ax is None
    ax = loss_curve(sol, ax, **kwargs)
    ts, losses = np.asarray(sol.ts), np.asarray(sol.losses)
    kept = np.isfinite(ts)
    ts, losses = ts[kept], losses[kept]
    if fresh and found:
        lowest = min(saddle.loss for saddle in found if saddle.loss > 0.0)
        ax.set_ylim(lowest * 10.0**-1.0, max(saddle.loss for saddle in found) * 4.0)
    labels = []
    for saddle in found:
        # Where 95% of a fall to this level is done, much as `plateaus` has it.
        on_level = np.flatnonzero(np.abs(losses - saddle.loss) <= 0.05 * saddle.loss)
        begin = ts[on_level[0]] if len(on_level) else saddle.time
        end = saddle.leaving if np.isfinite(saddle.leaving) else ts[-1]
        color = _style.BLUE if saddle.index else _style.GREEN
        ax.plot(
            [begin, end],
            [saddle.loss] * 2,
            color=color,
            linewidth=4.0,
            alpha=0.75,
            solid_capstyle="butt",
            zorder=3,
        )
        ax.plot(
            [saddle.time],
            [saddle.loss],
            "o",
            color=color,
            markersize=6,
            markeredgecolor="white",
            clip_on=False,
            zorder=4,
        )
        labels.append((_describe(saddle), begin, saddle.loss))
    if found:
        _style.place(ax, labels, ts, losses, "#333333")
    return ax


def _describe(saddle) -> str:
    text = f"index {saddle.index}"
    if saddle.index:
        text += f", rate {saddle.escape_rate:.3g}"
    text = text if saddle.reached else text + " (not reached)"
    return text if saddle.stationary else text + " (not stationary)"
