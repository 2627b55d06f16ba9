"""Where float64 is short: predictions that are small differences, inputs that are nearly parallel
or nearly orthogonal."""

import numpy as np
import pytest
from problems import BOTH, given, oracle
from tolerance import assert_close

import reluflow as rf
from reluflow.claims import _problems, relaxations


def lazy(alpha):
    """The lazy regime: pairs of neurons that cancel at the start, scaled by alpha."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=6)
    w = alpha**0.5 * rng.normal(size=(20, 3))
    sign = rng.choice([-1.0, 1.0], 10)
    w[10:] = w[:10]
    return given(x, y, np.concatenate([sign, -sign]) * np.linalg.norm(w, axis=1), w)


@BOTH
@pytest.mark.parametrize("alpha", [1.0, 1e2, 1e4])
def test_predictions_of_the_lazy_regime(integrator, alpha):
    """They are right to the tolerance, although the weights are alpha times larger."""
    net, data = lazy(alpha)
    sol = rf.flow(net, data, 3.0 / alpha, integrator=integrator)
    expected = oracle(net, data, 3.0 / alpha).predictions
    assert_close(sol.final(data.x), expected, atol=1e-7 * np.max(np.abs(data.y)))
    assert float(sol.stats["rounding"]) < 1e-7


@BOTH
def test_what_rounding_hides_is_said(integrator):
    net, data = lazy(1e6)
    sol = rf.flow(net, data, 3e-6, rtol=1e-11, integrator=integrator)
    assert float(sol.stats["rounding"]) > 1e-11
    assert "float64 rounds" in str(sol)
    assert "float64 rounds" not in str(rf.flow(*lazy(1.0), 3.0, integrator=integrator))


def nearly_parallel(angle, sign=-1.0):
    rng = np.random.default_rng(8)
    x, v = rng.normal(size=(3, 3)), rng.normal(size=3)
    v -= v @ x[0] * x[0] / (x[0] @ x[0])
    x[2] = sign * 1.3 * (x[0] + angle * np.linalg.norm(x[0]) * v / np.linalg.norm(v))
    w = 1e-3 * rng.normal(size=(6, 3))
    y = rng.normal(size=3)
    return given(x, y, rng.choice([-1.0, 1.0], 6) * np.linalg.norm(w, axis=1), w)


@BOTH
@pytest.mark.parametrize(
    ("angle", "loss"), [(1e-9, 3.6810177079925486e-05), (1e-6, 3.681013982921476e-05)]
)
def test_nearly_parallel_inputs_are_two_boundaries(integrator, angle, loss):
    sol = rf.flow(*nearly_parallel(angle), 60.0, rtol=1e-10, integrator=integrator)
    assert_close(sol.stats["loss_final"], loss, rtol=1e-7)


@BOTH
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("angle", [1e-3, 1e-7, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_nearly_parallel_inputs_beside_the_reference(integrator, angle, sign):
    net, data = nearly_parallel(angle, sign)
    sol = rf.flow(net, data, 60.0, rtol=1e-10, integrator=integrator)
    expected = oracle(net, data, 60.0)
    assert_close(sol.stats["loss_final"], expected.final_loss, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("strength", [9.4e-9, 9.4e-8])
def test_nearly_orthonormal_inputs(integrator, strength):
    """A unit is then held on its boundary by 1e-8 of the residual."""
    net, data, *_ = _problems.standard(1, -30.0)
    data = relaxations.nearly_orthonormal(data, strength, 1)
    sol = rf.flow(net, data, 200.0, integrator=integrator, max_steps=20_000)
    assert bool(sol.result == rf.RESULTS.successful)
    assert int(sol.ambiguities.count) == 0
