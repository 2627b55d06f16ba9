"""Nodes and constants of a step of the boost integrator.

The residual of a step is the polynomial through its values at the right Radau nodes, of which the
last is the end of the step and none its beginning: as a collocation (Radau IIA) that is L-stable,
so that what a large neuron has settled long ago does not ring on through long steps. (The Lobatto
nodes, which contain the beginning too, keep such a remainder for ever, and it limits the steps.)

The beginning and one more point between each node and the next, their Kronrod extension, tell the
error: there the residual of the neurons is compared with the polynomial. A neuron moves from one of
the points to the next by the five boosts of a commutator-free Magnus scheme of order 6.
"""

import numpy as np
from numpy.polynomial import Polynomial, legendre

NUM_NODES = 7

# Of e^x or e^-x on a step, the polynomial through so many points misses x^7 / RESOLVED of the
# larger end: 2 (x/4)^7 / 7! at Chebyshev's points, and not much more at others.
RESOLVED = 2520.0 * 4.0**NUM_NODES


def _radau() -> np.ndarray:
    """The zeros of P_{s-1} - P_s."""
    coefficients = np.zeros(NUM_NODES + 1)
    coefficients[-2:] = 1.0, -1.0
    return np.append(np.sort(legendre.legroots(coefficients).real)[:-1], 1.0)


def _kronrod(fixed: np.ndarray, count: int) -> np.ndarray:
    """The zeros of the monic E of this degree whose product with the monic polynomial that
    vanishes at the fixed points is orthogonal to all of lower degree than E."""
    x, weights = legendre.leggauss(20)
    values = weights * Polynomial.fromroots(fixed)(x)
    powers = x[:, None] ** np.arange(count)
    system = np.einsum("x,xi,xj->ij", values, powers, powers)
    right = -np.einsum("x,xi->i", values * x**count, powers)
    below = np.linalg.solve(system, right)
    return np.sort(Polynomial(np.append(below, 1.0)).roots().real)


_X = _radau()
_OTHERS = np.append(-1.0, _kronrod(np.append(-1.0, _X), NUM_NODES - 1))
NODES = (1.0 + _X) / 2.0
OTHERS = (1.0 + _OTHERS) / 2.0  # the beginning, and one between any two nodes
POINTS = np.sort(np.concatenate([NODES, OTHERS]))


def legendre_at(s, modes: int) -> np.ndarray:
    """The first Legendre polynomials of [0, 1] at s, shape (modes, *s.shape)."""
    return np.moveaxis(legendre.legvander(2.0 * np.asarray(s) - 1.0, modes - 1), -1, 0)


def integrated_legendre(s, modes: int) -> np.ndarray:
    """Their integrals from 0 to s."""
    x, whole = 2.0 * np.asarray(s) - 1.0, [legendre.Legendre.basis(m) for m in range(modes)]
    return np.stack([p.integ(lbnd=-1.0)(x) / 2.0 for p in whole])


# From the values of a polynomial at the nodes, or at all points, to its Legendre coefficients.
TO_MODES = np.linalg.inv(legendre_at(NODES, len(NODES)).T)
TO_FINE_MODES = np.linalg.inv(legendre_at(POINTS, len(POINTS)).T)


def basis_at(s) -> np.ndarray:
    """Values of the Lagrange polynomials of the nodes at s in [0, 1], shape (nodes, *s.shape)."""
    return np.tensordot(TO_MODES, legendre_at(s, NUM_NODES), axes=([0], [0]))


def _integration() -> np.ndarray:
    columns = [legendre.Legendre(row).integ(lbnd=-1.0)(_X) / 2.0 for row in TO_MODES.T]
    return np.stack(columns, axis=1)


# Row i: the integral from 0 to node i of the polynomial through the values at the nodes.
INTEGRATION = _integration()


def _moments() -> np.ndarray:
    """Of a function that vanishes at the nodes, from its values elsewhere: against P0, P1, P2.

    By the quadrature of all points, of which the nodes contribute nothing.
    """
    x = 2.0 * POINTS - 1.0
    exact = np.array([(1.0 - (-1.0) ** (p + 1)) / (p + 1) / 2.0 for p in range(len(x))])
    weights = np.linalg.solve(np.vander(x, increasing=True).T, exact)
    others = weights[0::2]
    return np.stack([others * legendre.Legendre.basis(q)(_OTHERS) for q in range(3)])


def _interior() -> np.ndarray:
    """Row i: its integral from 0 to node i, but the last."""
    columns = [legendre.Legendre(row).integ(lbnd=-1.0)(_X[:-1]) / 2.0 for row in TO_FINE_MODES.T]
    return np.stack(columns, axis=1)[:, 0::2]


MOMENTS = _moments()
INTERIOR = _interior()
BASIS_ELSEWHERE = basis_at(OTHERS)


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
