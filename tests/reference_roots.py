"""The first roots of polynomials on an interval, by signs of Bernstein coefficients.

A polynomial whose Bernstein coefficients are positive is positive, so no root is missed, not even
two in one step.
"""

from math import comb

import numpy as np
from reference_smooth import ORDER, REAL

_NARROW = 2.0**-24  # of the step: below it a root is polished, or there is none


def _matrices():
    """From monomial to Bernstein coefficients on [0, 1], and from these to those of either half
    of the interval (de Casteljau)."""
    i = range(ORDER + 1)
    bernstein = [[REAL(comb(row, k)) / REAL(comb(ORDER, k)) for k in i] for row in i]
    half = np.array([[REAL(comb(row, k)) / REAL(2) ** row for k in i] for row in i])
    return np.array(bernstein), half, half[::-1, ::-1]


_BERNSTEIN, _LEFT, _RIGHT = _matrices()


def first_root(coefficients, length):
    """The first time in [0, length] at which a polynomial, positive before, is not positive any
    more: inf if there is none. coefficients: (ORDER + 1,)."""
    scaled = coefficients * REAL(length) ** np.arange(ORDER + 1).astype(REAL)
    if scaled[0] <= 0:
        return REAL(0)
    if scaled[0] > np.sum(np.abs(scaled[1:])):
        return REAL(np.inf)
    return REAL(length) * _first(scaled, np.dot(_BERNSTEIN, scaled), REAL(0), REAL(1))


def _first(scaled, b, left, width):
    if np.all(b > 0):
        return REAL(np.inf)
    if width < _NARROW:
        return _polished(scaled, left, left + width)
    root = _first(scaled, np.dot(_LEFT, b), left, width / 2)
    if np.isfinite(root):
        return root
    return _first(scaled, np.dot(_RIGHT, b), left + width / 2, width / 2)


def _polished(scaled, left, right):
    """Where the sign changes between two places on [0, 1], to the last bit; inf if it does not."""
    value = lambda place: np.polynomial.polynomial.polyval(place, scaled)  # noqa: E731
    if value(left) <= 0:
        return left
    if value(right) > 0:
        return REAL(np.inf)
    while (middle := (left + right) / 2) not in (left, right):
        left, right = (middle, right) if value(middle) > 0 else (left, middle)
    return right
