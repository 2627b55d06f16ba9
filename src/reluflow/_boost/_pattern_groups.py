"""Neurons on the same pattern move by the same linear map.

In the coordinates of a `BoundaryBasis` a neuron is (a, p_1, ..., p_n), and over an interval

    a' = A (a, p),      gained' = C (a, p),      p' = kappa p + G gained',      over e^gamma,

where A, C, kappa and gamma belong to its pattern. Of few boundaries there are few patterns, however
many neurons: the maps are made once for each pattern, all intervals at once, by the boosts of
the unit vectors; the neurons then only apply them, one interval after the other.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._field import Pattern
from .._indexing import first_true
from ._basis import BoundaryBasis
from ._propagator import Propagation, Reduced, boosted
from ._small import total

_BLOCK = 8  # patterns whose maps are made at once


class PatternMaps(eqx.Module):
    """From the beginning of the step to every later point, of each class; columns are (a, p)."""

    output: Float[Array, "points columns classes"]
    gained: Float[Array, "points boundaries columns classes"]
    growth: Float[Array, "points classes"]

    def applied(self, to: Int[Array, " neurons"], here: Float[Array, "columns neurons"]):
        """(output, gained, growth) of neurons of these classes."""
        output, gained = self.output[..., to], self.gained[..., to]
        return total(output * here, 1), total(gained * here, 2), self.growth[..., to]


class PatternGroups(eqx.Module):
    """of: the class of each neuron; representative: a neuron of each; then their number."""

    of: Int[Array, " neurons"]
    representative: Int[Array, " neurons"]
    count: Int[Array, ""]

    @classmethod
    def by_pattern(cls, pattern: Pattern) -> "PatternGroups":
        """Modes are told from each other by two bits each: few boundaries have few patterns."""
        neurons, boundaries = pattern.mode.shape
        digits = 4 ** jnp.arange(boundaries, dtype=jnp.int32)
        key = total(pattern.mode.astype(jnp.int32) * digits, 1)
        first = jnp.argmax(key[:, None] == key, axis=1)
        is_first = first == jnp.arange(neurons)
        number = jnp.cumsum(is_first, dtype=jnp.int32) - 1
        representative = first_true(is_first, neurons, fill=neurons - 1)
        return cls(number[first], representative, number[-1] + 1)


def propagated_by_pattern(
    basis: BoundaryBasis, pattern: Pattern, start: Reduced, weights, intervals: int
) -> Propagation:
    """From the beginning of the step to every later point, with a leading axis.

    weights(basis, groups): the coefficients of the boosts, of shape (boosts, boundaries, intervals
        classes), of a basis that has each of so many groups once for each interval.
    """
    groups = PatternGroups.by_pattern(pattern)
    neurons, boundaries = pattern.mode.shape
    size = min(_BLOCK, neurons, 4**boundaries)
    here = jnp.concatenate([start.output[None], start.overlap])

    def block(carry):
        begin, moved = carry
        number = begin + jnp.arange(size, dtype=jnp.int32)
        chosen = groups.representative[jnp.minimum(number, neurons - 1)]
        some = basis.rows(jnp.tile(chosen, intervals))
        maps = _composed(basis, _maps(some, weights(some, size), size))
        place = groups.of - begin
        present = (place >= 0) & (place < size)
        new = maps.applied(jnp.clip(place, 0, size - 1), here)
        moved = jax.tree.map(lambda new, old: jnp.where(present, new, old), new, moved)
        return begin + size, moved

    shape = (intervals, neurons)
    blank = (jnp.zeros(shape), jnp.zeros((intervals, boundaries, neurons)), jnp.zeros(shape))
    begin = (jnp.array(0, jnp.int32), blank)
    _, moved = jax.lax.while_loop(lambda c: c[0] < groups.count, block, begin)
    output, gained, growth = moved
    kept = jnp.exp(-growth)
    overlap = kept[:, None] * start.overlap + basis.products(gained)
    end = Reduced(output, overlap, start.balance * kept**2)
    return Propagation(end, kept, gained, growth, jnp.zeros(shape, jnp.int32))


def _maps(basis: BoundaryBasis, weights, groups: int) -> PatternMaps:
    """Over each interval alone, by the boosts of the unit vectors."""
    boundaries, places = weights.shape[1:]
    unit = jnp.eye(1 + boundaries)[:, :, None] + jnp.zeros(places)
    none, nowhere = jnp.zeros(places), jnp.zeros(places, jnp.int32)
    start = Propagation(Reduced(unit[0], unit[1:], none), none + 1.0, 0.0 * unit[1:], none, nowhere)
    moved = boosted(start, basis, weights, none)
    shape = (boundaries, 1 + boundaries, places // groups, groups)
    return PatternMaps(
        output=jnp.moveaxis(moved.end.output.reshape(shape[1:]), 0, 1),
        gained=jnp.moveaxis(moved.gained.reshape(shape), 2, 0),
        growth=moved.growth.reshape(shape[2:]),
    )


def _composed(basis: BoundaryBasis, maps: PatternMaps) -> PatternMaps:
    """One after the other. A map gives (a, c) from (a, p), and p is kappa p_0 + G c."""
    boundaries = basis.gram.shape[0]
    each = jnp.concatenate([maps.output[:, None], maps.gained], axis=1)
    growth = jnp.cumsum(maps.growth, axis=0)
    metric = jnp.eye(1 + boundaries).at[1:, 1:].set(basis.gram)[:, :, None, None]
    unit = jnp.eye(1 + boundaries)[:, :, None]
    of_hidden = (jnp.arange(1 + boundaries) > 0)[:, None, None]
    begin = (jnp.where(of_hidden, 0.0, unit), unit)
    begin = jax.tree.map(lambda leaf: leaf + jnp.zeros_like(growth[0]), begin)

    def further(carry, interval):
        so_far, here = carry
        each, each_kept, kept = interval
        made = total(each[:, :, None] * here, 1)
        so_far = made + jnp.where(of_hidden, each_kept * so_far, 0.0)
        here = total(metric * so_far, 1) + jnp.where(of_hidden, kept * unit, 0.0)
        return (so_far, here), so_far

    _, found = jax.lax.scan(further, begin, (each, jnp.exp(-maps.growth), jnp.exp(-growth)))
    return PatternMaps(found[:, 0], found[:, 1:], growth)
