"""A branch that a batch takes only if one of its lanes does."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

_T = TypeVar("_T")


def run_if(wanted, function: Callable[[_T], _T], value: _T) -> _T:
    """function(value) where wanted, else value.

    `jax.vmap` makes of `jax.lax.cond` a computation of both branches, always. A loop of at most one
    turn is run under it only if some lane wants it.
    """
    # XLA moves what does not depend on the value of a loop to before it, where it would be computed
    # always. Behind a barrier all of it depends on whether the loop goes on.
    closed = eqx.filter_closure_convert(function, value)
    arrays, static = eqx.partition(closed, eqx.is_array)

    def turn(carry):
        again, value = carry
        again, given = jax.lax.optimization_barrier((again, arrays))
        return jnp.zeros_like(again), eqx.combine(given, static)(value)

    wanted = jnp.asarray(wanted)
    return jax.lax.while_loop(lambda carry: carry[0], turn, (wanted, value))[1]
