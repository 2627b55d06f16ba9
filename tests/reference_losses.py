"""The losses of the oracle: r = -omega dl/dh as a function of h, and its series by recursion.

square        r = omega (y - h)
exponential   r = omega y e,  e = exp(-y h):           e' = -y h' e
logistic      r = omega y s,  s = 1 / (1 + e^{y h}):   s' = -y h' s (1 - s)
"""

import numpy as np
from reference_inputs import REAL


class Square:
    carried = True  # y - h loses digits that r, decaying, has

    def __init__(self, y, weights):
        self.y, self.weights = np.array(y, REAL), np.array(weights, REAL)

    def residual(self, h):
        return self.weights * (self.y - h)

    def curvature(self, h):
        return self.weights

    def mean(self, h, residual):
        """L; from the residual, where there is a weight."""
        square = np.where(self.weights > 0, residual**2 / np.maximum(self.weights, 1e-300), 0)
        return np.mean(square) / 2

    def predictions(self, h, residual):
        """h, from the residual where that is known better."""
        there = self.weights > 0
        return np.where(there, self.y - residual / np.where(there, self.weights, 1), h)

    def series(self, h, order):
        return self

    def next(self, step):
        """The next coefficient of r, from that of h."""
        return -self.weights * step


class _OfMargins(Square):
    carried = False

    def residual(self, h):
        return self.weights * self.y * self.factor(h)

    def mean(self, h, residual):
        return np.mean(self.weights * self.value(h))

    def predictions(self, h, residual):
        return h

    def series(self, h, order):
        return _Series(self, h, order)


class Exponential(_OfMargins):
    def factor(self, h):
        return np.exp(-self.y * h)

    def value(self, h):
        return np.exp(-self.y * h)

    def curvature(self, h):
        return self.weights * self.factor(h)

    @staticmethod
    def driving(factor, i):
        """The coefficient i of what h' multiplies."""
        return factor[i]


class Logistic(_OfMargins):
    def factor(self, h):
        return 1 / (1 + np.exp(self.y * h))

    def value(self, h):
        return np.logaddexp(REAL(0), -self.y * h)

    def curvature(self, h):
        return self.weights * self.factor(h) * self.factor(-h)

    @staticmethod
    def driving(factor, i):
        return factor[i] - np.sum(factor[: i + 1] * factor[i::-1], axis=0)


class _Series:
    """Of one step: the coefficients of the factor so far."""

    def __init__(self, loss, h, order):
        self.loss, self.i = loss, 0
        self.factor, self.driving = (np.zeros((order + 1, len(h)), REAL) for _ in range(2))
        self.rate = np.zeros((order + 1, len(h)), REAL)  # of -y h'
        self.factor[0] = loss.factor(h)
        self.driving[0] = loss.driving(self.factor, 0)

    def next(self, step):
        i, y = self.i, self.loss.y
        self.rate[i] = -y * (i + 1) * step
        product = np.sum(self.rate[: i + 1] * self.driving[i::-1], axis=0)
        self.factor[i + 1] = product / (i + 1)
        self.i = i + 1
        self.driving[i + 1] = self.loss.driving(self.factor, i + 1)
        return self.loss.weights * y * self.factor[i + 1]


LOSSES = {"square": Square, "exponential": Exponential, "logistic": Logistic}
