"""The first roots of polynomials on an interval, by signs of Bernstein coefficients.

A polynomial whose Bernstein coefficients are positive is positive, so no root is missed, not even
two in one step.
"""

from math import comb

import numpy as np
from reference_inputs import EPS, REAL
from reference_smooth import ORDER

_NARROW = 2.0**-24  # of the step: below it a root is polished, or there is none
_POWERS = np.arange(ORDER + 1).astype(REAL)


def _matrices():
    """From monomial to Bernstein coefficients on [0, 1], and from these to those of either half
    of the interval (de Casteljau)."""
    i = range(ORDER + 1)
    bernstein = [[REAL(comb(row, k)) / REAL(comb(ORDER, k)) for k in i] for row in i]
    half = np.array([[REAL(comb(row, k)) / REAL(2) ** row for k in i] for row in i])
    return np.array(bernstein), half, half[::-1, ::-1]


_BERNSTEIN, _LEFT, _RIGHT = _matrices()


def first_roots(polynomials, length, tied):
    """(time, columns): the first time in [0, length] at which one of the polynomials, positive
    before, is not positive any more, or inf; and which are not positive `tied` after it.

    Arguments:
        polynomials: coefficients (ORDER + 1, columns).
    """
    scaled = polynomials * (REAL(length) ** _POWERS)[:, None]
    late = np.flatnonzero(scaled[0] <= 0)
    if len(late) == 0:
        near = scaled[0] <= np.sum(np.abs(scaled[1:]), axis=0)
        scaled[:, ~near] = 0
        scaled[0, ~near] = 1
        columns = np.flatnonzero(near)
        root = _first(scaled[:, columns], np.dot(_BERNSTEIN, scaled[:, columns]), REAL(0), REAL(1))
        if np.isinf(root):
            return root, columns[:0]
    else:
        root = REAL(0)
    after = np.dot(min(root + tied / length, REAL(1)) ** _POWERS, scaled)
    at = np.dot(root**_POWERS, scaled)
    columns = np.flatnonzero((after <= 0) | (at <= 0))
    return root * length, columns if len(columns) else np.array([np.argmin(at)])


def _first(scaled, b, left, width):
    near = np.any(b <= 0, axis=0)
    if not np.any(near):
        return REAL(np.inf)
    if width < _NARROW:
        return min(_polished(column, left, left + width) for column in scaled[:, near].T)
    scaled, b = scaled[:, near], b[:, near]
    root = _first(scaled, np.dot(_LEFT, b), left, width / 2)
    if np.isfinite(root):
        return root
    return _first(scaled, np.dot(_RIGHT, b), left + width / 2, width / 2)


def _polished(scaled, left, right):
    """The first place in a narrow part of [0, 1] at which a polynomial is not positive, or inf."""

    def look(place):
        powers = place**_POWERS
        return np.dot(scaled, powers), np.dot(scaled[1:] * _POWERS[1:], powers[:-1])

    if look(left)[0] <= 0:
        return left
    if look(right)[0] > 0:  # it may still dip below zero between
        low, high = left, right
        while (middle := (low + high) / 2) not in (low, high):
            low, high = (middle, high) if look(middle)[1] < 0 else (low, middle)
        if look(low)[0] > 0:
            return REAL(np.inf)
        right = low
    place = (left + right) / 2
    for _ in range(200):
        value, rate = look(place)
        left, right = (place, right) if value > 0 else (left, place)
        step = -value / rate if rate < 0 else REAL(np.inf)
        if abs(step) <= 2 * EPS * place or right - left <= 2 * EPS * right:
            return place
        place = place + step if left < place + step < right else (left + right) / 2
    return right
