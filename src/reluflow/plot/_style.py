"""One look for all pictures: colours of Okabe and Ito, told apart by every kind of eye."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

from .._support._checks import shortened

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
GREY: Final = "#777777"

# Neurons by the sign of a_j, which the flow of a balanced network never changes (Lemma 1).
POSITIVE: Final = BLUE
NEGATIVE: Final = VERMILION

TIME_LABEL: Final = "flow time $t$  (paper's normalisation)"
LOSS_LABEL: Final = r"loss  $L = \frac{1}{2n} \sum_k r_k^2$"


def new_axes(width: float, height: float, **kwargs) -> Axes:
    """Axes of a figure of their own, width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained").add_subplot(**kwargs)


def check_axes(name: str, ax, kind: type = Axes) -> None:
    """Raises TypeError unless `ax` is None, or axes of matplotlib."""
    if ax is not None and not isinstance(ax, kind):
        raise TypeError(
            f"Argument `{name}` must be axes of matplotlib, or None for new ones, but it is "
            f"{shortened(ax)}."
        )


def check_items(name: str, items, fields: tuple[str, ...], source: str) -> None:
    """Raises TypeError unless `items` is a sequence of what `source` returns."""
    good = isinstance(items, Sequence) and not isinstance(items, str)
    if not good or not all(hasattr(item, field) for item in items for field in fields):
        raise TypeError(
            f"Argument `{name}` must be what {source} returns, but it is {shortened(items)}."
        )


def tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def number(value: float, digits: int = 4) -> str:
    """`value` as text that mathtext sets well: 1.2e-07 becomes 1.2 x 10^-7, 12345.6 12346."""
    if 10.0**digits <= abs(value) < 1e7:
        return f"{value:.0f}"
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$" if exponent else mantissa


def place(
    ax: Axes, labels: Iterable[tuple[str, float, float]], x, y, color: str = "#444444"
) -> None:
    """Texts beside points of a curve (x, y): (text, x, y), each inside the axes and, where there is
    room, clear of the ones before it and of the curve.

    Limits and scales of the axes must be as they are to be.
    """
    figure_of(ax).draw_without_rendering()  # only now is it known where the axes are
    frame, curve, taken = ax.get_window_extent(), _pixels(ax, x, y), []
    for text, *point in labels:
        note = ax.annotate(
            text,
            (point[0], point[1]),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=8,
            color=color,
        )

        def cost(corner, note=note):
            box = _put(note, *corner)
            crossed = sum(Bbox.intersection(box, other) is not None for other in taken)
            inside = (curve > (box.x0, box.y0)) & (curve < (box.x1, box.y1))
            return _outside(box, frame), crossed, np.sum(np.all(inside, axis=1))

        corners = ((1, 1), (-1, 1), (1, -1), (-1, -1))  # right of the point and above it, first
        taken.append(_put(note, *min(corners, key=cost)))


def _pixels(ax: Axes, x, y) -> np.ndarray:
    """Where a curve is on the canvas, a point for every pixel of it or so; shape (points, 2)."""
    good = np.isfinite(x) & np.isfinite(y)
    if ax.get_yscale() == "log":
        good &= np.asarray(y) > 0.0
    corners = ax.transData.transform(np.stack([x, y], axis=1)[good])
    corners = np.clip(corners, *ax.get_window_extent().padded(10.0).get_points())
    parts = [corners[-1:]]
    for one, other in itertools.pairwise(corners):
        count = int(np.max(np.abs(other - one))) + 1
        parts.append(np.linspace(one, other, count, endpoint=False))
    return np.concatenate(parts)


def _put(note: Annotation, right: int, above: int) -> Bbox:
    note.xyann = (6 * right, 5 * above)
    note.set_horizontalalignment("left" if right > 0 else "right")
    note.set_verticalalignment("bottom" if above > 0 else "top")
    return note.get_window_extent()


def _outside(box: BboxBase, frame: BboxBase) -> float:
    """How many pixels of a text are beyond the frame."""
    return max(0.0, frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, box.y1 - frame.y1)


def figure_of(ax: Axes) -> Figure:
    """The whole figure, also of axes that stand in a subfigure."""
    figure = ax.figure
    return figure if isinstance(figure, Figure) else figure.figure
