"""The state of a network: what it computes and where its neurons are (2022, Fig. 2, 4, 6)."""

import textwrap
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from .._model._dataset import Dataset
from .._model._loss import loss as loss_of
from .._model._losses import AbstractLoss, square
from .._model._network import Network, check_pair, check_single_pair
from .._support._checks import as_float64, check_ndim, check_type
from ..analysis._kinks import is_line
from ..analysis._principal_components import principal_components
from . import _style

# A panel of the polar picture leaves this part of its radius for the circle of norm 0, so that
# the direction of a neuron of size 1e-20 can still be seen.
_HOLE = 0.35
_COLUMNS = 2  # of panels
_LINE_LABEL = "input $u$;  kink of neuron $-w_b / w_u$"


def state(
    net: Network,
    data: Dataset,
    ax: Axes | None = None,
    *,
    time: float | None = None,
    loss: AbstractLoss | Callable = square,
) -> Axes:
    """One network, in the picture that fits its data.

    One-dimensional inputs with a bias, x = (u, c): the data, the estimated function
    u -> h((u, c)), and a star per neuron at its kink u = -c w_b / w_u (abscissa) and at its
    signed norm sign(a_j) |w_j| (ordinate).

    Other inputs: a star per neuron in polar coordinates, the projection of w_j onto the plane
    of the top two uncentred principal components of W; the inner circle is norm 0.

    The colour is the sign of a_j. See `states` for the arguments.
    """
    check_single_pair(net, data)
    _style.check_axes("ax", ax)
    axes = None if ax is None else [ax]
    single = jax.tree.map(lambda leaf: leaf[None], net)
    return states(single, data, axes, times=None if time is None else [time], loss=loss)[0]


def states(
    networks: Network,
    data: Dataset,
    axes=None,
    *,
    times=None,
    loss: AbstractLoss | Callable = square,
) -> np.ndarray:
    """The same picture of several networks, on common axes.

    Arguments:
        networks: a `Network` with a leading axis, `sol.networks` say.
        data: the data set.
        axes: one axes per network (polar ones, unless the inputs are one-dimensional with a
            bias); a new figure in two columns, with a legend below, where not given. What is
            drawn has labels, for a legend on axes of your own.
        times: the flow time of each, for the titles.
        loss: which the titles tell; `sol.loss`.

    Returns:
        The axes, shape (number of networks,). The plane of principal components is that of
        the last network, which is meant to be the end of the run (2022, Fig. 6).
    """
    check_type("networks", networks, Network)
    if networks.hidden.ndim != 3 or 0 in networks.hidden.shape:
        raise ValueError(
            "Argument `networks` must have one leading axis, but its hidden weights have shape "
            f"{networks.hidden.shape}. Use `state` for a single network."
        )
    check_pair(networks, data)
    times = None if times is None else np.asarray(as_float64("times", times))
    if times is not None:
        check_ndim("times", times, ("networks",))
    count = networks.hidden.shape[0]
    polar, fresh = not is_line(data), axes is None
    if axes is None:
        axes = _grid(count, polar)
    axes = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    for ax in axes:
        _style.check_axes("axes", ax)
    for name, given in (("axes", axes), ("times", times)):
        if given is not None and len(given) != count:
            raise ValueError(
                f"Argument `{name}` must have one entry per network ({count}), but it has "
                f"{len(given)}."
            )
    caption = (_draw_plane if polar else _draw_line)(networks, data, axes)
    if fresh:
        _legend(axes[0], caption)
        if not polar:
            for ax in axes[-_COLUMNS:]:  # the lowest of their columns, full or not
                ax.tick_params(labelbottom=True)
                ax.set_xlabel(_LINE_LABEL)
    losses = np.asarray(loss_of(networks, data, loss))
    for index, ax in enumerate(axes):
        title = f"$L$ = {_style.number(losses[index])}"
        if times is not None:
            title = f"$t$ = {_style.number(float(times[index]))},  " + title
        ax.set_title(title, fontsize=10)
    return axes


def _grid(count: int, polar: bool) -> np.ndarray:
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    size = (3.6 * columns, 3.7 * rows) if polar else (4.3 * columns, 3.1 * rows)
    kwargs: dict[str, Any] = {"sharex": True, "sharey": True}
    if polar:
        kwargs = {"subplot_kw": {"projection": "polar"}}
    figure = Figure(figsize=(max(size[0], 4.2), size[1]), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **kwargs)
    for ax in grid.ravel()[count:]:
        ax.remove()
    return grid.ravel()[:count]


