"""The neurons of a network in the plane of their principal components."""

import numpy as np
from matplotlib.axes import Axes

from .._model._network import Network
from ..analysis import principal_components as decompose
from . import _style
from ._states import draw_polar


def principal_components(net: Network, ax: Axes | None = None) -> Axes:
    """w_j in polar coordinates, in the plane of the top two uncentred principal components of W
    (2022, Fig. 6 and 7); the title says what share of |W|^2 lies in it.

    Radii are relative to the largest, so that a network of size e^-10000 is drawn like others;
    the inner circle is norm 0. The colour is the sign of a_j.

    Arguments:
        net: a single network; its inputs may have any dimension.
        ax: polar axes to draw on (projection="polar"), new ones where not given.
    """
    _style.check_axes("ax", ax)
    if ax is None:
        ax = _style.new_axes(4.6, 4.9, projection="polar")
    found = decompose(net)
    largest = found.log_radius.max()
    radius = np.exp(found.log_radius - largest) if np.isfinite(largest) else 0.0 * found.angle
    draw_polar(ax, found.angle, radius, np.sign(np.asarray(net.output)), 1.0)
    first, second = 100.0 * found.explained
    size = (
        f"largest radius {_style.number(np.exp(largest), 3)}"
        if largest > -700.0
        else (rf"largest radius $e^{{{largest:.5g}}}$")
    )
    ax.set_title(
        f"principal components: {first:.3g}% + {second:.3g}% of $|W|^2$\n{size}", fontsize=10
    )
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=2)
    return ax
