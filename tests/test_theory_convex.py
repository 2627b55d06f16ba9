"""The convex programme against the closed form, counting, brute force, and its own dual."""

import subprocess
import sys
from math import comb

import jax
import numpy as np
import pytest
from problems import gaussian_data
from tolerance import assert_close

import reluflow as rf
from reluflow import theory
from reluflow.theory._arrangement import activation_patterns

PROBLEMS = {
    "two points": rf.datasets.two_points,
    "five points": rf.datasets.five_points,
    "plane": lambda: gaussian_data(1, 6, 2),
    "space": lambda: gaussian_data(2, 6, 3),
    "line": lambda: rf.Dataset([[1.0], [-2.0]], [0.5, 1.0]),
}


@pytest.mark.parametrize(("samples", "dim"), [(1, 1), (4, 1), (5, 2), (8, 2), (6, 3), (3, 3)])
def test_number_of_patterns(samples, dim):
    """2 sum_{i < d} (n - 1 choose i) in general position; and those that random w have."""
    x = np.random.default_rng(0).normal(size=(samples, dim))
    patterns = activation_patterns(x)
    count = 2 if dim == 1 else 2 * sum(comb(samples - 1, i) for i in range(dim))
    assert len(patterns) == count == len(np.unique(patterns, axis=0))
    w = np.random.default_rng(1).normal(size=(100_000, dim))
    seen = np.unique(w @ x.T > 0.0, axis=0)
    assert {tuple(p) for p in seen} == {tuple(p) for p in patterns}


def test_patterns_of_parallel_and_dependent_inputs():
    x = np.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    seen = np.random.default_rng(0).normal(size=(10_000, 2)) @ x.T > 0.0
    assert {tuple(p) for p in activation_patterns(x)} == {tuple(p) for p in seen}


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_orthogonal_inputs_have_the_closed_form(seed, samples):
    """Prop. 1, at lengths other than 1 too."""
    data = rf.datasets.orthonormal(jax.random.key(seed), samples, 3)
    for factor in (np.ones(samples), np.linspace(0.5, 3.0, samples)):
        scaled = rf.Dataset(np.asarray(data.x) * factor[:, None], data.y)
        found = theory.minimal_norm_interpolator(scaled)
        minimum = float(theory.minimal_squared_norm(scaled))
        assert_close([found.squared_norm, found.lower_bound], minimum, rtol=1e-6)
    # Control: the closed form of the inputs without their lengths is another number.
    assert abs(found.squared_norm / float(theory.minimal_squared_norm(data)) - 1.0) > 0.01


def _circle(x, points=200_001):
    """Directions w of length 1, dense: enough to see a violated constraint."""
    if x.shape[1] == 1:
        return np.array([[1.0], [-1.0]])
    if x.shape[1] == 2:
        angle = np.linspace(0.0, 2.0 * np.pi, points)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    w = np.random.default_rng(0).normal(size=(points, 3))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


@pytest.mark.parametrize("name", PROBLEMS)
def test_certificate(name):
    """Primal and dual are feasible and meet: nothing of that is the solver's word."""
    data = PROBLEMS[name]()
    found = theory.minimal_norm_interpolator(data)
    x, y = np.asarray(data.x), np.asarray(data.y)
    assert found.interpolation_error < 1e-13
    assert_close(found.network(x), y, atol=1e-13)
    gap = found.squared_norm - found.lower_bound
    assert -1e-12 < gap < 1e-6 * found.squared_norm
    values = np.abs(np.maximum(_circle(x) @ x.T, 0.0) @ found.dual)
    assert 0.99 < np.max(values) <= 1.0 + 1e-12
    assert_close(found.lower_bound, 2.0 * found.dual @ y, rtol=1e-14)
    # Control: the multipliers of other labels bound nothing tight.
    other = theory.minimal_norm_interpolator(rf.Dataset(x, np.r_[-y[0], y[1:]]))
    assert 2.0 * other.dual @ y < 0.999 * found.squared_norm


def test_against_a_dense_dictionary():
    """Neurons of 720 fixed directions, a linear programme: from above, and close."""
    from scipy.optimize import linprog

    data = PROBLEMS["plane"]()
    x, y = np.asarray(data.x), np.asarray(data.y)
    found = theory.minimal_norm_interpolator(data)
    features = np.maximum(_circle(x, 721)[:-1] @ x.T, 0.0).T
    minima = []
    for step in (1, 24):
        some = features[:, ::step]
        solved = linprog(np.ones(2 * some.shape[1]), A_eq=np.hstack([some, -some]), b_eq=y)
        minima.append(2.0 * solved.fun)
    assert found.lower_bound <= minima[0] < 1.001 * found.squared_norm
    assert minima[1] > 1.001 * found.squared_norm  # the control: too few directions


def test_the_flow_does_not_beat_it():
    """Any interpolator is above the bound, and that of the flow by 0 to 20%."""
    data = rf.datasets.five_points()
    net = rf.balanced(jax.random.key(0), 60, 2, np.log(1e-4 / np.sqrt(120.0)))
    final = rf.flow(net, data, 1e5, integrator=rf.Boost(), stop_loss=1e-12).final
    found = theory.minimal_norm_interpolator(data)
    # A network with residuals r bounds nothing by itself: the dual says that it may be smaller
    # than an interpolator by 2 <nu, r>.
    allowed = 2.0 * np.abs(found.dual) @ np.abs(np.asarray(data.y - final(data.x)))
    assert allowed < 1e-4 * found.lower_bound
    ratio = (float(final.squared_norm()) + allowed) / found.lower_bound
    assert 1.0 < ratio < 1.2, ratio


def test_homogeneity_and_zero_labels():
    """Labels c y need c times the squared norm; rows can be permuted."""
    data = PROBLEMS["space"]()
    x, y = np.asarray(data.x), np.asarray(data.y)
    norm = theory.minimal_norm_interpolator(data).squared_norm
    order = np.random.default_rng(0).permutation(len(y))
    other = theory.minimal_norm_interpolator(rf.Dataset(x[order], 1e-3 * y[order]))
    assert_close(other.squared_norm, 1e-3 * norm, rtol=1e-6)
    assert theory.minimal_norm_interpolator(rf.Dataset(x, 0.0 * y)).squared_norm == 0.0


def test_bad_arguments(monkeypatch):
    for samples, dim in ((9, 2), (4, 4)):
        with pytest.raises(ValueError, match="`data` must have at most"):
            theory.minimal_norm_interpolator(gaussian_data(0, samples, dim))
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"reluflow\[theory\]"):
        theory.minimal_norm_interpolator(rf.datasets.two_points())


def test_the_theory_is_there_without_cvxpy():
    """Until a convex program is to be solved. The control is jax, which the flow does need."""
    found = "print([m in sys.modules for m in ('jax', 'cvxpy', 'scs')])"
    code = f"import sys, reluflow; reluflow.flow, reluflow.theory.limit_process; {found}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, False, False]"
