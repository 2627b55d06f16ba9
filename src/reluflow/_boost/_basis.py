"""In which vectors the motion of a neuron is written: w = kept w(0) + sum_i c_i B_i.

On a pattern, D(s) = sum_i P_i(s) D_i, where D_i = sum_b beta_ib u_b belongs to the Legendre
coefficient i of the pulls. Two choices of the B_i make the equations of `_propagator` short: the
D_i, seven, however many boundaries there are; or, where these are fewer, the u_b, whose Gram matrix
all neurons share and which a change of pattern does not touch.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from .._dynamics._field import Pattern, coefficients
from .._model import _modes
from .._model._arrangement import Pulls
from .._model._shapes import PerNeuron, UnitFlags, Units
from ._collocation import NUM_NODES
from ._generator import Generator
from ._small import total


class Basis(eqx.Module):
    """Arguments called b are coefficients of the B_i, of shape (..., vectors, neurons)."""

    @abc.abstractmethod
    def weights(self, modal: Array) -> Array:
        """b of sum_i modal_i D_i; modal of shape (..., modes, neurons), or 1 for all of them."""

    @abc.abstractmethod
    def products(self, b: Array) -> Array:
        """<B_i, sum_l b_l B_l>, of the shape of b."""

    @abc.abstractmethod
    def spread(self, b: Array) -> Array:
        """<u_b, sum_i b_i B_i>, of shape (..., neurons, boundaries)."""

    @abc.abstractmethod
    def spread_at(self, b: Array, boundary: Array) -> Array:
        """The same at one boundary of each neuron, of shape (..., neurons)."""

    @abc.abstractmethod
    def combination(self, generator: Generator, pattern: Pattern, b: Array) -> Units:
        """The coefficients of the u_b in sum_i b_i B_i."""

    def velocity(self, polynomials: Array) -> Array:
        """<u_b, D(s)> from the Legendre polynomials at s."""
        return self.spread(self.weights(polynomials))

    def velocities(self, polynomials: np.ndarray) -> Float[Array, "times neurons boundaries"]:
        """The same at times that all neurons share; polynomials: (times, modes)."""
        return self.velocity(jnp.asarray(polynomials)[..., None])

    def velocity_at(self, polynomials: Array, boundary: Array) -> PerNeuron:
        return self.spread_at(self.weights(polynomials), boundary)

    def along(self, polynomials: Array, overlap: Array) -> PerNeuron:
        """<D(s), w> from the <B_i, w>: the velocity of the output."""
        return total(self.weights(polynomials) * overlap, -2)


class ModeBasis(Basis):
    """B_i = D_i: <u_b, D_i> and <D_i, D_l>."""

    force: Float[Array, "modes neurons boundaries"]
    inner: Float[Array, "modes modes neurons"]

    def weights(self, modal):
        return jnp.broadcast_to(modal, (*modal.shape[:-1], self.inner.shape[-1]))

    def products(self, b):
        return total(self.inner * b[..., :, None, :], -3)

    def spread(self, b):
        return total(b[..., None] * self.force, -3)

    def velocities(self, polynomials):
        return jnp.tensordot(polynomials, self.force, 1)

    def spread_at(self, b, boundary):
        return total(b * self.force[:, jnp.arange(boundary.shape[0]), boundary], -2)

    def combination(self, generator, pattern, b):
        # (Summed as `spread` sums: on orthogonal inputs the two are then one, to the last bit.)
        def integrated(pull):
            return total(b[:, :, None] * pull, 0) / generator.samples

        return coefficients(generator.pulls.map(integrated), pattern)

    def switched(self, generator: Generator, change: PerNeuron, boundary) -> "ModeBasis":
        """After one unit of each neuron has changed its alpha by `change`: updates of rank one."""
        gram = generator.gram
        beta = change * generator.modal(boundary) / generator.samples
        cross = beta[:, None] * self.force[:, jnp.arange(boundary.shape[0]), boundary][None]
        square = beta[:, None] * beta[None] * jnp.diag(gram)[boundary]
        inner = self.inner + cross + jnp.swapaxes(cross, 0, 1) + square
        return ModeBasis(self.force + beta[:, :, None] * gram[boundary][None], inner)


class BoundaryBasis(Basis):
    """B_b = u_b."""

    beta: Float[Array, "modes boundaries neurons"]
    gram: Float[Array, "boundaries boundaries"]
    sliding: UnitFlags

    def rows(self, at) -> "BoundaryBasis":
        """Of some of the neurons."""
        return BoundaryBasis(self.beta[..., at], self.gram, self.sliding[at])

    def weights(self, modal):
        return total(modal[..., :, None, :] * self.beta, -3)

    def products(self, b):
        return total(self.gram[:, :, None] * b[..., None, :, :], -2)

    def spread(self, b):
        return jnp.where(self.sliding, 0.0, jnp.swapaxes(self.products(b), -1, -2))

    def spread_at(self, b, boundary):
        sliding = self.sliding[jnp.arange(boundary.shape[0]), boundary]
        return jnp.where(sliding, 0.0, total(b * self.gram[:, boundary], -2))

    def combination(self, generator, pattern, b):
        return b.T


def betas(generator: Generator, pattern: Pattern) -> Float[Array, "modes neurons boundaries"]:
    def at(pulls: Pulls):  # the same for all neurons or some for each
        if generator.length.shape[0] == 1:
            pulls = pulls.map(lambda pull: pull[0])
        return coefficients(pulls, pattern)

    return jax.vmap(at)(generator.pulls) / generator.samples


def boundary_basis(generator: Generator, pattern: Pattern) -> BoundaryBasis:
    beta = jnp.swapaxes(betas(generator, pattern), 1, 2)
    return BoundaryBasis(beta, generator.gram, pattern.mode == _modes.SLIDING)


def mode_basis(generator: Generator, pattern: Pattern) -> ModeBasis:
    """Of some neurons, on this pattern."""
    beta = betas(generator, pattern)
    force = beta @ generator.gram
    if pattern.slots.shape[1] > 0:  # zero up to rounding: made exact
        force = jnp.where(pattern.mode == _modes.SLIDING, 0.0, force)
    # (A product of matrices puts the neurons first; every boost reads them side by side.)
    inner = with_layout_constraint(jnp.einsum("ijk,ljk->ilj", beta, force), Layout((0, 1, 2)))
    return ModeBasis(force, inner)


def overlaps(
    generator: Generator, pattern: Pattern, preactivation: Units
) -> Float[Array, "vectors _"]:
    """<B_i, w> of neurons with these preactivations."""
    if generator.boundaries <= NUM_NODES:
        return preactivation.T
    return jnp.sum(betas(generator, pattern) * preactivation, axis=2)
