"""How the residual decays by the kernel at the end of the last step, r' = -K r."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._shapes import PerSample, Scalar
from ._collocation import NUM_NODES

# A polynomial of degree 6 misses e^-x min(1, (x/4)^7 / 2520) of what decays as e^-x.
_MISSED = 2520.0 * 4.0**NUM_NODES
_PART = 1e-3  # of the tolerance


class Decay(eqx.Module):
    """The eigenvalues and eigenvectors of K."""

    rates: PerSample
    vectors: Float[Array, "samples modes"]

    @classmethod
    def by(cls, kernel: Float[Array, "samples samples"]) -> "Decay":
        values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(kernel))
        return cls(jnp.maximum(values, 0.0), vectors)

    def after(self, times: Float[Array, " times"], residual: PerSample) -> Float[Array, "t n"]:
        decays = jnp.exp(-times[:, None] * self.rates)
        return (decays * (residual @ self.vectors)) @ self.vectors.T

    def longest(self, residual: PerSample, tolerance: Scalar, bound: Scalar) -> Scalar:
        """A step whose polynomial misses little of this: of no mode more than a part of what is
        allowed, which moves a neuron by `bound` times its integral, at most |c| min(H, 1 / rate).
        What has decayed already does not bound it.
        """
        rates = jnp.maximum(self.rates, 1e-150)
        allowed = _PART * tolerance * rates
        missed = bound * jnp.abs(residual @ self.vectors)
        ratio = allowed / jnp.maximum(missed, 1e-300)
        x = (_MISSED * ratio) ** jnp.where(_MISSED * ratio < 1.0, 1.0 / 8.0, 1.0 / 7.0)
        return jnp.min(jnp.where(ratio >= 1.0, jnp.inf, x / rates))
