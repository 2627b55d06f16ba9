"""Losses l(h, y) of one sample; L = 1/n sum_k omega_k l(h_k, y_k), omega the weights of the data.

The flow needs two derivatives of l: the residual r = -dl/dh, by which a sample pulls, and the
curvature gamma = d2l/dh2, by which a pull changes as the prediction does: r' = -gamma h'.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._support._checks import is_concrete, shortened


class AbstractLoss(eqx.Module):
    """l(h, y), convex in h, for arrays of predictions and labels."""

    quadratic: ClassVar[bool] = False  # whether the curvature is 1

    @abc.abstractmethod
    def __call__(self, h, y) -> jax.Array:
        """l(h, y) of each sample."""

    @abc.abstractmethod
    def residual(self, h, y) -> jax.Array:
        """-dl/dh."""

    @abc.abstractmethod
    def curvature(self, h, y) -> jax.Array:
        """d2l/dh2."""

    def check_labels(self, y) -> None:
        """Raises where these are no labels for it."""


class _Square(AbstractLoss):
    quadratic: ClassVar[bool] = True

    def __call__(self, h, y):
        return (y - h) ** 2 / 2.0

    def residual(self, h, y):
        return y - h

    def curvature(self, h, y):
        return jnp.ones_like(h)

    def __repr__(self) -> str:
        return "rf.square"


class _OfMargins(AbstractLoss):
    """A function of y h, for labels 1 and -1."""

    def check_labels(self, y) -> None:
        if not is_concrete(y):
            return
        bad = np.flatnonzero(np.abs(np.asarray(y)) != 1.0)
        if len(bad):
            raise ValueError(
                f"Argument `y` must hold labels 1 and -1 for {self}, but y[{bad[0]}] is "
                f"{float(y[bad[0]])}."
            )


class _Logistic(_OfMargins):
    def __call__(self, h, y):
        return jax.nn.softplus(-y * h)

    def residual(self, h, y):
        return y * jax.nn.sigmoid(-y * h)

    def curvature(self, h, y):
        # Of the sigmoid on either side: 1 - sigmoid would lose it where the margin is large.
        return y**2 * jax.nn.sigmoid(y * h) * jax.nn.sigmoid(-y * h)

    def __repr__(self) -> str:
        return "rf.logistic"


class _Exponential(_OfMargins):
    def __call__(self, h, y):
        return jnp.exp(-y * h)

    def residual(self, h, y):
        return y * jnp.exp(-y * h)

    def curvature(self, h, y):
        return y**2 * jnp.exp(-y * h)

    def __repr__(self) -> str:
        return "rf.exponential"


class Loss(AbstractLoss):
    """A loss of one's own.

    Arguments:
        function: l(h, y) of JAX, elementwise, convex in h. It is differentiated up to five times;
            where its derivatives jump, the flow is as exact as its steps happen to be, and they say
            nothing of that. The compiled flow is kept for the function: pass the same one again.

    Raises:
        TypeError, ValueError: no function of (h, y), or one that is not elementwise.
    """

    function: Callable = eqx.field(static=True)

    def __init__(self, function: Callable):
        _check_elementwise(function)
        self.function = function

    def __call__(self, h, y):
        return self.function(h, y)

    def residual(self, h, y):
        return -_derivative(lambda h: self.function(h, y), h)

    def curvature(self, h, y):
        return -_derivative(lambda h: self.residual(h, y), h)

    def __repr__(self) -> str:
        return f"rf.Loss({getattr(self.function, '__name__', self.function)})"


square, logistic, exponential = _Square(), _Logistic(), _Exponential()


def as_loss(loss) -> AbstractLoss:
    """A loss, also from a bare function; an error for anything else."""
    if isinstance(loss, AbstractLoss):
        return loss
    if callable(loss):
        return Loss(loss)
    raise TypeError(
        "Argument `loss` must be a loss such as rf.square or rf.logistic, or a function l(h, y), "
        f"but it is {shortened(loss)}."
    )


def _check_elementwise(function) -> None:
    what = "Argument `loss` must be a function l(h, y) of arrays of one shape that returns another"
    if not callable(function):
        raise TypeError(f"{what}, but it is {shortened(function)}.")
    samples = jax.ShapeDtypeStruct((3,), np.float64)
    try:
        made = jax.eval_shape(function, samples, samples)
    except TypeError as error:
        raise TypeError(f"{what}, but for two arrays it raises: {error}") from error
    if not isinstance(made, jax.ShapeDtypeStruct) or made.shape != (3,):
        raise ValueError(f"{what}, but for arrays of shape (3,) it returns {shortened(made)}.")


def _derivative(function, h):
    """Of an elementwise function."""
    return jax.jvp(function, (h,), (jnp.ones_like(h),))[1]


def derivatives(function, h, count: int) -> list:
    """An elementwise function and its first derivatives, `count` of them in all."""
    found = [function(h)]
    for _ in range(count - 1):
        function = _differentiated(function)
        found.append(function(h))
    return found


def _differentiated(function):
    return lambda h: _derivative(function, h)
