"""A data set, and the Gram matrix through which the flow sees its inputs."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._support._checks import as_float64, check_finite, check_ndim, is_concrete
from ._shapes import Gram, Inputs, Labels


class Dataset(eqx.Module):
    """Inputs x_k in R^d and labels y_k, k = 1..n.

    Fields, all float64:
        x: shape (samples, dim).
        y: shape (samples,).
        weights: omega_k >= 0, shape (samples,), the factors of the samples in the loss,
            1/n sum_k omega_k l(h(x_k), y_k); None where all are 1. They are not normalised.

    A bias is a coordinate of x that is constant. Inputs may be parallel, antiparallel or equal,
    with any labels: those on one line through 0 share a boundary. An input that is zero has none,
    and only adds a constant to the loss.

    Raises:
        ValueError: shapes that do not match, no samples, NaN or infinite inputs, weights below 0.
    """

    x: Inputs
    y: Labels
    weights: Labels | None

    def __init__(self, x, y, weights=None):
        self.x, self.y = as_float64("x", x), as_float64("y", y)
        check_ndim("x", self.x, ("samples", "dim"))
        check_ndim("y", self.y, ("samples",))
        if 0 in self.x.shape:
            raise ValueError(
                "Argument `x` must hold at least one sample and one dimension, but it has "
                f"shape {self.x.shape}."
            )
        if self.x.shape[0] != self.y.shape[0]:
            raise ValueError(
                f"Argument `y` must have one label per row of `x` ({self.x.shape[0]}), but it "
                f"has {self.y.shape[0]}."
            )
        check_finite("x", self.x)
        check_finite("y", self.y)
        _check_squares("x", self.x, "squared lengths")
        _check_squares("y", self.y, "squares")
        self.weights = None if weights is None else _checked_weights(weights, self.samples)

    def mean(self, values):
        """1/n sum_k omega_k of values per sample, along their last axis."""
        return jnp.mean(self.weighted(values), axis=-1)

    def weighted(self, values):
        """omega_k times values per sample."""
        return values if self.weights is None else self.weights * values

    @property
    def samples(self) -> int:
        return self.x.shape[0]

    @property
    def dim(self) -> int:
        return self.x.shape[1]

    def gram(self) -> Gram:
        """<x_k, x_l>, with entries that rounding alone can explain set to exactly zero.

        Inputs that are orthogonal up to float64 rounding (a QR factor, say) are meant to be
        orthogonal, and then an inactive preactivation has velocity exactly 0 (2022, Lemma 6):
        a product of 1e-17 would let a neuron of size 1e-20 be switched on by noise. The
        threshold is the rounding error of the product itself, 4 d eps |x_k| |x_l|.
        """
        return gram_of(self.x)

    def is_orthogonal(self) -> bool:
        """Whether all inputs are orthogonal to each other, to rounding (needs concrete data)."""
        # (Compiled ahead, it can be called while a function is traced that has the data inside.)
        gram = np.array(_compiled_gram(self.x.shape)(np.asarray(self.x)))
        np.fill_diagonal(gram, 0.0)
        return not gram.any()

    def lines(self) -> tuple[int, ...] | None:
        """On which line through 0 each input is, counted from 0 in the order of their first inputs;
        -1 for an input that is zero. None where the inputs cannot be looked at, under `jax.jit`.

        Two inputs are on one line where the sine of their angle is no more than rounding of their
        entries, 8 eps sqrt(d).
        """
        if not is_concrete(self.x):
            return None
        x = np.asarray(self.x)
        near = _sines(x) <= _parallel_sine(self.dim)
        found, count = np.full(self.samples, -1), 0
        for k in np.flatnonzero(np.any(x != 0.0, axis=1)):
            earlier = np.flatnonzero(near[:k, k] & (found[:k] >= 0))
            found[k] = found[earlier[0]] if len(earlier) else count
            count += not len(earlier)
        return tuple(found.tolist())

    def boundaries(self) -> dict[int, list[int]]:
        """The samples on each boundary, by the first of them, which is the boundary's name in
        `Events`. An input that is zero is on none. (Needs concrete data.)"""
        lines = self.lines()
        if lines is None:
            raise ValueError("The boundaries of inputs that are traced by JAX are not known yet.")
        found: dict[int, list[int]] = {}
        for k, line in enumerate(lines):
            if line >= 0:
                found.setdefault(lines.index(line), []).append(k)
        return found

    def smallest_sine(self) -> float:
        """Of the angle between two boundaries; 1 where they cannot be looked at."""
        if not is_concrete(self.x):
            return 1.0
        sine = _sines(np.asarray(self.x))
        return float(np.min(sine, initial=1.0, where=sine > _parallel_sine(self.dim)))


def _checked_weights(weights, samples: int):
    weights = as_float64("weights", weights)
    check_ndim("weights", weights, ("samples",))
    if weights.shape[0] != samples:
        raise ValueError(
            f"Argument `weights` must have one weight per row of `x` ({samples}), but it has "
            f"{weights.shape[0]}."
        )
    check_finite("weights", weights)
    if is_concrete(weights) and np.any(np.asarray(weights) < 0.0):
        k = int(np.argmax(np.asarray(weights) < 0.0))
        raise ValueError(
            f"Argument `weights` must not be negative, but weights[{k}] is {weights[k]}."
        )
    return weights


def _parallel_sine(dim: int) -> float:
    """Of inputs on one line: rounding of their entries leaves no more between them."""
    return 8.0 * float(np.finfo(np.float64).eps) * float(np.sqrt(dim))


def lines_of(x: Inputs) -> tuple[Int[Array, " samples"], Int[Array, " samples"]]:
    """(the first input on each line, padded with their number; the line of each input, -1 if it is
    zero): what `Dataset.lines` tells, where data cannot be looked at."""
    samples, dim = x.shape
    exists = jnp.any(x != 0.0, axis=1)
    sine = jax.lax.map(lambda row: _sine(row, x), x)
    near = (sine <= _parallel_sine(dim)) & exists & exists[:, None]
    near = near | jnp.eye(samples, dtype=bool)
    representative = jnp.argmax(near, axis=0)
    is_first = exists & (representative == jnp.arange(samples))
    (first,) = jnp.nonzero(is_first, size=samples, fill_value=samples)
    number = jnp.cumsum(is_first) - 1
    return first, jnp.where(exists, number[representative], -1)


def _sine(row, x):
    """Of the angles between one input and all: what is left of them beside it."""
    square, length = row @ row, jnp.linalg.norm(x, axis=1)
    onto = (x @ row) / jnp.where(square > 0.0, square, 1.0)
    rest = jnp.linalg.norm(x - onto[:, None] * row, axis=1)
    return rest / jnp.where(length > 0.0, length, 1.0)


def _sines(x: np.ndarray) -> np.ndarray:
    """Of the angles between inputs k < l; 1 elsewhere, and where one is zero.

    From the Gram matrix; near 0, where that is too coarse, from the inputs.
    """
    length = np.linalg.norm(x, axis=1)
    exists = length > 0.0
    unit = x / np.where(exists, length, 1.0)[:, None]
    cosine = np.clip(np.abs(unit @ unit.T), 0.0, 1.0)
    pairs = np.triu(np.ones_like(cosine), k=1) > 0.0
    sine = np.where(pairs & exists & exists[:, None], np.sqrt(1.0 - cosine**2), 1.0)
    for k, other in np.argwhere(sine < 1e-4):
        rest = x[other] - (x[other] @ x[k]) / (x[k] @ x[k]) * x[k]
        sine[k, other] = np.linalg.norm(rest) / length[other]
    return sine


def _check_squares(name: str, array: jax.Array, what: str) -> None:
    """Raises ValueError where squares leave the range of float64; a square of 0 may."""
    if not is_concrete(array):
        return
    values = np.asarray(array)
    with np.errstate(over="ignore", under="ignore"):
        squares = np.sum(values**2, axis=1) if values.ndim > 1 else values**2
    bad = ~np.isfinite(squares)
    if values.ndim > 1:
        bad |= np.any(values != 0.0, axis=1) & (squares < np.finfo(np.float64).tiny)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(
            f"Argument `{name}` must have {what} that float64 can hold, but {name}[{k}] is "
            f"{values[k]}. Take other units: the flow is homogeneous in the inputs and the labels."
        )


@jax.jit
def gram_of(x: Inputs) -> Gram:
    gram = x @ x.T
    length = jnp.sqrt(jnp.diag(gram))
    noise = 4.0 * x.shape[1] * np.finfo(np.float64).eps * length[:, None] * length[None, :]
    return jnp.where(jnp.abs(gram) > noise, gram, 0.0)


@functools.cache
def _compiled_gram(shape: tuple[int, int]):
    return gram_of.lower(jax.ShapeDtypeStruct(shape, jnp.float64)).compile()
