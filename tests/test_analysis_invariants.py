"""Lemmas along a trajectory: conservation, local PL, reactivations, logistic growth, norms."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close
from trajectories import RATE_MINUS, RATE_PLUS, lazy, on_five_points, on_two_points

from reluflow.analysis import (
    balance_drift,
    local_pl,
    logistic_fit,
    norm_ratio,
    phases,
    reactivations,
    saddles,
)


@pytest.mark.parametrize("log_lambda", [-40.0, -1000.0])
def test_logistic_growth_on_two_points(log_lambda):
    """u' = 2 |D| (1 - u |x| / y) u for a cluster on one sample, y = 1 here."""
    sol, data = on_two_points(log_lambda)
    found = phases(sol, data)
    _, second = saddles(sol, data)
    begin, ts = 5.0, np.asarray(sol.ts)
    plus = logistic_fit(sol, second.active, max(begin, ts[2]), found[3].end)
    assert_close(plus.rate, 2.0 * RATE_PLUS, rtol=1e-4)
    assert_close(plus.capacity, 1.0 / np.sqrt(5.0), rtol=1e-3)
    half = np.interp(0.5, [0.0, 1.0], [found[2].begin, found[2].end])
    assert abs(plus.half_time - half) < found[2].end - found[2].begin
    assert plus.deviation < 1e-3
    grows = np.asarray(sol.final.log_norm()) > -10.0
    minus = logistic_fit(sol, grows & ~second.active, max(2.0 * begin, ts[4]))
    assert_close(minus.rate, 2.0 * RATE_MINUS, rtol=1e-3)
    assert_close(minus.capacity, 1.0 / np.sqrt(1.25), rtol=1e-2)
    # The control: the two clusters together do not grow like one.
    assert logistic_fit(sol, grows, max(begin, ts[2])).deviation > 0.1


def test_logistic_of_a_known_curve():
    sol, _ = on_two_points(-40.0)
    ts = np.asarray(sol.ts)
    log_u = np.log(3.0) - np.log1p(np.exp(-0.7 * (ts - 41.0)))
    scale = jnp.asarray(np.repeat(log_u[:, None] / 2.0, 60, axis=1))
    hidden = jnp.tile(jnp.array([0.6, 0.8]), (len(ts), 60, 1))
    known = eqx.tree_at(lambda s: (s.networks.log_scale, s.networks.hidden), sol, (scale, hidden))
    found = logistic_fit(known, [7])
    assert_close(found[:3], [0.7, 3.0, 41.0], rtol=1e-9)
    assert found.deviation < 1e-9
    assert_close(logistic_fit(known, [1, 2]).capacity, 6.0, rtol=1e-9)
    with pytest.raises(ValueError, match="`neurons`"):
        logistic_fit(known, [60])
    with pytest.raises(ValueError, match="`neurons`"):
        logistic_fit(known, [])
    with pytest.raises(ValueError, match="`begin`"):
        logistic_fit(known, [7], begin=1e9)


@pytest.mark.parametrize("log_lambda", [-40.0, -1000.0])
def test_balance_is_conserved(log_lambda):
    sol, _ = on_two_points(log_lambda)
    assert balance_drift(sol) < 1e-7
    # The control: one neuron, however small, with a_j off by 1e-4 at one time.
    output = sol.networks.output.at[500, 40].multiply(1.0 + 1e-4)
    moved = balance_drift(eqx.tree_at(lambda s: s.networks.output, sol, output))
    assert_close(moved, 1e-4, rtol=1e-2)


def test_the_loss_never_increases():
    """Down to where it is noise: the square of the tolerance of the residual."""
    losses = np.asarray(on_two_points(-40.0)[0].losses)
    known = losses[:-1] > 1e-16
    assert 500 < np.sum(known) < len(losses) - 1
    assert np.all(np.diff(losses)[known] <= 1e-8 * losses[:-1][known])


def test_balance_of_neurons_that_grew():
    """(a, w) -> boosted keeps b; that b is 1 of 1 at the start, and little of what it became."""
    sol, _ = on_two_points(-40.0)
    growth = jnp.linspace(0.0, 30.0, len(sol.ts))
    a, w = jnp.cosh(growth), jnp.sinh(growth)
    output = jnp.repeat((a / jnp.exp(growth))[:, None], 60, axis=1)
    hidden = jnp.zeros((len(sol.ts), 60, 2)).at[..., 0].set((w / jnp.exp(growth))[:, None])
    scale = jnp.repeat(growth[:, None] - 10000.0, 60, axis=1)
    where = lambda s: (s.networks.log_scale, s.networks.output, s.networks.hidden)  # noqa: E731
    assert balance_drift(eqx.tree_at(where, sol, (scale, output, hidden))) < 1e-11
    assert balance_drift(eqx.tree_at(where, sol, (scale, output * 1.01, hidden))) > 1e-3


def test_local_pl():
    """2022, Lemma 5: at least |D_-|. Near the limit of one sample it is 4 |D_-|."""
    sol, data = on_two_points(-40.0)
    lowest = local_pl(sol, data)
    assert RATE_MINUS <= lowest < 4.0 * RATE_MINUS
    end = phases(sol, data).named("convergence")[0].begin
    late = local_pl(sol, data, end + 6.0)
    assert_close(late, 4.0 * RATE_MINUS, rtol=1e-3)
    # It is the slope of the loss curve, and on the plateau it is none: the control.
    ts, losses = np.asarray(sol.ts), np.asarray(sol.losses)
    tail = (ts > end + 6.0) & (losses > 1e-11)
    assert_close(-np.polyfit(ts[tail], np.log(losses[tail]), 1)[0], late, rtol=1e-2)
    assert local_pl(sol, data, 40.0) < 1e-6


def test_local_pl_needs_a_tail():
    sol, data = on_two_points(-40.0)
    short = eqx.tree_at(lambda s: s.ts, sol, jnp.where(sol.ts < 50.0, sol.ts, jnp.inf))
    with pytest.raises(ValueError, match="convergence"):
        local_pl(short, data)
    with pytest.raises(ValueError, match="`begin`"):
        local_pl(sol, data, 1e9)
    assert local_pl(*lazy()) > 0.0


def test_reactivations():
    """2022, Lemma 6: none for orthogonal inputs, at any lambda; others have them."""
    for log_lambda in (-40.0, -1000.0):
        assert reactivations(on_two_points(log_lambda)[0]) == 0
    sol, _ = on_five_points()
    tally = sol.events.tally()
    assert reactivations(sol) >= tally["switch on"] > 0


def test_norm_ratio():
    """2022, Thm 1: 1 in the limit; above it at the lambda of the plot, and 0 at the start."""
    sol, data = on_two_points(-40.0)
    ratios = norm_ratio(sol.networks, data)
    assert ratios.shape == sol.ts.shape and ratios[0] < 1e-30
    assert_close(ratios[-1], 1.0, rtol=1e-7)
    large, _ = on_two_points(np.log(1e-2))
    assert norm_ratio(large.final, data) > 1.0 + 1e-5
    with pytest.raises(ValueError, match="`data`"):
        norm_ratio(*reversed((on_five_points()[1], on_five_points()[0].final)))
