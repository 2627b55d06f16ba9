"""A branch that a batch takes only if one of its lanes does."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

_T = TypeVar("_T")


def run_if(wanted, function: Callable[[_T], _T], value: _T) -> _T:
    """function(value) where wanted, else value.

    `jax.vmap` makes of `jax.lax.cond` a computation of both branches, always. A loop of at most one
    turn is run under it only if some lane wants it.
    """

    def turn(carry):
        return jnp.zeros_like(carry[0]), function(carry[1])

    wanted = jnp.asarray(wanted)
    return jax.lax.while_loop(lambda carry: carry[0], turn, (wanted, value))[1]
