"""Indices into arrays, in few operations: XLA repeats those of an index in all that it gathers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

_ALL_PAIRS = 2**13  # comparisons that cost less than a loop


def first_true(mask: Bool[Array, " n"], size: int, fill: int | None = None) -> Int[Array, " size"]:
    """The indices at which `mask` is true, in their order, at most the first `size`; the other
    places hold `fill`, which is n if it is None.

    `jax.numpy.nonzero` finds the same, by a division, a histogram and two sums.
    """
    return first_and_rest(mask, size, fill)[0]


def first_and_rest(
    mask: Bool[Array, " n"], size: int, fill: int | None = None
) -> tuple[Int[Array, " size"], Bool[Array, " n"]]:
    """`first_true`, and where `mask` is true besides."""
    (n,) = mask.shape
    fill = n if fill is None else fill
    index = jnp.arange(n, dtype=jnp.int32)
    if n * max(n, size) <= _ALL_PAIRS:
        upto = jnp.sum(mask & (index[:, None] >= index), axis=1, dtype=jnp.int32)
        places = jnp.arange(size, dtype=jnp.int32)
        found = jnp.sum(upto <= places[:, None], axis=1, dtype=jnp.int32)
        found = jnp.where(found < n, found, fill)
    else:
        upto = jnp.cumsum(mask, dtype=jnp.int32)
        place = jnp.where(mask, upto - 1, size)
        found = jnp.full((size,), fill, jnp.int32).at[place].set(index, mode="drop")
    return found, mask & (upto > size)


def spread(index: Int[Array, " few"], values: Array, default: Array) -> Array:
    """`default` with values[i] at index[i]; those beyond the last are dropped. Each index is there
    once. Few, for all are compared with all."""
    hit = index[:, None] == jnp.arange(default.shape[0], dtype=index.dtype)
    each = jnp.where(hit, values.astype(default.dtype)[:, None], jnp.zeros((), default.dtype))
    there = jnp.max(each, axis=0) if each.dtype == bool else jnp.sum(each, axis=0, dtype=each.dtype)
    return jnp.where(jnp.any(hit, axis=0), there, default)


def taken(leaf: jax.Array, at: Int[Array, " few"], axis: int = 0) -> jax.Array:
    """`jnp.take`, of indices that are known to be in range."""
    where = (slice(None),) * axis + (at.astype(jnp.uint32),)
    return leaf.at[where].get(mode="promise_in_bounds")


def of_lanes(lane: Int[Array, " n"], lanes: int, values: Array, reduce: str, begin: Array) -> Array:
    """The sum ("add"), "min" or "max" of the values of each lane, and of what it begins with."""
    if lanes == 1:
        whole = {"add": jnp.sum, "min": jnp.min, "max": jnp.max}[reduce](values, axis=0)
        both = {"add": jnp.add, "min": jnp.minimum, "max": jnp.maximum}[reduce]
        return both(begin, whole.astype(begin.dtype))
    return getattr(begin.at[lane], reduce)(values.astype(begin.dtype), mode="drop")
