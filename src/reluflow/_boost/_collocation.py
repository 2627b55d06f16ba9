"""Nodes and constants of a step of the boost integrator.

The residual of a step is a polynomial of degree 6 through its values at the 7 Lobatto nodes.
Six more points, the Kronrod extension of the nodes, lie between them: there the residual of the
neurons is compared with the polynomial, which tells the error. A neuron moves from one of the 13
points to the next by the five boosts of a commutator-free Magnus scheme of order 6.
"""

import numpy as np
from numpy.polynomial import Polynomial, legendre

NUM_NODES = 7
_DEGREE = NUM_NODES - 1


def _lobatto() -> np.ndarray:
    interior = legendre.legroots(legendre.legder(np.eye(NUM_NODES)[_DEGREE])).real
    return np.concatenate([[-1.0], np.sort(interior), [1.0]])


def _kronrod(nodes: np.ndarray) -> np.ndarray:
    """The zeros of the monic polynomial E with: (x - x_0)...(x - x_6) E orthogonal to degree 5."""
    x, weights = legendre.leggauss(20)
    values = weights * Polynomial.fromroots(nodes)(x)
    powers = x[:, None] ** np.arange(_DEGREE)
    system = np.einsum("x,xi,xj->ij", values, powers, powers)
    right = -np.einsum("x,xi->i", values * x**_DEGREE, powers)
    below = np.linalg.lstsq(system, right, rcond=None)[0]
    return np.sort(Polynomial(np.append(below, 1.0)).roots().real)


_X = _lobatto()
_BETWEEN = _kronrod(_X)
NODES = (1.0 + _X) / 2.0
BETWEEN = (1.0 + _BETWEEN) / 2.0
POINTS = np.sort(np.concatenate([NODES, BETWEEN]))


def _lagrange_in_legendre(x: np.ndarray) -> np.ndarray:
    """Row i: the Legendre coefficients of the i-th Lagrange polynomial of these points."""
    return np.linalg.inv(legendre.legvander(x, len(x) - 1)).T


NODE_BASIS = _lagrange_in_legendre(_X)
POINT_BASIS = _lagrange_in_legendre(2.0 * POINTS - 1.0)


def basis_at(s) -> np.ndarray:
    """Values of the Lagrange polynomials of the nodes at s in [0, 1], shape (nodes, *s.shape)."""
    values = legendre.legvander(2.0 * np.asarray(s) - 1.0, NUM_NODES - 1)
    return np.moveaxis(values @ NODE_BASIS.T, -1, 0)


def _integration() -> np.ndarray:
    columns = [legendre.Legendre(row).integ(lbnd=-1.0)(_X) / 2.0 for row in NODE_BASIS]
    return np.stack(columns, axis=1)


# Row i: the integral from 0 to node i of the polynomial through the values at the nodes.
INTEGRATION = _integration()


def _moments() -> np.ndarray:
    """Of a function that vanishes at the nodes, from its values between them: against P0, P1, P2.

    By the quadrature of all 13 points, of which the 7 nodes contribute nothing.
    """
    x = 2.0 * POINTS - 1.0
    exact = np.array([(1.0 - (-1.0) ** (p + 1)) / (p + 1) / 2.0 for p in range(len(x))])
    weights = np.linalg.solve(np.vander(x, increasing=True).T, exact)
    between = weights[1::2]
    return np.stack([between * legendre.Legendre.basis(q)(_BETWEEN) for q in range(3)])


def _interior() -> np.ndarray:
    """Row i: its integral from 0 to the i-th node after the first but the last."""
    columns = [legendre.Legendre(row).integ(lbnd=-1.0)(_X[1:-1]) / 2.0 for row in POINT_BASIS]
    return np.stack(columns, axis=1)[:, 1::2]


MOMENTS = _moments()
INTERIOR = _interior()
BASIS_BETWEEN = basis_at(BETWEEN)


def _exponents():
    """Gauss points and the weights of D at them in the five exponents, first applied first.

    The order-6 scheme with five exponentials of Alvermann and Fehske (J. Comput. Phys. 230,
    2011), whose coefficients belong to the Legendre moments of the generator.
    """
    x, weights = legendre.leggauss(4)
    f1 = (0.16, 0.14587456942714338561, 0.11762370828143015682)
    f2 = (0.38752405202531186588, 0.15089113704380764664, -0.12805075909013044594)
    f3 = (1.0 - 2.0 * (f1[0] + f2[0]), 0.0, -2.0 * (f1[2] + f2[2]))

    def mirrored(f):
        return (f[0], -f[1], f[2])

    moments = np.stack(
        [(2 * q + 1) * weights / 2.0 * legendre.Legendre.basis(q)(x) for q in range(3)]
    )
    # The scheme is written from left to right; the rightmost exponential acts first.
    order = [mirrored(f1), mirrored(f2), f3, f2, f1]
    # Of order 4, with two exponentials, of which none goes backwards (f3 does).
    half = (0.5, 1.0 / 3.0, 0.0)
    nothing = (0.0, 0.0, 0.0)
    forward = [mirrored(half), half, nothing, nothing, nothing]
    return (1.0 + x) / 2.0, np.array(order) @ moments, np.array(forward) @ moments


GAUSS, EXPONENTS, FORWARD_EXPONENTS = _exponents()
