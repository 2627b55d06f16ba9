"""The boundaries that one neuron stands on."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._model import _modes
from .._support._indexing import first_true


class Boundary(eqx.Module):
    """The boundaries one neuron stands on, gathered into `capacity` places.

    index: the boundaries of B, padded with the number of all.
    before: their modes on arrival.
    status: from which the search begins: 0 (alpha = 0), 1 (alpha = 1) or 2 (sliding).
    fixed: whether that status is the answer: of a unit whose alpha has reached 0 or 1.
    departs: whether the unit is on its way off the boundary, and had no choice when it left.
    complete: whether all of B found a place.
    """

    index: Int[Array, " capacity"]
    before: Int[Array, " capacity"]
    status: Int[Array, " capacity"]
    fixed: Bool[Array, " capacity"]
    departs: Bool[Array, " capacity"]
    complete: Bool[Array, ""]

    @classmethod
    def gather(cls, on, mode, status, fixed, departs, capacity: int) -> "Boundary":
        """From arrays over all boundaries: membership in B, modes, statuses, which are fixed, which
        depart."""
        index = first_true(on, capacity)

        def take(array, fill):
            return array.at[index].get(mode="fill", fill_value=fill)

        return cls(
            index,
            take(mode, _modes.INACTIVE),
            take(status, _modes.INACTIVE),
            take(fixed, False),
            take(departs, False),
            jnp.sum(on) <= capacity,
        )
