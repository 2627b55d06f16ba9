"""Lengths that programs are compiled for: the next power of two, so that 90 and 100 share one."""

from collections.abc import Callable

import jax

from ._compiling import is_outermost

_MOST_PADDING = 64 * 2**20  # bytes: where it would take more memory, nothing is added


def padded_length(count: int, size: Callable[[], int], least: int = 1) -> int:
    """Room for `count`, and `least`, of what takes `size` bytes each.

    Inside a function that is being compiled it is `count`: there the length is part of what the
    user compiles, and nothing could be shared.
    """
    if count == 0 or not is_outermost():
        return count
    length = max(least, 1 << (count - 1).bit_length())
    if length == count:
        return count
    return length if (length - count) * size() <= _MOST_PADDING else count


def bytes_of(tree) -> int:
    """Of its arrays, or of shapes of arrays."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@jax.jit(static_argnums=1)
def without_padding(tree, count: int):
    """The first `count` along the leading axis of every leaf."""
    return jax.tree.map(lambda leaf: leaf[:count], tree)
