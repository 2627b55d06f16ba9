"""`--loss` and `--activation`: the names that they may have, and what has them.

Names alone are looked at here, so that a wrong one is refused before JAX is imported.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer

import reluflow

LOSSES = ("square", "logistic", "exponential")
ACTIVATIONS = ("relu", "absolute", "linear", "leaky")
_SLOPED, _STEEPEST = "leaky", 100.0
_FORMS = ("relu", "absolute", "linear", "leaky:SLOPE")

LossName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="square, logistic or exponential; the last two are for labels 1 and -1.",
    ),
]
ActivationName = Annotated[
    str,
    typer.Option(metavar="NAME", help="relu, absolute, linear or leaky:SLOPE, as in leaky:0.1."),
]


class Activation(NamedTuple):
    """slope: for negative arguments, of a leaky one; None of all others."""

    name: str
    slope: float | None = None

    def __str__(self) -> str:
        return self.name if self.slope is None else f"{self.name}:{self.slope:g}"

    def made(self) -> Any:
        if self.slope is None:
            return getattr(reluflow, self.name)
        return reluflow.leaky_relu(self.slope)


RELU = Activation("relu")


def loss_of(text: str) -> str:
    """Raises typer.BadParameter where there is no such loss."""
    if text not in LOSSES:
        raise typer.BadParameter(_unknown(text, LOSSES, LOSSES), param_hint="--loss")
    return text


def activation_of(text: str) -> Activation:
    """Raises typer.BadParameter where there is no such activation, or its slope is none."""
    name, colon, slope = text.partition(":")
    if name not in ACTIVATIONS:
        message = _unknown(name, ACTIVATIONS, _FORMS)
    elif name != _SLOPED and not colon:
        return Activation(name)
    elif name != _SLOPED:
        message = f"{name} has no slope to choose; {_SLOPED}:SLOPE has."
    elif not slope:
        message = f"{_SLOPED} needs its slope for negative arguments, as in {_SLOPED}:0.1."
    else:
        try:
            number = float(slope)
        except ValueError:
            number = math.nan
        if abs(number) <= _STEEPEST:
            return Activation(name, number)
        message = (
            f"the slope in {text!r} must be a number between -{_STEEPEST:g} and {_STEEPEST:g}, as "
            f"in {_SLOPED}:0.1."
        )
    raise typer.BadParameter(message, param_hint="--activation")


def _unknown(text: str, names: Sequence[str], shown: Sequence[str]) -> str:
    near = difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.4)
    meant = f" Did you mean {shown[names.index(near[0])]}?" if near else ""
    return f"there is no {text!r}; there are {', '.join(shown[:-1])} and {shown[-1]}.{meant}"
