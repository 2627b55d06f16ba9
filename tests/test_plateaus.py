"""Plateaus of curves that are known, and the minimal norm against a solver."""

import jax
import numpy as np
import pytest
import scipy.optimize
from problems import curve
from tolerance import assert_close

import reluflow as rf
from reluflow.analysis import plateaus
from reluflow.theory import minimal_squared_norm


def staircase(ts, levels, times, rate=4.0):
    """Falls from level to level by logistic drops centred at the times."""
    drops = -np.diff(levels)
    return levels[-1] + sum(
        drop / (1.0 + np.exp(rate * (ts - time))) for drop, time in zip(drops, times, strict=True)
    )


def test_a_staircase():
    ts = np.linspace(0.0, 60.0, 601)
    found = plateaus(curve(ts, staircase(ts, [1.0, 0.4, 0.1], [20.0, 40.0])))
    assert_close([p.loss for p in found], [1.0, 0.4, 0.1], rtol=1e-6)
    # 10%, 50% and 95% of a logistic of rate 4 lie at -ln 9 / 4, 0 and ln 19 / 4 of its centre.
    assert_close([p.half for p in found], [20.0, 40.0, np.inf], atol=1e-3)
    ends = np.array([20.0, 40.0]) - np.log(9.0) / 4.0
    assert_close([p.end for p in found], [*ends, np.inf], atol=1e-3)
    starts = np.array([20.0, 40.0]) + np.log(19.0) / 4.0
    assert_close([p.start for p in found], [0.0, *starts], atol=1e-3)


def test_the_last_fall_is_no_plateau_and_rounding_neither():
    ts = np.linspace(0.0, 60.0, 601)
    losses = 0.5 / (1.0 + np.exp(2.0 * (ts - 20.0))) + 1e-30 * np.cos(ts) ** 2
    (only,) = plateaus(curve(ts, losses))
    assert_close(only.loss, 0.5)
    assert_close(only.half, 20.0, atol=1e-3)


def test_single_neurons_that_still_move_do_not_make_a_plateau_of_their_own():
    ts = np.linspace(0.0, 60.0, 2401)
    losses = staircase(ts, [1.0, 0.4, 0.399, 0.398, 0.1], [10.0, 20.0, 30.0, 50.0])
    assert len(plateaus(curve(ts, losses))) == 3


@pytest.mark.parametrize("losses", [np.exp(-np.linspace(0.0, 5.0, 50)), np.ones(2), np.zeros(0)])
def test_curves_without(losses):
    assert plateaus(curve(np.linspace(0.0, 1.0, len(losses)), losses)) == []


def test_standing_still():
    (only,) = plateaus(curve(np.linspace(0.0, 1.0, 9), np.full(9, 0.3)))
    assert only == (0.3, 0.0, np.inf, np.inf)


def test_padding_is_left_out():
    ts = np.linspace(0.0, 60.0, 601)
    losses = staircase(ts, [1.0, 0.4, 0.1], [20.0, 40.0])
    padded = curve(np.append(ts, np.inf), np.append(losses, np.inf))
    assert plateaus(padded) == plateaus(curve(ts, losses))


def test_lanes_are_refused():
    with pytest.raises(ValueError, match="`sol`"):
        plateaus(curve(np.zeros((2, 3)), np.zeros((2, 3))))


def test_minimal_norm_of_orthonormal_data():
    """2n (|D+| + |D-|), Prop. 1."""
    data = rf.datasets.orthonormal(jax.random.key(1), 6, 9)
    x, y = np.asarray(data.x), np.asarray(data.y)
    parts = [np.linalg.norm(np.where(sign * y > 0.0, y, 0.0) @ x) for sign in (1.0, -1.0)]
    assert_close(minimal_squared_norm(data), 2.0 * sum(parts), rtol=1e-13)


def test_minimal_norm_of_inputs_of_other_lengths():
    """Against a convex solver: min |v+| + |v-| over the linear pieces that interpolate."""
    data = rf.datasets.two_points()
    x, y = np.asarray(data.x), np.asarray(data.y)
    v = np.array([[0.5, 0.5], [-0.5, 0.5]])

    def interpolates(v):
        v = v.reshape(2, 2)
        return np.maximum(x @ v[0], 0.0) - np.maximum(x @ v[1], 0.0) - y

    solved = scipy.optimize.minimize(
        lambda v: 2.0 * np.linalg.norm(v.reshape(2, 2), axis=1).sum(),
        v.ravel(),
        method="SLSQP",
        constraints={"type": "eq", "fun": interpolates},
        options={"ftol": 1e-14},
    )
    assert_close(minimal_squared_norm(data), solved.fun, rtol=1e-6)


def test_minimal_norm_needs_orthogonal_inputs():
    with pytest.raises(ValueError, match="`data`"):
        minimal_squared_norm(rf.datasets.five_points())
