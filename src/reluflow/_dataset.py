"""A data set, and the Gram matrix through which the flow sees its inputs."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ._checks import as_float64, check_finite, check_ndim, is_concrete
from ._shapes import Gram, Inputs, Labels


class Dataset(eqx.Module):
    """Inputs x_k in R^d and labels y_k, k = 1..n.

    Fields, both float64:
        x: shape (samples, dim).
        y: shape (samples,).

    A bias is a coordinate of x that is constant. An input that is zero is refused: its
    preactivation vanishes for every neuron, so it has no boundary and only adds a constant to
    the loss.

    Raises:
        ValueError: shapes that do not match, no samples, NaN or infinite or zero inputs.
    """

    x: Inputs
    y: Labels

    def __init__(self, x, y):
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
        if is_concrete(self.x):
            zero = np.flatnonzero(~np.any(np.asarray(self.x) != 0.0, axis=1))
            if len(zero):
                raise ValueError(
                    f"Argument `x` must have no zero rows, but x[{zero[0]}] is zero: no neuron "
                    "has a boundary there. Drop the sample (its loss is a constant)."
                )

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
        return _gram(self.x)

    def is_orthogonal(self) -> bool:
        """Whether all inputs are orthogonal to each other, to rounding (needs concrete data)."""
        # (Compiled ahead, it can be called while a function is traced that has the data inside.)
        gram = np.array(_compiled_gram(self.x.shape)(np.asarray(self.x)))
        np.fill_diagonal(gram, 0.0)
        return not gram.any()

    def parallel_inputs(self) -> tuple[int, int] | None:
        """The first two inputs that are parallel to rounding, if any can be seen now.

        One-dimensional inputs all are, and share the one boundary w = 0: they do not count.
        """
        if not is_concrete(self.x) or self.dim == 1:
            return None
        pairs = np.argwhere(_sines(np.asarray(self.x)) <= _parallel_sine(self.dim))
        return (int(pairs[0, 0]), int(pairs[0, 1])) if len(pairs) else None

    def parallel(self) -> Bool[Array, "samples samples"]:
        """Pairs of different inputs on one line, to rounding; none in one dimension.

        Where data cannot be looked at, under `jax.jit`, this is what tells them.
        """
        if self.dim == 1 or is_concrete(self.x):
            return jnp.zeros((self.samples, self.samples), bool)
        sine = jax.lax.map(lambda row: _sine(row, self.x), self.x)
        return (sine <= _parallel_sine(self.dim)) & ~jnp.eye(self.samples, dtype=bool)

    def smallest_sine(self) -> float:
        """Of the angle between two inputs; 1 where they cannot be looked at."""
        if not is_concrete(self.x) or self.dim == 1:
            return 1.0
        return float(np.min(_sines(np.asarray(self.x)), initial=1.0))


def _parallel_sine(dim: int) -> float:
    """Of inputs on one line: rounding of their entries leaves no more between them."""
    return 8.0 * float(np.finfo(np.float64).eps) * float(np.sqrt(dim))


def _sine(row, x):
    """Of the angles between one input and all: what is left of them beside it."""
    onto = (x @ row) / (row @ row)
    return jnp.linalg.norm(x - onto[:, None] * row, axis=1) / jnp.linalg.norm(x, axis=1)


def _sines(x: np.ndarray) -> np.ndarray:
    """Of the angles between inputs k < l; 1 elsewhere.

    From the Gram matrix; near 0, where that is too coarse, from the inputs.
    """
    length = np.linalg.norm(x, axis=1)
    cosine = np.clip(np.abs((x / length[:, None]) @ (x / length[:, None]).T), 0.0, 1.0)
    sine = np.where(np.triu(np.ones_like(cosine), k=1) > 0.0, np.sqrt(1.0 - cosine**2), 1.0)
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
def _gram(x: Inputs) -> Gram:
    gram = x @ x.T
    length = jnp.sqrt(jnp.diag(gram))
    noise = 4.0 * x.shape[1] * np.finfo(np.float64).eps * length[:, None] * length[None, :]
    return jnp.where(jnp.abs(gram) > noise, gram, 0.0)


@functools.cache
def _compiled_gram(shape: tuple[int, int]):
    return _gram.lower(jax.ShapeDtypeStruct(shape, jnp.float64)).compile()
