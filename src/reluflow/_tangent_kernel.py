"""What neurons give to h, and to the tangent kernel, at the points of a step."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import _modes
from ._field import Pattern
from ._shapes import Gram


class Here(eqx.Module):
    """What h and the kernel depend on: neurons where they are, at every point."""

    weight: Float[Array, "*points neurons"]
    output: Float[Array, "*points neurons"]
    preactivation: Float[Array, "*points neurons samples"]


def predictions(mode, here: Here) -> Float[Array, "points samples"]:
    """h; mode: of all points, or for each."""
    return jnp.sum(_each(mode, here), axis=1)


def predictions_of_lanes(
    mode, here: Here, lane, lanes: int
) -> Float[Array, "lanes points samples"]:
    """The same where each neuron belongs to a lane."""
    if lanes == 1:
        return predictions(mode, here)[None]
    each = jnp.moveaxis(_each(mode, here), 1, 0)
    return jnp.zeros((lanes, *each.shape[1:])).at[lane].add(each)


def _each(mode, here: Here):
    active = jnp.where(mode == _modes.ACTIVE, here.preactivation, 0.0)
    return (here.weight * here.output)[:, :, None] * active


def kernels(
    gram: Gram, pattern: Pattern, mode, here: Here
) -> Float[Array, "nodes samples samples"]:
    """The tangent kernel K of r' = -K r at all nodes, with each neuron's D projected where it
    slides:

    K_kl = 1/n sum_j weight_j alpha_jk alpha_jl (a_j^2 <x_k, P_j x_l> + p_jk p_jl).

    mode: (nodes or 1, neurons, samples). Where the sliding units of a neuron are not those of
    `pattern`, P_j is left out: near an event, K need not be exact.
    """
    active = jnp.broadcast_to(mode == _modes.ACTIVE, here.preactivation.shape)
    mask = active.astype(jnp.float64)
    outer = here.weight * here.output**2
    p = jnp.where(active, here.preactivation, 0.0)
    matrix = jnp.einsum("ijk,ijl->ikl", outer[:, :, None] * mask, mask) * gram
    matrix = matrix + jnp.einsum("ijk,ijl->ikl", here.weight[:, :, None] * p, p)
    if pattern.slots.shape[1] > 0:
        matrix = matrix - jnp.einsum(
            "ij,jkl->ikl", outer * _same(mode, pattern), _lost(gram, pattern)
        )
    return matrix / gram.shape[0]


def kernels_of_lanes(gram: Gram, pattern: Pattern, mode, here: Here, lane, lanes: int):
    """The same where each neuron belongs to a lane, with an axis of lanes first."""
    if lanes == 1:
        return kernels(gram, pattern, mode, here)[None]
    active = jnp.broadcast_to(mode == _modes.ACTIVE, here.preactivation.shape)
    outer = (here.weight * here.output**2)[:, :, None, None]
    p = jnp.where(active, here.preactivation, 0.0)
    each = outer * jnp.where(active[:, :, :, None] & active[:, :, None], gram, 0.0)
    each = each + here.weight[:, :, None, None] * p[:, :, :, None] * p[:, :, None]
    if pattern.slots.shape[1] > 0:
        each = each - outer * _same(mode, pattern)[:, :, None, None] * _lost(gram, pattern)
    each = jnp.moveaxis(each, 1, 0) / gram.shape[0]
    return jnp.zeros((lanes, *each.shape[1:])).at[lane].add(each)


def _same(mode, pattern: Pattern):
    """Whether the same units slide as on the pattern, (nodes, neurons)."""
    slides = (mode == _modes.SLIDING) == (pattern.mode == _modes.SLIDING)
    return jnp.all(slides, axis=2).astype(jnp.float64)


def _lost(gram: Gram, pattern: Pattern) -> Float[Array, "neurons samples samples"]:
    """G_AS G_SS^-1 G_SA: what the projection of each neuron takes from the Gram matrix."""
    rows = gram.at[pattern.slots].get(mode="fill", fill_value=0.0)
    rows = jnp.where((pattern.mode == _modes.ACTIVE)[:, None, :], rows, 0.0)
    return jnp.einsum("jsk,jsl->jkl", rows, pattern.response)
