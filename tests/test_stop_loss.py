"""Where `stop_loss` ends a run: within 1e-6 of that loss, and never above it."""

import numpy as np
import pytest
from problems import BOTH, five_points, two_points

import reluflow as rf


@BOTH
@pytest.mark.parametrize("make", [two_points, five_points])
@pytest.mark.parametrize("part", [0.9, 0.1, 1e-3, 1e-9, 1e-15, 1e-18])
def test_never_above_and_hardly_below(integrator, make, part):
    """part: of max|y|^2. The residual is then its root, and h, of about max|y|, is rounded: by a
    few units in the last place where neurons are moved exactly, by 1e-13 where integrated."""
    net, data = make()
    stop_loss = part * min(float(np.max(np.square(data.y))), float(rf.loss(net, data)))
    sol = rf.flow(net, data, 1e5, integrator=integrator, stop_loss=stop_loss)
    assert bool(sol.result == rf.RESULTS.loss_reached)
    below = 1.0 - float(sol.stats["loss_final"]) / stop_loss
    rounding = (1e-15 if isinstance(integrator, rf.Boost) else 1e-13) / np.sqrt(part)
    assert 0.0 <= below <= 1e-6 + rounding


@BOTH
def test_a_loss_of_rounding(integrator):
    net, data = two_points()
    sol = rf.flow(net, data, 1e5, integrator=integrator, stop_loss=1e-22)
    assert bool(sol.result == rf.RESULTS.loss_reached)
    assert 0.0 <= float(sol.stats["loss_final"]) <= 1e-22
