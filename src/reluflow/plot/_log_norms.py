"""The sizes of the neurons, on the scale on which they grow."""

import numpy as np
from matplotlib.axes import Axes

from .._integration._solution import Solution
from .._support._checks import as_number
from ..analysis._trajectory import networks, saved_times
from . import _style


def log_norms(sol: Solution, ax: Axes | None = None, *, log_lambda: float | None = None) -> Axes:
    """ln|w_j| against time, a line per neuron: piecewise linear, of slope |D_j| (2026, Fig. 3).

    Arguments:
        sol: a single trajectory with its networks saved.
        ax: the axes to draw on, new ones where not given.
        log_lambda: draws in the units of the limit lambda -> 0 where given: the exponent
            q_j = ln|w_j| / ln(1/lambda) against the clock s = t / ln(1/lambda).
    """
    kept, nets = saved_times(sol), networks(sol)
    _style.check_axes("ax", ax)
    if log_lambda is not None:
        log_lambda = as_number("log_lambda", log_lambda)
    if log_lambda is not None and not log_lambda < 0.0:
        raise ValueError(
            f"Argument `log_lambda` must be negative, the logarithm of lambda < 1, but it is "
            f"{log_lambda}."
        )
    ts, norms = np.asarray(sol.ts)[kept], np.asarray(nets.log_norm())[kept]
    sign = np.sign(np.asarray(nets.output)[kept][0])
    unit = 1.0 if log_lambda is None else -log_lambda
    if ax is None:
        ax = _style.new_axes(6.4, 3.8)
        _style.tidy(ax)
        ax.set_xlabel(_style.TIME_LABEL if log_lambda is None else r"$s = t \,/ \ln(1/\lambda)$")
        ax.set_ylabel(r"$\ln |w_j|$" if log_lambda is None else r"$\ln |w_j| \,/ \ln(1/\lambda)$")
        ax.margins(x=0.0, y=0.03)
    for positive, color, label in (
        (True, _style.POSITIVE, "$a_j > 0$"),
        (False, _style.NEGATIVE, "$a_j < 0$"),
    ):
        mine = (sign > 0.0) == positive
        lines = ax.plot(ts / unit, norms[:, mine] / unit, color=color, linewidth=1.0, alpha=0.55)
        if lines:
            lines[0].set_label(label)
    ax.axhline(0.0, color=_style.GREY, linewidth=0.8, linestyle=":")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax
