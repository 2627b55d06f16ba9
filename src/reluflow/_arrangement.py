"""The boundaries <w, x_k> = 0 that the inputs make, as the flow sees them."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._dataset import Dataset
from ._rays import Geometry, rays
from ._shapes import Gram, Inputs, PerSample


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
    def of(cls, data: Dataset, geometry: Geometry) -> "Arrangement":
        gram = data.gram()
        length = jnp.sqrt(jnp.diag(gram))
        none = jnp.zeros(gram.shape, bool)
        parallel = none if geometry.distinct else data.parallel()
        return cls(data.x, gram, length, rays(data.x, geometry.rank), parallel, geometry.precise)

    @property
    def samples(self) -> int:
        return self.gram.shape[0]

    def rises(self, residual: PerSample) -> Float[Array, " rays"]:
        """n E(u) along the rays, E(u) = 1/n sum_k r_k relu(<u, x_k>): what makes a neuron with
        a_j > 0 grow from w = 0."""
        return jnp.maximum(self.rays, 0.0) @ residual
