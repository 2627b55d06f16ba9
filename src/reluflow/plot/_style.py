"""One look for all pictures: colours of Okabe and Ito, told apart by every kind of eye."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def number(value: float, digits: int = 4) -> str:
    """`value` as text that mathtext sets well: 1.2e-07 becomes 1.2 x 10^-7."""
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$" if exponent else mantissa


def figure_of(ax: Axes) -> Figure:
    """The whole figure, also of axes that stand in a subfigure."""
    figure = ax.figure
    return figure if isinstance(figure, Figure) else figure.figure
