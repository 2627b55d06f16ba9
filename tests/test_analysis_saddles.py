"""Saddles: against exact ones, Hessians by JAX, Newton's method, and slopes of log-norms."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.optimize
from jax.flatten_util import ravel_pytree
from tolerance import assert_close
from trajectories import (
    RATE_MINUS,
    RATE_PLUS,
    SAVES,
    in_other_units,
    lazy,
    on_five_points,
    on_gaussian,
    on_orthonormal,
    on_two_points,
    weights,
)

import reluflow as rf
from reluflow._model import _modes
from reluflow.analysis import saddles
from reluflow.analysis._polish import State, on_pattern, polish
from reluflow.analysis._saddles import _check
from reluflow.analysis._trajectory import Trajectory


def loss_of(data, mode):
    """L on a fixed pattern of units, of the weights (a, w)."""

    def loss(parameters):
        a, w = parameters
        seen = jnp.where(mode == _modes.ACTIVE, w @ data.x.T, 0.0)
        return jnp.mean((data.y - a @ seen) ** 2) / 2.0

    return loss


def on_its_pattern(x, y, state):
    """Least squares on the pattern of the state, wherever that ends."""
    return on_pattern(x, y, np.abs(state.a)[:, None] * state.w, state)


def at_leaving(sol, data, saddle):
    """The save at which the flow leaves: (index, modes of the units there)."""
    traj = Trajectory.of(sol, data)
    index = int(np.searchsorted(traj.ts, min(saddle.leaving, traj.ts[-1])))
    return index, traj.mode[index]


@pytest.mark.parametrize("log_lambda", [-20.0, -1000.0])
def test_two_points(log_lambda):
    """The origin, then one direction x_2 with |theta|^2 = 2 y / |x| that fits y_2 = 1."""
    origin, second = saddles(*on_two_points(log_lambda))
    assert origin.stationary and second.stationary
    assert not origin.active.any() and origin.network.squared_norm() == 0.0
    assert origin.loss == 0.5 and origin.gradient_norm == 0.0
    assert_close(origin.escape_rate, RATE_PLUS, rtol=1e-12)
    assert_close(second.escape_rate, RATE_MINUS, rtol=1e-12)
    assert_close(second.loss, 0.25, rtol=1e-14)
    assert_close(second.network.squared_norm(), 2.0 / np.sqrt(5.0), rtol=1e-7)
    a = np.asarray(second.network.weights()[0])
    assert np.all((a != 0.0) == second.active) and np.all(a[second.active] > 0.0)
    assert origin.index > second.index > 0
    assert second.time < second.leaving and origin.time == 0.0


def test_the_saddle_is_passed_closer_as_lambda_falls():
    """2022, Fact 1: |theta - theta_S| <= lambda^(eps / 5); distances are logarithms."""
    near, far, tiny = (saddles(*on_two_points(ln))[1].log_distance for ln in (-20.0, -40.0, -1e3))
    assert far < near - 5.0 and tiny < -25.0
    origin = saddles(*on_two_points(-1000.0))[0]
    assert -1000.0 < origin.log_distance < -995.0  # e^-997 is 0 in plain numbers


@pytest.mark.parametrize("which", [0, 1])
def test_the_escaping_neuron_grows_at_the_escape_rate(which):
    sol, data = on_two_points(-40.0)
    saddle = saddles(sol, data)[which]
    ts = np.asarray(sol.ts)
    middle = (ts > saddle.leaving - 10.0) & (ts < saddle.leaving - 3.0)
    log_norm = np.asarray(sol.networks.log_norm())[middle, saddle.escaping]
    slope = np.polyfit(ts[middle], log_norm, 1)[0]
    assert_close(slope, saddle.escape_rate, rtol=1e-3)
    # The control: the rates of the two saddles differ by more than that.
    assert abs(RATE_PLUS - RATE_MINUS) > 0.1 * slope


@pytest.mark.parametrize("problem", [lambda: on_two_points(-40.0), lambda: on_orthonormal(6)])
def test_the_index_by_the_dense_hessian(problem):
    """All eigenvalues of the Hessian of L, every neuron on its pattern at leaving."""
    sol, data = problem()
    for saddle in saddles(sol, data):
        _, mode = at_leaving(sol, data, saddle)
        flat, unravel = ravel_pytree(saddle.network.weights())
        loss = loss_of(data, mode)
        hessian = jax.hessian(lambda v, f=loss, u=unravel: f(u(v)))(flat)
        eigenvalues = np.linalg.eigvalsh(hessian)
        assert np.sum(eigenvalues < -1e-8) == saddle.index
        if saddle.index:
            assert_close(-eigenvalues.min(), saddle.largest_rate, rtol=1e-6)
        assert np.all(np.abs(jax.grad(lambda v, f=loss, u=unravel: f(u(v)))(flat)) < 1e-14)


@pytest.mark.parametrize("seed", [4, 6])
def test_the_chain_of_indices_decreases(seed):
    """The conjecture of the review, and plateau losses 1/2n sum_U y_k^2 of the 2026 paper."""
    sol, data = on_orthonormal(seed)
    chain = saddles(sol, data)
    assert len(chain) == {4: 3, 6: 4}[seed] and all(saddle.stationary for saddle in chain)
    indices, y = [saddle.index for saddle in chain], np.asarray(data.y)
    assert all(before > after for before, after in itertools.pairwise(indices))
    unfitted = np.full(6, True)
    for saddle in chain:
        r = y - np.asarray(saddle.network(data.x))
        left = np.abs(r) > 1e-12
        assert_close(r[left], y[left], rtol=1e-12)
        assert_close(saddle.loss, np.mean((y * left) ** 2) / 2.0, rtol=1e-12)
        assert np.all(left <= unfitted)
        unfitted = left
    if seed == 6:  # what no neuron can fit: a minimum, at which the run ends
        assert chain[-1].index == 0 and chain[-1].leaving == np.inf and unfitted.any()
        assert "minimum" in str(chain[-1])


def test_newton_finds_the_same_point():
    """Levenberg and Marquardt on grad L = 0 of the active neurons, from 3% off the flow's state."""
    sol, data = on_two_points(-20.0)
    saddle = saddles(sol, data)[1]
    index, mode = at_leaving(sol, data, saddle)
    a, w = weights(sol)
    start = (1.03 * a[index, saddle.active], jnp.asarray(w[index, saddle.active]))
    loss = loss_of(data, mode[saddle.active])
    assert abs(loss(start) - saddle.loss) > 1e-4
    found = optx.least_squares(
        lambda v, _: jax.grad(loss)(v), optx.LevenbergMarquardt(1e-12, 1e-14), start
    )
    assert_close(loss(found.value), saddle.loss, rtol=1e-10)


