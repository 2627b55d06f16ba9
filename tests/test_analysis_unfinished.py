"""What a decay, or a run that ends too early, must not be taken for."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import curve, five_points
from tolerance import assert_close
from trajectories import RATE_MINUS, RATE_PLUS, on_five_points, on_two_points

import reluflow as rf
from reluflow.analysis import phases, plateaus, saddles

INTEGRATORS = {"boost": rf.Boost(), "runge-kutta": rf.RungeKutta()}


def until(sol, end):
    """The same run, as if it had ended at the last save before that time."""
    kept = int(np.searchsorted(sol.ts, end))
    parts = (sol.ts, sol.losses, sol.networks)
    return eqx.tree_at(
        lambda s: (s.ts, s.losses, s.networks), sol, jax.tree.map(lambda x: x[:kept], parts)
    )


# Sums of exponentials: the loss in the lazy regime, (weights, rates)
DECAYS = {
    "one": ([1.0], [1.0]),
    "two": ([1.0, 0.1], [40.0, 1.0]),
    "three": ([200.0, 1.0, 0.1], [150.0, 3.0, 0.1]),
    "five": ([1.0, 0.3, 0.1, 0.03, 0.01], [100.0, 30.0, 9.0, 3.0, 0.3]),
}


@pytest.mark.parametrize("share", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("name", DECAYS)
def test_exponential_decays_have_no_plateau(name, share):
    """To a share of the time of the slowest part: much before it, that stands still."""
    weights, rates = map(np.array, DECAYS[name])
    end = share / rates.min()
    ts = np.linspace(0.0, end, 2001)
    assert plateaus(curve(ts, np.exp(-np.outer(ts, rates)) @ weights)) == []


def test_control_a_constant_under_the_decay_is_one():
    ts = np.linspace(0.0, 10.0, 2001)
    (only,) = plateaus(curve(ts, 0.3 + np.exp(-3.0 * ts)))
    assert_close(only.loss, 0.3, rtol=1e-12)
    assert only.end == np.inf
    # Also one that is left again: with time scales that are apart, not with those that are not.
    for slow, count in ((1e-4, 1), (0.3, 0)):
        losses = np.exp(-3.0 * ts) + 0.3 * np.exp(-slow * ts) / (1.0 + np.exp(6.0 * (ts - 8.0)))
        assert len(plateaus(curve(ts, losses))) == count


@pytest.mark.parametrize("t1", [5.0, 40.0])
@pytest.mark.parametrize(
    "integrator",
    [pytest.param("boost", marks=pytest.mark.slow), "runge-kutta"],  # of one curve, to 1e-8
)
def test_five_points_at_scale_10(integrator, t1):
    """2022, Fig. 5: lazy, nothing waits."""
    for seed in range(3):
        net, data = five_points(np.log(10.0 / np.sqrt(120.0)), seed=seed)
        saveat = diffrax.SaveAt(ts=jnp.linspace(0.0, t1, 501))
        sol = rf.flow(net, data, t1, saveat=saveat, integrator=INTEGRATORS[integrator])
        assert plateaus(sol) == []
        assert [phase.name for phase in phases(sol, data)] == ["fitting", "convergence"]


@pytest.mark.parametrize(
    ("problem", "ends"),
    [
        (lambda: on_two_points(-40.0), [5.0, 20.0, 34.0, 35.5, 36.5, 60.0, 73.0, 75.0, 80.0]),
        (on_five_points, [5.0, 20.0, 54.0, 80.0, 116.0, 300.0, 360.0, 500.0]),
    ],
    ids=["two points", "five points"],
)
def test_a_run_that_ends_early_leaves_no_plateau_early(problem, ends):
    """Where its last fall leads is not known: no time is below that of the whole run."""
    sol, data = problem()
    whole = plateaus(sol)
    unknown = 0
    for end in ends:
        found = plateaus(until(sol, end))
        assert len(found) <= len(whole)
        for mine, all_of_it in zip(found, whole, strict=False):
            assert_close(mine.loss, all_of_it.loss, rtol=1e-2)
            for ours, theirs in ((mine.end, all_of_it.end), (mine.half, all_of_it.half)):
                assert ours >= theirs - 1e-3 * end
                unknown += np.isinf(ours)
        for growth in phases(until(sol, end), data).named("growth"):
            assert growth.end >= min(whole[0].end, end) - 0.02 * end
    assert unknown >= 3 and all(np.isfinite(plateau.half) for plateau in whole)


def test_a_saddle_that_is_not_left_says_when_it_will_be():
    """t1 too short for the start's scale: the drops come at ln(1/lambda) / |D|, up to O(1/|D|)."""
    log_lambda = -40.0
    sol, data = on_two_points(log_lambda)
    first, second = plateaus(sol)
    for end, drop, rate in (
        (10.0, first.half, RATE_PLUS),
        (30.0, first.half, RATE_PLUS),
        (45.0, second.half, RATE_MINUS),
        (60.0, second.half, RATE_MINUS),
    ):
        last = saddles(until(sol, end), data)[-1]
        assert last.index > 0 and np.isinf(last.leaving)
        assert_close(last.escape_rate, rate, rtol=1e-3)
        assert abs(last.expected - drop) < 2.0 / rate
        text = str(last)
        assert "NOT left by the end of the run" in text and f"t = {last.expected:.5g}" in text
    # The control: the run that goes on leaves both, and expects nothing.
    for saddle in saddles(sol, data):
        assert np.isfinite(saddle.leaving) and np.isinf(saddle.expected)
        assert "NOT left" not in str(saddle) and f"left at rate {saddle.escape_rate:.6g}" in str(
            saddle
        )


def test_a_minimum_that_stays_expects_nothing():
    """Index 0: one sample that no neuron can fit, and one that is fitted."""
    data = rf.datasets.two_points()
    w = np.asarray(data.x)[1] / np.linalg.norm(np.asarray(data.x)[1])
    net = rf.Network([-2.0], [1.0], w[None])
    saveat = diffrax.SaveAt(ts=np.linspace(0.0, 40.0, 401))
    sol = rf.flow(net, data, 40.0, saveat=saveat, integrator=rf.RungeKutta())
    last = saddles(sol, data)[-1]
    assert last.index == 0 and last.escaping == -1 and np.isinf(last.expected)
    assert "minimum, index 0" in str(last) and "NOT left" not in str(last)
