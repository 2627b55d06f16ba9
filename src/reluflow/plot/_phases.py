"""The phases of a flow, as bands behind its loss."""

from typing import Final

from matplotlib.axes import Axes

from .._integration._solution import Solution
from . import _style
from ._loss_curve import loss_curve

# Light enough to read a curve on them; the loss stands still on blue ones.
_COLOURS: Final = {
    "alignment": "#B7D5EF",
    "growth": "#E3EFF9",
    "plateau": "#EFEDF6",
    "fitting": "#FAD3B3",
    "convergence": "#DDEFD9",
}


def phases(sol: Solution, found, ax: Axes | None = None, **kwargs) -> Axes:
    """The loss curve, on bands of the phases that `rf.analysis.phases` found (2022, Fig. 1).

    Arguments:
        sol: a single trajectory with saved times.
        found: `rf.analysis.phases(sol, data)`.
        ax: the axes to draw on, new ones where not given.
        kwargs: of `loss_curve`.

    Names stand on top of their bands; of those too narrow for it, the colours are explained
    below.
    """
    _style.check_items("found", found, ("name", "begin", "end"), "rf.analysis.phases")
    if not found:
        raise ValueError("Argument `found` must hold at least one phase, but it is empty.")
    fresh = ax is None
    ax = loss_curve(sol, ax, **kwargs)
    whole = found[-1].end - found[0].begin
    width = ax.bbox.width / ax.figure.dpi
    named, narrow = set(), {}
    for phase in found:
        colour = _COLOURS[phase.name]
        # The edge makes a band visible that is narrower than a dot.
        patch = ax.axvspan(phase.begin, phase.end, facecolor=colour, edgecolor=colour, zorder=-1)
        if (phase.end - phase.begin) / whole < 0.01:
            patch.set_zorder(-0.5)
        room = (phase.end - phase.begin) / whole * width
        if room > 0.085 * len(phase.name):  # inches: of letters of 8 points
            named.add(phase.name)
            ax.annotate(
                phase.name,
                ((phase.begin + phase.end) / 2.0, 1.0),
                xytext=(0, 4),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                horizontalalignment="center",
                fontsize=8,
                color="#444444",
            )
        else:
            narrow.setdefault(phase.name, patch)
    narrow = {name: patch for name, patch in narrow.items() if name not in named}
    if narrow:
        ax.legend(
            list(narrow.values()),
            list(narrow),
            loc="upper right",
            fontsize=8,
            frameon=True,
            framealpha=0.9,
            edgecolor="none",
        )
    ax.set_xlim(found[0].begin, found[-1].end)
    ax.grid(False)
    if fresh:  # down to a tenth of the last loss that a phase begins with
        lowest = min(phase.loss[0] for phase in found)
        ax.set_ylim(0.1 * lowest, 2.0 * found[0].loss[0])
    return ax
