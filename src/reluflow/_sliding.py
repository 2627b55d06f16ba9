"""How many units of one neuron may slide at once: the room that arrays of fixed shape have."""

from ._checks import is_concrete
from ._dataset import Dataset

_MOST = 40  # by default; the 2022 paper's high-dimensional run reaches 17, other draws over 24


def check_max_sliding(max_sliding) -> None:
    if max_sliding is not None and (not isinstance(max_sliding, int) or max_sliding < 0):
        raise ValueError(
            f"Argument `max_sliding` must be an integer of at least 0, but it is {max_sliding!r}."
        )


def room_for_sliding(data: Dataset, max_sliding: int | None, room: int | None) -> int:
    """What was asked for; else none for orthogonal inputs, where units come to rest instead.

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
        return max_sliding
    orthogonal = is_concrete(data.x) and data.is_orthogonal()
    return 0 if orthogonal else min(data.samples, data.dim, _MOST)