def test_sliding_units_are_clarke_stationary():
    """min over alpha in [0, 1] of |grad L| by a solver of its own is 0, and not for any alpha."""
    sol, data = on_five_points()
    chain = saddles(sol, data)
    assert len(chain) == 2 and all(saddle.stationary for saddle in chain)
    saddle = chain[1]
    assert 0 < saddle.index < chain[0].index
    x, y = np.asarray(data.x), np.asarray(data.y)
    w = np.asarray(saddle.network.weights()[1])[saddle.active]
    r = y - np.asarray(saddle.network(data.x))
    p = w @ x.T / np.linalg.norm(w, axis=1)[:, None]
    on_boundary = np.abs(p) < 1e-13
    assert on_boundary.any(axis=1).sum() > 0
    for row, held in zip(p, on_boundary, strict=True):
        pull = (np.where((row > 0.0) & ~held, r, 0.0)) @ x
        if held.any():
            parts = (x * r[:, None])[held]
            found = scipy.optimize.lsq_linear(parts.T, -pull, (0.0, 1.0), method="bvls")
            assert np.sqrt(2.0 * found.cost) < 1e-9
            ends = [np.linalg.norm(pull + end * parts.sum(axis=0)) for end in (0.0, 1.0)]
            assert max(ends) > 0.1
        else:
            assert np.linalg.norm(pull) < 1e-13


def test_neurons_that_die_away():
    """Small neurons that shrink for ever: the flow tends to the critical point without them,
    which is where they come to all of their boundaries at once."""
    sol, data = on_gaussian(4)
    last = saddles(sol, data)[-1]
    assert last.stationary and last.reached and last.index == 0
    assert_close(last.loss, float(sol.losses[-1]), rtol=1e-6)
    # The control: least squares on the pattern of the state gives them weights of any sign.
    x, y = np.asarray(data.x), np.asarray(data.y)
    large = np.asarray(sol.final.log_norm()) > -13.0
    a, w = (part[-1, large] for part in weights(sol))
    state = State(a, w, Trajectory.of(sol, data).mode[-1, large])
    found, r = on_its_pattern(x, y, state)
    assert np.mean(r**2) / 2.0 < 0.97 * last.loss and not _check(x, y, found, 1.0)[1]
    found, r = polish(x, y, state)
    assert_close(np.mean(r**2) / 2.0, last.loss, rtol=1e-10)
    assert np.any(found.a == 0.0) and _check(x, y, found, 1.0)[1]


