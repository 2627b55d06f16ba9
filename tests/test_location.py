"""First roots along a step against NumPy's, and Taylor expansions against scipy's integrator."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import gaussian_data
from scipy.integrate import solve_ivp
from scipy.interpolate import BPoly
from scipy.optimize import brentq
from tolerance import assert_close

import reluflow as rf
from reluflow._dynamics._field import Neurons, Pattern, Problem, predictions, velocity
from reluflow._model import _modes
from reluflow._runge_kutta._location import DEGREE, NODES, bernstein, first_roots, lower_bound
from reluflow._runge_kutta._taylor import ORDER, expand, first_zero

GUARDS, KEEP = 12, 4
FIRST_ROOTS = jax.jit(lambda values: first_roots(values, KEEP))
FIRST_ZERO = jax.jit(first_zero)


def exact_first_root(polynomial):
    """Of a polynomial that is positive at 0: its first sign change in [0, 1], or inf."""
    roots = polynomial.roots()
    real = np.sort(roots[np.abs(roots.imag) < 1e-9].real)
    real = real[(real > 0.0) & (real < 1.0)]
    for root in real:
        if polynomial(root + 1e-7) < 0.0:
            return root
    return np.inf


def polynomials(seed):
    """Positive at 0, some with two close roots, some without any."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(GUARDS):
        if i % 3 == 0:
            p = np.polynomial.Polynomial(rng.normal(size=DEGREE + 1))
        else:
            centre, gap = rng.random(), 10.0 ** rng.uniform(-4, -0.5)
            p = np.polynomial.Polynomial.fromroots([centre - gap / 2, centre + gap / 2])
            p = p * np.polynomial.Polynomial([1.0, *rng.uniform(-0.2, 0.2, DEGREE - 2)])
        made.append(p if p(0.0) > 0.0 else -p)
    return made


def values(made):
    return jnp.asarray(np.stack([p(NODES) for p in made], axis=1))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_first_roots(seed):
    made = polynomials(seed)
    exact = np.array([exact_first_root(p) for p in made])
    roots, guards, others = map(np.asarray, FIRST_ROOTS(values(made)))
    assert np.all(np.diff(roots[np.isfinite(roots)]) >= 0.0)
    assert min(roots[0], others) <= exact.min() + 1e-5
    rest = np.delete(exact, guards)
    assert np.all(rest >= others - 1e-9)  # a bound, not an estimate


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_never_past_the_first_root(seed):
    """One guard alone: a step that ends at what is returned has no root in its interior."""
    for p in polynomials(seed):
        roots, _, others = FIRST_ROOTS(jnp.asarray(p(NODES))[:, None])
        assert min(float(roots[0]), float(others)) <= exact_first_root(p) + 1e-5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_a_simple_root_is_found_to_rounding(seed):
    """Guards that fall along the step, without a turn."""
    rng = np.random.default_rng(seed)
    points = np.cumsum(-rng.uniform(0.5, 2.0, (DEGREE + 1, GUARDS)), axis=0)
    points = points - points[0] - rng.uniform(0.2, 0.8, GUARDS) * (points[-1] - points[0])
    curves = [BPoly(column[:, None], [0.0, 1.0]) for column in points.T]
    exact = np.array([brentq(curve, 0.0, 1.0, xtol=1e-15) for curve in curves])
    roots, guards, others = map(np.asarray, FIRST_ROOTS(values(curves)))
    assert_close(roots, exact[guards], atol=1e-6)
    assert others <= np.min(np.delete(exact, guards))


def test_no_root_no_bound():
    made = [np.polynomial.Polynomial([1.0 + 0.1 * i, *([0.05] * DEGREE)]) for i in range(GUARDS)]
    roots, _, others = FIRST_ROOTS(values(made))
    assert np.all(np.isinf(roots)) and np.isinf(others)


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 1e-5])
def test_a_pair_of_roots_always_shows(gap):
    """Positive at both ends; a comparison of signs there, the control, sees nothing."""
    p = np.polynomial.Polynomial.fromroots([0.5 - gap / 2, 0.5 + gap / 2])
    column = jnp.asarray(p(NODES))[:, None] * jnp.ones((1, GUARDS))
    assert column[0, 0] > 0.0 and column[-1, 0] > 0.0
    assert np.all(np.isfinite(lower_bound(bernstein(column))))
    roots = FIRST_ROOTS(column)[0]
    assert np.all(roots <= 0.5 - gap / 2 + 1e-12)


