"""How a residual decays where the tangent kernel and the curvature of the loss stay as they are."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model._shapes import PerSample
from .._support._factorisations import eigh


class Spectrum(eqx.Module):
    """Of r' = -Gamma K r, Gamma the diagonal matrix of the curvatures gamma_k: with S = Gamma^{1/2}
    and the symmetric S K S = V diag(rates) V',

        r(t) = S V e^{-rates t} V' S^{-1} r(0).

    A sample without curvature keeps its residual. root: S; None where it is 1.
    """

    rates: PerSample
    vectors: Float[Array, "samples modes"]
    root: PerSample | None

    @classmethod
    def of(
        cls, kernel: Float[Array, "samples samples"], curvature: Float[Array, " samples"] | None
    ):
        root = None
        if curvature is not None:
            root = jnp.sqrt(jax.lax.stop_gradient(curvature))
            kernel = root[:, None] * kernel * root
        values, vectors = eigh(jax.lax.stop_gradient(kernel))
        return cls(jnp.maximum(values, 0.0), vectors, root)

    def parts(self, residual: PerSample) -> Array:
        """The coefficients of its modes."""
        if self.root is not None:
            positive = self.root > 0.0
            residual = jnp.where(positive, residual / jnp.where(positive, self.root, 1.0), 0.0)
        return residual @ self.vectors

    def composed(self, parts: Float[Array, "*times modes"]) -> Float[Array, "*times samples"]:
        """The residual with these coefficients, without what has no curvature."""
        composed = parts @ self.vectors.T
        return composed if self.root is None else self.root * composed

    def constant(self, residual: PerSample) -> PerSample:
        """What has no curvature."""
        if self.root is None:
            return jnp.zeros_like(residual)
        return jnp.where(self.root > 0.0, 0.0, residual)

    def predictions(self, residual: PerSample) -> PerSample:
        """By how much predictions differ where residuals differ by this."""
        if self.root is None:
            return residual
        positive = self.root > 0.0
        return jnp.where(positive, residual / jnp.where(positive, self.root, 1.0) ** 2, 0.0)

    def largest_curvature(self) -> Array:
        return jnp.ones(()) if self.root is None else jnp.max(self.root) ** 2
