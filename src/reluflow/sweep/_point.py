"""One point of the grid, as the function that is measured sees it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from ._axes import text_words


class Point:
    """A point of the grid: `point.<axis>` is its value, `point.key(*axes)` a random key for it.

    Values are scalars of JAX, traced: int64, float64 or bool. Those of static axes are values of
    Python.
    """

    def __init__(self, values: Mapping[str, Any], words: Mapping[str, Array], base: Array):
        self._values, self._words, self._base = dict(values), dict(words), base

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._check(name)
        return self._values[name]

    def key(self, *axes: str) -> Array:
        """A key of `jax.random`, derived from the sweep's seed, these names, and their values.

        Points that agree on these axes share it, whatever their other values are: with
        `key("seed")` the same draw is seen at every lambda. The order of the names does not matter,
        and neither does what else the grid holds. Without names, all points share one key.

        Raises:
            AttributeError: there is no such axis.
            ValueError: a name occurs twice.
        """
        for name in axes:
            self._check(name)
        if len(set(axes)) < len(axes):
            raise ValueError(f"Argument `axes` must hold every name once, but it is {axes}.")
        # Their number comes first, so that no chain of words is the beginning of another one, of
        # whose key something might be drawn.
        key = jr.fold_in(self._base, len(axes))
        for name in sorted(axes):
            for word in (*map(jnp.asarray, text_words(name)), *self._words[name]):
                key = jr.fold_in(key, word)
        return key

    def _check(self, name: str) -> None:
        if name not in self._values:
            raise AttributeError(
                f"The points of this sweep have the axes {', '.join(self._values)}, but not "
                f"{name!r}."
            )

    def __repr__(self) -> str:
        return f"Point({', '.join(f'{name}={value}' for name, value in self._values.items())})"


def base_key(seed: int) -> tuple[np.ndarray, str]:
    """The data of a sweep's key, and the name of its generator, which is JAX's default."""
    key = jr.key(seed)
    return np.asarray(jr.key_data(key)), str(jax.random.key_impl(key))
