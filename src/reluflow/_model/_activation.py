"""Activations of two slopes, phi(p) = plus p for p > 0 and minus p for p < 0.

They are the positively homogeneous ones, phi(c p) = c phi(p) for c > 0: all that scaled neurons,
the conservation of a_j^2 - |w_j|^2 and boosts need.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support._checks import as_float64, check_finite, check_type, is_concrete

Slope = float | Float[Array, "*#batch"]


class AbstractActivation(eqx.Module):
    """phi."""

    @abc.abstractmethod
    def slopes(self) -> tuple[Slope, Slope]:
        """(minus, plus)."""

    @abc.abstractmethod
    def lanes(self, shape: tuple[int, ...]) -> "AbstractActivation":
        """The same for networks with these leading axes."""

    def __call__(self, p: Array) -> Array:
        """phi of preactivations, of shape (..., neurons, samples)."""
        return self.times_slope(p, p)

    def times_slope(self, p: Array, values: Array) -> Array:
        """phi'(p) times these values; at p = 0 that of the negative side, which of ReLU is 0."""
        minus, plus = (jnp.asarray(slope)[..., None, None] for slope in self.slopes())
        return jnp.where(p > 0.0, plus * values, minus * values)


class _Fixed(AbstractActivation):
    """Slopes that are part of a program."""

    minus: float = eqx.field(static=True)
    plus: float = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def slopes(self):
        return self.minus, self.plus

    def lanes(self, shape):
        del shape
        return self

    def times_slope(self, p, values):
        low = self.minus * values if self.minus else jnp.zeros((), values.dtype)  # not 0 inf
        return jnp.where(p > 0.0, self.plus * values, low)

    def __repr__(self) -> str:
        return f"rf.{self.name}"


class TwoSlope(AbstractActivation):
    """phi(p) = plus p for p > 0, minus p for p < 0.

    Arguments:
        minus, plus: any finite slopes; traced ones too, so that a batch over slopes is one program.
            Other slopes are no other program.

    Raises:
        ValueError: NaN or infinite slopes, slopes of different shapes.
    """

    minus: Float[Array, "*#batch"]
    plus: Float[Array, "*#batch"]

    def __init__(self, minus, plus):
        self.minus, self.plus = as_float64("minus", minus), as_float64("plus", plus)
        check_finite("minus", self.minus)
        check_finite("plus", self.plus)
        if self.minus.shape != self.plus.shape:
            raise ValueError(
                "Arguments `minus` and `plus` must have one shape, but they have "
                f"{self.minus.shape} and {self.plus.shape}."
            )

    def slopes(self):
        return self.minus, self.plus

    def lanes(self, shape):
        slopes = (jnp.broadcast_to(slope, shape) for slope in self.slopes())
        return TwoSlope(*slopes)

    def __repr__(self) -> str:
        if not (is_concrete(self.minus) and is_concrete(self.plus) and self.minus.ndim == 0):
            return "rf.TwoSlope(...)"
        return f"rf.TwoSlope({float(self.minus):.6g}, {float(self.plus):.6g})"


relu = _Fixed(0.0, 1.0, "relu")
absolute = _Fixed(-1.0, 1.0, "absolute")
linear = _Fixed(1.0, 1.0, "linear")


def leaky_relu(slope) -> TwoSlope:
    """phi(p) = p for p > 0, slope p for p < 0. The slope may be traced.

    Raises:
        ValueError: a slope that is NaN or infinite.
    """
    slope = as_float64("slope", slope)
    return TwoSlope(slope, np.ones(slope.shape))


def is_relu(activation: AbstractActivation) -> bool:
    """Whether it is known to be `rf.relu`."""
    return isinstance(activation, _Fixed) and activation.name == "relu"


def check_activation(activation) -> None:
    check_type("activation", activation, AbstractActivation, "rf.leaky_relu(0.1)")


def slopes_along(
    activation: AbstractActivation, factor: Float[Array, " samples"]
) -> tuple[jax.Array, jax.Array]:
    """The slopes at x_k = c_k u of a neuron with <w, u> > 0, and of one with <w, u> < 0."""
    same = factor > 0.0
    minus, plus = activation.slopes()
    return jnp.where(same, plus, minus), jnp.where(same, minus, plus)
