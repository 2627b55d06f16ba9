"""The one way in which the tests compare numbers within a tolerance."""

import numpy as np


def assert_close(actual, expected, *, rtol=0.0, atol=0.0):
    """Every |actual - expected| <= atol + rtol |expected|.

    Both tolerances are zero unless they are given, so that what a test claims stands in its call.
    Equal infinities are close; NaN is close to nothing, not even to NaN. The shapes agree, or one
    side is a scalar, which is compared with every entry of the other. An empty comparison fails,
    because it cannot tell anything.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape and actual.ndim and expected.ndim:
        raise AssertionError(f"The shapes differ: {actual.shape}, expected {expected.shape}.")
    actual, expected = np.broadcast_arrays(actual, expected)
    if actual.size == 0:
        raise AssertionError("There is nothing to compare: both sides are empty.")
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(actual == expected, 0.0, np.abs(actual - expected))
        allowed = np.where(error == 0.0, 0.0, atol + rtol * np.abs(expected))
        far = ~(error <= allowed) | ~np.isfinite(error)
    if np.any(far):
        raise AssertionError(_message(actual, expected, error, far, rtol, atol))


def _message(actual, expected, error, far, rtol, atol):
    """How many are too far off, and the largest error among them with its place."""
    ranked = np.where(far, np.where(np.isnan(error), np.inf, error), -np.inf)
    place = np.unravel_index(np.argmax(ranked), error.shape)
    largest, one, other = (float(array[place]) for array in (error, actual, expected))
    relative = f" ({largest / abs(other):.3g} relative)" if 0.0 < abs(other) < np.inf else ""
    at = f" at [{', '.join(map(str, place))}]" if place else ""
    return (
        f"{np.sum(far)} of {error.size} differ by more than rtol = {rtol:g}, "
        f"atol = {np.max(atol):g}. The largest error is {largest:.3g}{relative}{at}: {one}, "
        f"expected {other}."
    )
