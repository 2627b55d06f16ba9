"""How the residual decays by the kernel at the end of the last step."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._shapes import PerSample, Scalar
from .._spectrum import Spectrum
from ._collocation import NUM_NODES, RESOLVED

_PART = 1e-3  # of the tolerance


class DecayPredictor(Spectrum):
    """The eigenvalues and eigenvectors of K, or of S K S."""

    def after(
        self, times: Float[Array, " times"], residual: PerSample
    ) -> Float[Array, "times samples"]:
        decays = jnp.exp(-times[:, None] * self.rates)
        return self.constant(residual) + self.composed(decays * self.parts(residual))

    def longest(self, residual: PerSample, tolerance: Scalar, bound: Scalar) -> Scalar:
        """A step whose polynomial misses little of this: of no mode more than a part of what is
        allowed, which moves a neuron by `bound` times its integral, at most |c| min(H, 1 / rate).
        What has decayed already does not bound it.

        Of e^-x, x = rate H, the polynomial misses min(1, x^7 / RESOLVED).
        """
        rates = jnp.maximum(self.rates, 1e-150)
        allowed = _PART * tolerance * rates
        missed = bound * jnp.abs(self.parts(residual)) * jnp.sqrt(self.largest_curvature())
        ratio = allowed / jnp.maximum(missed, 1e-300)
        power = RESOLVED * ratio  # x^7, or x^8 where H < 1 / rate
        x = power ** (1.0 / jnp.where(power < 1.0, NUM_NODES + 1.0, NUM_NODES))
        return jnp.min(jnp.where(ratio >= 1.0, jnp.inf, x / rates))
