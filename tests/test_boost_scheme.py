"""The scheme of the boost integrator: its collocation, its boosts and the kernels of a sweep."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import Polynomial, legendre
from scipy.integrate import solve_ivp
from tolerance import assert_close

import reluflow as rf
from reluflow._boost._basis import ModeBasis
from reluflow._boost._collocation import (
    EXPONENTS,
    FORWARD_EXPONENTS,
    GAUSS,
    INTEGRATION,
    NODES,
    OTHERS,
    POINTS,
    TO_MODES,
)
from reluflow._boost._collocation_problem import NodalValues
from reluflow._boost._generator import Generator, Uncertainty
from reluflow._boost._iterate import alone
from reluflow._boost._neurons import arrived
from reluflow._boost._predictor import DecayPredictor
from reluflow._boost._previous_step import PreviousStep
from reluflow._boost._propagator import Reduced, propagate
from reluflow._boost._record import Truncation, _rank
from reluflow._boost._step_size import RejectedStep, next_size
from reluflow._boost._sweep import sweep
from reluflow._dynamics._field import Problem
from reluflow._integration._flow_state import FlowState
from reluflow._model import _modes


def end_of_stiff_step(integration, stiffness):
    """r(1) of r' = -K r, r(0) = 1, by a collocation of step H, `stiffness` = H K.

    `integration`: row i integrates from 0 to the i-th point but the beginning the polynomial
    through values at all points, of which the beginning is the first.
    """
    beginning, others = integration[:, 0], integration[:, 1:]
    system = np.eye(len(others)) + stiffness * others
    return np.linalg.solve(system, 1.0 - stiffness * beginning)[-1]


def integrals(points, ends):
    """From 0 to each of the ends, of the Lagrange polynomials of the points."""
    rows = [Polynomial.fit(points, values, len(points) - 1) for values in np.eye(len(points))]
    return np.stack([row.integ()(ends) - row.integ()(0.0) for row in rows], axis=1)


def test_collocation_is_l_stable():
    """What a step with H K = 1e8 started with is gone at its end. The control: by as many Lobatto
    nodes, of which one is the beginning, it is all there."""
    assert_close(integrals(NODES, NODES), INTEGRATION, atol=1e-12)
    radau = np.column_stack([np.zeros(len(NODES)), INTEGRATION])
    assert abs(end_of_stiff_step(radau, 1e8)) < 1e-6
    inside = np.sort(legendre.Legendre.basis(len(NODES) - 1).deriv().roots())
    nodes = (1.0 + np.concatenate([[-1.0], inside, [1.0]])) / 2.0
    lobatto = integrals(nodes, nodes[1:])
    assert abs(abs(end_of_stiff_step(lobatto, 1e8)) - 1.0) < 1e-5
    # Where nothing is stiff, both are right.
    for integration in (radau, lobatto):
        assert_close(end_of_stiff_step(integration, 1.0), np.exp(-1.0), rtol=1e-9)


def test_order_of_the_boosts():
    """The scheme is of order 6 where D turns, and the one for long boosts of order 4."""
    assert_close(np.sum(EXPONENTS, axis=1).sum(), 1.0, rtol=1e-15)
    moments = [np.sum(FORWARD_EXPONENTS, axis=0) @ (2.0 * GAUSS - 1.0) ** k for k in range(4)]
    assert_close(moments, [1.0, 0.0, 1.0 / 3.0, 0.0], atol=1e-15)
    assert np.all(np.diff(np.sort(np.concatenate([NODES, OTHERS]))) > 0.0)
    errors = [_turning_error(parts) for parts in (4, 8, 16)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(orders > 5.7), orders


PROPAGATE = eqx.filter_jit(propagate)


def _turning_error(parts):
    """Of one neuron under a D that turns by two radians, in so many moves, against scipy."""
    angle = 2.0 * NODES
    force = 2.0 * np.stack([np.cos(angle), np.sin(angle), NODES**2], axis=1)
    start = np.array([1.0, 0.6, -0.8, 0.0])

    def slope(s, y):
        powers = np.polynomial.polynomial.polyvander(s, 6).ravel()
        d = powers @ np.linalg.solve(np.polynomial.polynomial.polyvander(NODES, 6), force)
        return np.concatenate([[d @ y[1:]], y[0] * d])

    exact = solve_ivp(slope, (0.0, 1.0), start, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    modes = TO_MODES @ force
    basis = ModeBasis(jnp.asarray(modes)[:, None], jnp.asarray(modes @ modes.T)[:, :, None])
    y = start
    for i in range(parts):
        reduced = Reduced(jnp.asarray(y[:1]), jnp.asarray(modes @ y[1:])[:, None], jnp.zeros(1))
        ends = [jnp.full((1,), (i + k) / parts) for k in (0, 1)]
        move = PROPAGATE(reduced, basis, *ends, 1.0)
        factor = np.exp(float(move.growth[0])) * 2.0 ** int(move.exponent[0])
        w = float(move.kept[0]) * y[1:] + np.asarray(move.gained[:, 0]) @ modes
        y = factor * np.concatenate([[float(move.end.output[0])], w])
    return np.max(np.abs(y - exact)) / np.max(np.abs(exact))


def test_kernels_of_a_sweep():
    """K at the end of a step, in which some neurons met boundaries and some did not, is that of the
    networks there (nothing slides); and the residual is theirs."""
    data = rf.datasets.orthonormal(jax.random.key(1), 8)
    net = rf.balanced(jax.random.key(0), 40, 8, np.log(0.3))
    problem = Problem.of(data, rf.relu)
    integrator = rf.Boost().integrator().prepare(data)
    never = jnp.array(-1.0)
    begin = FlowState.of(problem, net, jnp.zeros(()), 0)
    state = eqx.filter_jit(integrator.init)(problem, begin, (never, never), never)
    guess = jnp.broadcast_to(state.residual, (len(NODES), data.samples))
    fine = jnp.broadcast_to(state.residual, (len(POINTS), data.samples))
    generator = Generator.of_step(problem, state.start.log_scale, guess, fine, jnp.array(4.0))
    uncertainty = Uncertainty(*[state.rounding.of_residuals] * 2)
    swept = eqx.filter_jit(sweep)(
        problem, generator, state.start, uncertainty, 1000, jnp.array(True), Truncation.always()
    )
    events = swept.record.events
    switched = np.unique(events.units[: int(events.count), 0])
    assert 5 < len(switched) < 35
    start, hidden = arrived(problem, state.start, state.hidden, swept.end)
    end = rf.Network(start.log_scale, start.output, hidden)
    # Of the units that are active: the sign of one at rest is rounding.
    active = np.asarray(swept.end.pattern.mode == _modes.ACTIVE)
    slopes = np.where(active, end.weights()[0][:, None], 0.0)
    values = np.where(active, np.asarray(end.weights()[1] @ data.x.T), 0.0)
    kernel = (data.gram() * (slopes.T @ slopes) + values.T @ values) / data.samples
    assert_close(swept.kernels[-1], kernel, rtol=1e-11, atol=1e-13)
    assert_close(swept.residual[-1], data.y - end(data.x), atol=1e-13)


@pytest.mark.usefixtures("without_type_checks")  # of the last step there are no neurons
def test_first_guess_of_a_step():
    """Under a constant kernel: the last polynomial goes on where the next step is as long, and the
    decay is exact, also where it is a thousand times as long, or the last one was not smooth."""
    kernel = jnp.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1e-4]])
    rates, vectors = np.linalg.eigh(kernel)

    def residual(t):
        """exp(-K t) r_0."""
        return (np.exp(-rates * np.asarray(t)[..., None]) * (np.ones(3) @ vectors)) @ vectors.T

    def guess(last, length, kernel=kernel, apart=0.0):
        nodal_values = NodalValues.of_nodes(jnp.array(residual(last * NODES)), residual(0.0), last)
        previous = PreviousStep(
            0.0, None, None, nodal_values, None, None, DecayPredictor.of(jnp.asarray(kernel), None)
        )
        return previous.guess(jnp.asarray(length), jnp.asarray(residual(last) + apart))

    for last, length in ((0.1, 100.0), (20.0, 20.0)):
        assert_close(guess(last, length), residual(last + length * NODES), atol=1e-14)
        other = guess(last, length, 1.1 * kernel)  # the control: it is by the kernel
        assert np.abs(other - residual(last + length * NODES)).max() > 1e-4
    near = guess(0.1, 0.1, 100.0 * kernel)  # not by the kernel
    assert_close(near, residual(0.1 + 0.1 * NODES), atol=1e-7)
    # From where the neurons are, though the polynomial ends elsewhere.
    moved = guess(0.1, 1e-12, kernel, apart=1e-3)
    assert_close(moved, np.tile(residual(0.1) + 1e-3, (len(NODES), 1)), atol=1e-11)
    # In a step in which that decays, it is gone at the end.
    gone = guess(0.1, 0.1, 1e3 * jnp.eye(3), apart=1e-3)
    assert_close(gone[-1], residual(0.2), atol=1e-7)


def test_longest_step_by_the_decay():
    """What the polynomial misses of a mode is about the part of the tolerance that is allowed; a
    mode that is nearly gone bounds no step, and neither does one that stays."""
    rate, size, tolerance, bound = 0.7, 1e-2, jnp.array(1e-7), jnp.array(0.3)
    decay = DecayPredictor.of(jnp.diag(jnp.array([rate, 1e5, 0.0])), None)
    residual = jnp.array([size, 1e-6, 1.0])
    length = float(decay.longest(residual, tolerance, bound))
    s = np.linspace(0.0, 1.0, 201)
    curve = Polynomial.fit(NODES, size * np.exp(-rate * length * NODES), len(NODES) - 1)
    missed = np.max(np.abs(size * np.exp(-rate * length * s) - curve(s)))
    moved = bound * missed * min(length, 1.0 / rate)
    assert 3e-4 * tolerance < moved < 1e-2 * tolerance
    assert decay.longest(jnp.array([1e-11, 1e-6, 1.0]), tolerance, bound) > 1e100
    # The control: a fast mode that has not decayed.
    assert decay.longest(jnp.array([1e-11, 1e-1, 1.0]), tolerance, bound) < 1e-3


def attempted(length, error, converged=True):
    return SimpleNamespace(
        nodal_values=SimpleNamespace(length=jnp.array(length)),
        error=jnp.array(error),
        converged=jnp.array(converged),
        iterate=SimpleNamespace(sweeps=3, trusted=0.2),
    )


@pytest.mark.usefixtures("without_type_checks")  # the attempts have only what it reads of them
def test_step_after_two_that_missed():
    """The first shrinks by the order of a smooth residual, the second by what both tell."""

    def factor(trial, missed):
        size = next_size(trial, trial.nodal_values.length, 1.0, jnp.array(False), missed)
        return float(size / trial.nodal_values.length)

    first = attempted(2.0, 100.0)
    assert_close(factor(first, RejectedStep.none()), 0.9 * 100.0 ** (-1.0 / 8.0), rtol=1e-15)
    missed = RejectedStep.none().after(first, jnp.array(2.0), jnp.array(False))
    second = attempted(1.0, 25.0)  # of order 2: half way to 8, of the logarithms, is 4
    assert_close(factor(second, missed), 0.9 * 25.0 ** (-1.0 / 4.0), rtol=1e-15)
    smooth = attempted(1.0, 100.0 / 2.0**9)  # the control
    assert_close(missed.order(smooth), 8.0, rtol=1e-15)
    # What tells nothing changes nothing; where a step is taken, all is forgotten.
    for trial, asked in ((attempted(1.0, 25.0, converged=False), 1.0), (second, 1.5)):
        after = missed.after(trial, jnp.array(asked), jnp.array(False))
        assert after.length == 2.0 and after.error == 100.0
    assert jnp.isinf(missed.after(second, jnp.array(1.0), jnp.array(True)).length)


@pytest.mark.parametrize("lanes", [1, 5])
def test_events_are_numbered_lane_by_lane(lanes):
    rng = np.random.default_rng(lanes)
    lane = np.sort(rng.integers(lanes, size=40))  # with five, the order in which a pool has them
    changed = rng.random(40) < 0.5
    expected = [np.sum(changed[:i] & (lane[:i] == lane[i])) for i in range(40)]
    assert np.array_equal(_rank(jnp.asarray(lane), jnp.asarray(changed), lanes), expected)


def test_alone():
    """A flow that is one of many lanes hands its step back after every sweep; one that is alone,
    or that they all share, does not."""
    one, many = jnp.ones(()), jnp.ones(3)
    assert alone(one) and jax.jit(alone)(one)
    assert not jax.jit(jax.vmap(alone))(many).any()
    assert not jax.vmap(jax.vmap(alone))(jnp.ones((2, 3))).any()
    assert jax.vmap(lambda lane: jnp.where(alone(one), lane, 0.0))(many).all()