def test_leaving_zero_is_no_root():
    rising = jnp.asarray(NODES)[:, None] * jnp.ones((1, GUARDS))
    assert np.all(np.isinf(FIRST_ROOTS(rising)[0]))
    assert np.all(FIRST_ROOTS(-rising)[0] <= 1e-12)


def pattern_and_state(seed, slides):
    """Five neurons on four samples; neuron 0 slides along sample 1 where asked to."""
    rng = np.random.default_rng(seed)
    data = gaussian_data(seed, 4, 3)
    problem = Problem.of(data, rf.relu)
    w, a = rng.normal(size=(5, 3)), rng.normal(size=5)
    w[0] = np.array(data.x[0]) * 0.7 + 0.1 * w[0]
    mode = np.where(w @ np.asarray(data.x).T > 0.0, _modes.ACTIVE, _modes.INACTIVE)
    slots, response = np.full((5, 2), 4, np.int32), np.zeros((5, 2, 4))
    if slides:
        x1 = np.asarray(data.x[1])
        w[0] -= (w[0] @ x1) / (x1 @ x1) * x1
        mode[0, 1], slots[0, 0] = _modes.SLIDING, 1
        gram = np.asarray(problem.gram)
        response[0, 0] = gram[1] * (mode[0] == _modes.ACTIVE) / gram[1, 1]
    p = w @ np.asarray(data.x).T
    p[mode == _modes.SLIDING] = 0.0
    arrays = jnp.asarray(mode, jnp.int8), jnp.asarray(slots), jnp.asarray(response)
    pattern = Pattern(*arrays, jnp.zeros((len(mode), 0), bool))
    state = Neurons(jnp.asarray(a), jnp.zeros((5, 4)), jnp.asarray(p))
    return problem, pattern, state, jnp.asarray(rng.uniform(0.5, 1.0, 5))


def huber(h, y):
    return jnp.sqrt(1.0 + (h - y) ** 2) - 1.0


@pytest.mark.parametrize("near", [1.0, 1e-3])  # a unit of time, which is no more than that
@pytest.mark.parametrize("loss", [rf.square, rf.logistic, rf.Loss(huber)])
@pytest.mark.parametrize("slides", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_expansion_against_scipy(seed, slides, loss, near):
    problem, pattern, state, weight = pattern_and_state(seed, slides)
    problem = dataclasses.replace(problem, loss=loss)
    flat, unravel = jax.flatten_util.ravel_pytree(state)

    @jax.jit
    def field(vector):
        return jax.flatten_util.ravel_pytree(velocity(unravel(vector), pattern, weight, problem))[0]

    def exact(time):
        options = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-14}
        return solve_ivp(lambda _, v: np.asarray(field(v)), (0.0, time), flat, **options).y[:, -1]

    expansion = expand(state, pattern, weight, problem, jnp.array(near))
    errors = []
    for time in (0.02, 0.01, -0.01):
        end = jax.flatten_util.ravel_pytree(expansion.after(jnp.asarray(time)))[0]
        errors.append(np.max(np.abs(end - exact(time))))
    assert errors[0] < 1e-4
    assert 0.8 * 2.0 ** (ORDER + 1) < errors[0] / errors[1] < 1.3 * 2.0 ** (ORDER + 1)
    first, slope = expansion.velocity(), velocity(state, pattern, weight, problem)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(slope), strict=True):
        assert_close(one, other, atol=1e-14)
    # L along the way, of the same order.
    terms = np.asarray(expansion.loss(problem))
    losses = []
    for time in (0.02, 0.01):
        there = unravel(jnp.asarray(exact(time)))
        h = predictions(problem.arrangement, there, pattern, weight)
        powers = (time / float(expansion.unit)) ** np.arange(ORDER + 1)
        losses.append(float(problem.mean_loss(h)) - powers @ terms)
    assert abs(losses[0]) < 1e-3 * terms[0] and 10.0 < losses[0] / losses[1] < 70.0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_first_zero(seed):
    """Near zeros on either side of the centre, of guards that fall through them."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(ORDER + 1, 8))
    coefficients[0] = rng.uniform(-1e-3, 1e-3, 8)
    coefficients[1] = -rng.uniform(0.5, 2.0, 8)
    coefficients[1, 0] = 0.5  # this one rises
    times = np.asarray(FIRST_ZERO(jnp.asarray(coefficients)))
    assert np.isinf(times[0])
    for time, column in zip(times[1:], coefficients.T[1:], strict=True):
        roots = np.polynomial.Polynomial(column).roots()
        assert_close(time, min(roots[roots.imag == 0].real, key=abs), atol=1e-13)
