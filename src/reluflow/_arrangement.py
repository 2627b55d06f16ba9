"""The boundaries <w, x_k> = 0 that the inputs make, as the flow sees them."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._dataset import Dataset
from ._rays import rays
from ._shapes import Gram, Inputs, PerSample

# Nearer to parallel than this, the Gram matrix is too coarse for what slides along both.
_NEARLY_PARALLEL = 1e-3
_FEW = 16  # samples for which the inputs themselves are used always: it costs nothing there


class Arrangement(eqx.Module):
    """Fields:

    gram, length: <x_k, x_l> and |x_k|.
    rays: <u, x_k> for the extreme rays u, see `_rays`.
    parallel: pairs of samples that have one boundary.
    precise: whether sliding units are to be held by the inputs rather than by their Gram matrix.
    """

    inputs: Inputs
    gram: Gram
    length: PerSample
    rays: Float[Array, "rays samples"]
    parallel: Bool[Array, "samples samples"]
    precise: bool = eqx.field(static=True)

    @classmethod
    def of(cls, data: Dataset) -> "Arrangement":
        gram = data.gram()
        length = jnp.sqrt(jnp.diag(gram))
        precise = data.samples <= _FEW or data.smallest_sine() < _NEARLY_PARALLEL
        return cls(data.x, gram, length, rays(data.x), data.parallel(), precise)

    @property
    def samples(self) -> int:
        return self.gram.shape[0]

    def rises(self, residual: PerSample) -> Float[Array, " rays"]:
        """n E(u) along the rays, E(u) = 1/n sum_k r_k relu(<u, x_k>): what makes a neuron with
        a_j > 0 grow from w = 0."""
        return jnp.maximum(self.rays, 0.0) @ residual
