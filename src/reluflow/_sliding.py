"""How many units of one neuron may slide at once: the room that arrays of fixed shape have."""

from ._checks import is_concrete
from ._dataset import Dataset

_MOST = 40  # by default; the 2022 paper's high-dimensional run reaches 17, other draws over 24


def check_max_sliding(max_sliding) -> None:
    if max_sliding is not None and (not isinstance(max_sliding, int) or max_sliding < 0):
        raise ValueError(
            f"Argument `max_sliding` must be an integer of at least 0, but it is {max_sliding!r}."
        )


def room_for_sliding(data: Dataset, max_sliding: int | None) -> int:
    """What was asked for; else none for orthogonal inputs, where units come to rest instead.

    Under `jax.jit`, where data cannot be looked at, they may slide.
    """
    if max_sliding is not None:
        return max_sliding
    orthogonal = is_concrete(data.x) and data.is_orthogonal()
    return 0 if orthogonal else min(data.samples, data.dim, _MOST)


def decided(max_sliding: int | None) -> int:
    """What `room_for_sliding` has made of it: a number, once an integrator is prepared."""
    if max_sliding is None:
        raise ValueError("An integrator must be prepared for its data before it is used.")
    return max_sliding
