"""What is known of many neurons, side by side in two arrays, so that some are written at once.

On a CPU a scatter is a loop, to be compiled and run: one for all numbers, and one for all that is
not a number, where there would be one for each leaf.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._support._indexing import taken


class Packed(eqx.Module):
    """numbers, flags: the leaves of a tree whose first axis is that of the neurons; wide: those of
    more than two axes, as they are."""

    numbers: Float[Array, "neurons numbers"]
    flags: Int[Array, "neurons flags"]
    wide: list[Array]

    @classmethod
    def of(cls, tree) -> "Packed":
        numbers, flags, wide = _sorted(tree)
        return cls(_beside(numbers, jnp.float64), _beside(flags, jnp.int32), wide)

    def rows(self, at: Int[Array, " few"]) -> "Packed":
        return jax.tree.map(lambda leaf: taken(leaf, at), self)

    def with_rows(self, at: Int[Array, " few"], rows: "Packed") -> "Packed":
        """With these rows; those `at` a place beyond the last are left."""
        return jax.tree.map(lambda old, new: old.at[at].set(new, mode="drop"), self, rows)

    def unpacked(self, like):
        """The tree again, of the structure and the types of `like`."""
        leaves, structure = jax.tree.flatten(like)
        numbers, flags, _ = _sorted(like)
        parts = (_apart(self.numbers, numbers), _apart(self.flags, flags), iter(self.wide))
        return jax.tree.unflatten(structure, [next(parts[_kind(leaf)]) for leaf in leaves])


def _kind(leaf) -> int:
    if leaf.ndim > 2:
        return 2
    return 0 if jnp.issubdtype(leaf.dtype, jnp.floating) else 1


def _sorted(tree) -> tuple[list, list, list]:
    sorted_leaves = ([], [], [])
    for leaf in jax.tree.leaves(tree):
        sorted_leaves[_kind(leaf)].append(leaf)
    return sorted_leaves


def _beside(leaves: list, dtype) -> jax.Array:
    return jnp.concatenate(
        [leaf.reshape(leaf.shape[0], -1).astype(dtype) for leaf in leaves], axis=1
    )


def _apart(columns: jax.Array, leaves: list):
    begin = 0
    for leaf in leaves:
        end = begin + math.prod(leaf.shape[1:])
        part = columns[:, begin:end].astype(leaf.dtype)
        yield part.reshape(columns.shape[0], *leaf.shape[1:])
        begin = end