def test_a_slow_stretch_is_no_passage_of_a_saddle():
    """Where some D_j is small beside the rate at which the next neuron grows, the flow leaves
    before it has come near the critical point; this must be said."""
    sol, data = on_gaussian(0)
    chain = saddles(sol, data)
    assert [saddle.reached for saddle in chain] == [True, False, True]
    assert all(saddle.stationary for saddle in chain)
    assert chain[1].log_distance > -1.0 > chain[2].log_distance
    assert "NOT reached" in str(chain[1]) and "NOT" not in str(chain[2])


def test_of_size_e_to_the_minus_10000():
    origin, second = saddles(*on_two_points(-10000.0))
    assert -1e4 < origin.log_distance < -9990.0
    assert_close(second.escape_rate, RATE_MINUS, rtol=1e-12)
    assert second.stationary and second.reached and origin.index > second.index > 0


@pytest.mark.parametrize("factor", [1e-6, 1e5])
@pytest.mark.parametrize("problem", [on_five_points, lambda: on_gaussian(4)])
def test_no_units(problem, factor):
    """Labels c y: rates are c, losses c^2 and distances sqrt(c) times as large, all else equal."""
    sol, data = problem()
    chain, others = saddles(sol, data), saddles(*in_other_units(sol, data, factor))
    assert sum(saddle.reached for saddle in chain) == 2
    for saddle, other in zip(chain, others, strict=True):
        assert saddle.reached == other.reached
        if not saddle.reached:  # far away, rounding may decide to which point the way leads
            continue
        assert saddle.stationary and other.stationary
        assert (saddle.index, saddle.escaping) == (other.index, other.escaping)
        np.testing.assert_array_equal(saddle.active, other.active)
        assert_close(other.escape_rate, factor * saddle.escape_rate, rtol=1e-9)
        assert_close(other.loss, factor**2 * saddle.loss, rtol=1e-9)
        farther = other.log_distance - saddle.log_distance
        assert_close(farther, np.log(factor) / 2.0, atol=1e-6)


def test_polishing_keeps_what_the_flow_conserves():
    sol, data = on_five_points()
    saddle = saddles(sol, data)[1]
    a, w = (np.asarray(part)[saddle.active] for part in saddle.network.weights())
    assert_close(a**2, np.sum(w**2, axis=1), rtol=1e-7)  # balanced at the start


def test_controls():
    """The flow's own state is no critical point, nor is one polished on a wrong pattern."""
    sol, data = on_five_points()
    saddle = saddles(sol, data)[1]
    x, y = np.asarray(data.x), np.asarray(data.y)
    traj = Trajectory.of(sol, data)
    index = int(np.searchsorted(traj.ts, saddle.leaving)) - 20
    a, w = (part[index, saddle.active] for part in weights(sol))
    mode = traj.mode[index, saddle.active]
    state = State(a, w, mode)
    assert not _check(x, y, state, 1.0)[1]
    polished, _ = polish(x, y, state)
    assert _check(x, y, polished, 1.0)[1]
    free = np.where(mode == _modes.SLIDING, _modes.ACTIVE, mode)
    assert not _check(x, y, on_its_pattern(x, y, State(a, w, free))[0], 1.0)[1]
    other = np.where(mode == _modes.SLIDING, _modes.INACTIVE, mode)
    assert not _check(x, y, on_its_pattern(x, y, State(a, w, other))[0], 1.0)[1]


def test_nothing_in_the_lazy_regime_or_without_an_intermediate_saddle():
    assert saddles(*lazy()) == []
    # 2022, section 3.2: at scale 1e-2 there is no intermediate saddle.
    (only,) = saddles(*on_two_points(np.log(1e-2 / np.sqrt(120.0))))
    assert not only.active.any()


def test_arguments():
    sol, data = on_two_points(-20.0)
    with pytest.raises(ValueError, match="`sol`"):
        saddles(eqx.tree_at(lambda s: s.networks, sol, jnp.zeros(SAVES)), data)
    with pytest.raises(ValueError, match="`data`"):
        saddles(sol, rf.datasets.orthonormal(jax.random.key(0), 3))
    with pytest.raises(ValueError, match="`sol`"):
        saddles(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], sol), data)


def test_printing():
    text = str(saddles(*on_two_points(-20.0))[1])
    assert "saddle of index" in text and "L = 0.25" in text and "NOT" not in text
