"""What neurons give to h, and to the tangent kernel, at the points of a step."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model import _modes
from .._model._arrangement import Arrangement
from ._field import Pattern


class Here(eqx.Module):
    """What h and the kernel depend on: neurons where they are, at every point."""

    weight: Float[Array, "*points neurons"]
    output: Float[Array, "*points neurons"]
    preactivation: Float[Array, "*points neurons boundaries"]


def predictions(arrangement: Arrangement, mode, here: Here) -> Float[Array, "points samples"]:
    """h; mode: of all points, or for each."""
    sides = (jnp.sum(each, axis=1) for each in _sides(arrangement, mode, here))
    return arrangement.predictions(*sides)


def _sides(arrangement: Arrangement, mode, here: Here):
    """weight_j a_j p_jb of the units on the positive side, and of those on the negative side, where
    there are samples for them."""
    share = (here.weight * here.output)[:, :, None]
    positive = share * jnp.where(mode == _modes.ACTIVE, here.preactivation, 0.0)
    if arrangement.incidence is None:
        return positive, positive
    return positive, share * jnp.where(mode == _modes.INACTIVE, here.preactivation, 0.0)


def kernels(
    arrangement: Arrangement, pattern: Pattern, mode, here: Here
) -> Float[Array, "nodes samples samples"]:
    """The tangent kernel K of r' = -K r at all nodes, with each neuron's D projected where it
    slides:

    K_kl = 1/n sum_j weight_j (s_jk s_jl a_j^2 <x_k, P_j x_l> + phi_jk phi_jl),

    with phi_jk = phi(<w_j, x_k>) and s_jk its slope there.

    mode: (nodes or 1, neurons, boundaries). Where the sliding units of a neuron are not those of
    `pattern`, P_j is left out: near an event, K need not be exact.
    """
    p, slope, gram = _at_samples(arrangement, mode, here)
    outer = here.weight * here.output**2
    matrix = jnp.einsum("ijk,ijl->ikl", outer[:, :, None] * slope, slope) * gram
    matrix = matrix + jnp.einsum("ijk,ijl->ikl", here.weight[:, :, None] * p, p)
    if pattern.slots.shape[1] > 0:
        matrix = matrix - jnp.einsum(
            "ij,jkl->ikl", outer * _same(mode, pattern), _lost(arrangement, pattern)
        )
    return matrix / gram.shape[0]


def _at_samples(arrangement: Arrangement, mode, here: Here):
    """phi(<w_j, x_k>) and its slope, both (nodes, neurons, samples); and <x_k, x_l>."""
    mode = jnp.broadcast_to(mode, here.preactivation.shape)
    sides = (mode == _modes.ACTIVE, mode == _modes.INACTIVE)
    return *arrangement.at_samples(here.preactivation, *sides), arrangement.sample_gram()


def _same(mode, pattern: Pattern):
    """Whether the same units slide as on the pattern, (nodes, neurons)."""
    slides = (mode == _modes.SLIDING) == (pattern.mode == _modes.SLIDING)
    return jnp.all(slides, axis=2).astype(jnp.float64)


def _lost(arrangement: Arrangement, pattern: Pattern) -> Float[Array, "neurons samples samples"]:
    """X_A G_SS^-1 X_A': what the projection of each neuron takes from the Gram matrix."""
    rows = arrangement.gram.at[pattern.slots].get(mode="fill", fill_value=0.0)
    sides = (pattern.mode == _modes.ACTIVE, pattern.mode == _modes.INACTIVE)
    rows, response = (
        arrangement.at_samples(each, *(side[:, None] for side in sides))[0]
        for each in (rows, pattern.response)
    )
    return jnp.einsum("jsk,jsl->jkl", rows, response)
