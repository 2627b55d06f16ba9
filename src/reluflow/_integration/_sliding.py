"""How many units of one neuron may slide at once: the room that arrays of fixed shape have."""

import numpy as np

from .._model._activation import AbstractActivation
from .._model._dataset import Dataset
from .._support._checks import is_concrete

_MOST = 40  # by default; the 2022 paper's high-dimensional run reaches 17, other draws over 24


def checked_max_sliding(max_sliding) -> int | None:
    """`max_sliding` as an int of Python, or None."""
    if max_sliding is None:
        return None
    is_int = isinstance(max_sliding, int | np.integer) and not isinstance(max_sliding, bool)
    if not is_int or max_sliding < 0:
        raise ValueError(
            f"Argument `max_sliding` must be an integer of at least 0, but it is {max_sliding!r}."
        )
    return int(max_sliding)


def room_for_sliding(
    data: Dataset, max_sliding: int | None, room: int | None, activation: AbstractActivation
) -> int:
    """What was asked for, at most all units of a neuron; else the default.

    That is none for orthogonal inputs, where units come to rest instead; but not of an activation
    whose slopes have opposite signs, which may push a unit back from both sides there, too.

    Under `jax.jit`, where data cannot be looked at, they may slide. A flow that goes on has the
    `room` that it had.
    """
    if room is not None and max_sliding not in (None, room):
        raise ValueError(
            f"Argument `max_sliding` of the integrator must be {room}, as in the run that goes on, "
            f"but it is {max_sliding}."
        )
    if room is not None:
        return room
    if max_sliding is not None:
        return min(max_sliding, data.samples)
    orthogonal = is_concrete(data.x) and data.is_orthogonal()
    rests = orthogonal and _of_one_sign(activation)
    return 0 if rests else min(data.samples, data.dim, _MOST)


def _of_one_sign(activation: AbstractActivation) -> bool:
    """Whether its slopes are known to be, or 0."""
    minus, plus = activation.slopes()
    return is_concrete(minus) and is_concrete(plus) and bool(np.all(np.multiply(minus, plus) >= 0))


def decided(max_sliding: int | None) -> int:
    """What `room_for_sliding` has made of it: a number, once an integrator is prepared."""
    if max_sliding is None:
        raise ValueError("An integrator must be prepared for its data before it is used.")
    return max_sliding
