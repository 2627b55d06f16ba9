"""A data set, and the Gram matrix through which the flow sees its inputs."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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
        x = np.asarray(self.x)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        pairs = np.argwhere(np.triu(np.abs(x @ x.T) >= 1.0 - 1e-14, k=1))
        return (int(pairs[0, 0]), int(pairs[0, 1])) if len(pairs) else None


@jax.jit
def _gram(x: Inputs) -> Gram:
    gram = x @ x.T
    length = jnp.sqrt(jnp.diag(gram))
    noise = 4.0 * x.shape[1] * np.finfo(np.float64).eps * length[:, None] * length[None, :]
    return jnp.where(jnp.abs(gram) > noise, gram, 0.0)


@functools.cache
def _compiled_gram(shape: tuple[int, int]):
    return _gram.lower(jax.ShapeDtypeStruct(shape, jnp.float64)).compile()