def _draw_line(networks: Network, data: Dataset, axes) -> None:
    bias = float(data.x[0, 1])
    u, y = np.asarray(data.x[:, 0]), np.asarray(data.y)
    span = max(float(np.ptp(u)), 1.0)
    left, right = u.min() - 0.45 * span, u.max() + 0.45 * span
    grid = np.linspace(left, right, 601)
    curves = np.asarray(networks(np.stack([grid, np.full_like(grid, bias)], axis=1)))
    hidden, sign = np.asarray(networks.hidden), np.sign(np.asarray(networks.output))
    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = -bias * hidden[..., 1] / hidden[..., 0]
    norms = sign * np.exp(np.asarray(networks.log_norm()))
    height = 1.15 * max(np.abs(y).max(), np.abs(norms).max())
    # What the function does outside of the data may be large: only what is near it sets limits.
    inside = (grid >= u.min()) & (grid <= u.max())
    height = max(height, 1.05 * np.abs(curves[:, inside]).max())
    for index, ax in enumerate(axes):
        _style.tidy(ax)
        ax.plot(grid, curves[index], color=_style.GREEN, linewidth=1.8, label="$h(u)$", zorder=2)
        ax.plot(u, y, "o", color="black", markersize=6, label="data", zorder=3)
        _stars(ax, kinks[index], norms[index], sign[index], left, right)
        if index == 0 and np.any((kinks < left) | (kinks > right)):
            ax.plot([], [], ">", color=_style.GREY, label="kink further out")
        ax.set_xlim(left, right)
        ax.set_ylim(-height, height)
        ax.set_xlabel(_LINE_LABEL)
        ax.set_ylabel(r"output;  signed norm $\mathrm{sign}(a_j) |w_j|$")
        ax.label_outer()


def _stars(ax: Axes, kinks, norms, sign, left: float, right: float) -> None:
    """Neurons whose kink lies outside are drawn as arrow heads at the border."""
    for positive, color, label in (
        (True, _style.POSITIVE, "neuron, $a_j > 0$"),
        (False, _style.NEGATIVE, "neuron, $a_j < 0$"),
    ):
        mine = (sign > 0) == positive
        # Below, the transparency shows how many neurons share a place.
        style = {"color": color, "linestyle": "none", "alpha": 0.65, "markeredgewidth": 0.0}
        inside = mine & (kinks >= left) & (kinks <= right)
        ax.plot(
            kinks[inside], norms[inside], marker="*", markersize=9, label=label, zorder=4, **style
        )
        for edge, marker, outside in ((left, "<", kinks < left), (right, ">", kinks > right)):
            count = np.sum(mine & outside)
            if count:
                ax.plot(
                    np.full(count, edge),
                    norms[mine & outside],
                    marker=marker,
                    markersize=6,
                    clip_on=False,
                    zorder=4,
                    **style,
                )


def _draw_plane(networks: Network, data: Dataset, axes) -> str:
    plane = principal_components(jax.tree.map(lambda leaf: leaf[-1], networks))
    explained = plane.explained
    planar = np.asarray(networks.hidden) @ plane.components.T
    angle = np.arctan2(planar[..., 1], planar[..., 0])
    radius = np.linalg.norm(planar, axis=-1) * np.exp(np.asarray(networks.log_scale))
    sign = np.asarray(networks.output)
    largest = max(float(radius.max()), 1e-300)
    for index, ax in enumerate(axes):
        draw_polar(ax, angle[index], radius[index], sign[index], largest)
    share = " + ".join(f"{100 * part:.0f}%" for part in explained)
    return (
        f"$w_j$ in the plane of the top two principal components of $W$ ({share} of $|W|^2$);"
        "\nradius: norm of the projection, the inner circle is 0"
    )


def draw_polar(ax: Axes, angle, radius, sign, largest: float) -> None:
    """Stars at angle and radius, coloured by sign, on polar axes that reach to `largest`."""
    if not isinstance(ax, PolarAxes):
        raise ValueError(
            "Arguments `ax` and `axes` must be polar here (projection='polar'), but "
            f"{ax.name!r} axes were given."
        )
    for positive, color, label in (
        (True, _style.POSITIVE, "neuron, $a_j > 0$"),
        (False, _style.NEGATIVE, "neuron, $a_j < 0$"),
    ):
        mine = (sign > 0) == positive
        ax.plot(
            angle[mine],
            radius[mine],
            "*",
            color=color,
            markersize=8,
            markeredgewidth=0.0,
            alpha=0.6,
            label=label,
            clip_on=False,
            zorder=3,
        )
    ax.set_rmax(1.15 * largest)
    ax.set_rmin(0.0)
    ax.set_rorigin(-_HOLE * largest)
    ticks = [tick for tick in MaxNLocator(2).tick_values(0.0, largest) if 0 < tick <= largest]
    ax.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=7)
    ax.set_rlabel_position(90.0)
    ax.tick_params(axis="x", labelsize=7, pad=-2)
    ax.grid(color="#CCCCCC", linewidth=0.6)


def _legend(ax: Axes, title: str | None) -> None:
    """Below the panels, where it covers no neuron; as wide as the figure allows."""
    width = _style.figure_of(ax).get_size_inches()[0]
    if title is not None:
        lines = [textwrap.wrap(line, int(12 * width)) for line in title.splitlines()]
        title = "\n".join(part for line in lines for part in line)
    ax.figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(5, int(width / 1.4)),
        fontsize=9,
        frameon=False,
        title=title,
        title_fontsize=9,
        alignment="center",
    )
