"""The reference itself: closed forms, gradient descent at w = 0, and what decays.

It is what the search compares with, and shares nothing with the library.
"""

import numpy as np
import pytest
import reference
from reference import reference_flow
from reference_inputs import REAL, RESTING, Inputs
from reference_roots import first_roots
from reference_smooth import ORDER
from reference_zero import DEAD, LEAVES, RESTS, edges, pass_zero
from search_problems import arrays
from tolerance import assert_close


def plain(weights):
    """(a, w) in plain numbers, neuron by neuron as rows."""
    scale = np.exp(weights.log_scale)
    return np.column_stack([scale * weights.a, scale[:, None] * weights.w])


def flow(x, y, a, w, t1, **options):
    return reference_flow(x, y, a, w, np.zeros(len(a)), t1, **options)


def test_a_logistic_and_an_exit_from_sliding():
    """Neuron 0 starts on its boundary, slides and leaves, in closed form: with k = sqrt(3) / 2,
    |w_0|^2 = z / k, z' = k z (1 - z); the other's q' = q (1 - q); alpha = (1 - z) / (2 (1 - q))."""
    k = np.sqrt(3.0) / 2.0
    x, y = np.array([[1.0, 0.0], [0.5, k]]), np.array([-1.0, 1.0])
    a, w = np.array([0.4, -np.sqrt(0.3)]), np.array([[0.0, 0.4], [np.sqrt(0.3), -3.0]])
    found = flow(x, y, a, w, 3.0)
    assert list(zip(found.neurons, found.samples, found.before, found.after, strict=True)) == [
        (0, 0, 2, 1)
    ]
    assert_close(found.times, 1.7484207809160088, rtol=1e-14, atol=0.0)


def test_the_energy():
    """L falls by the integral of |grad L|^2, by differences of the saved states."""
    case = arrays("balanced", 0)
    ts = np.linspace(0.0, case.t1, 4001)
    found = reference_flow(*case[:6], ts=ts)
    scale = np.exp(found.saved.log_scale)
    w = np.reshape(scale[..., None] * found.saved.w, (len(ts), -1))
    theta = np.concatenate([scale * found.saved.a, w], axis=1)
    speed = np.sum(np.diff(theta, axis=0) ** 2, axis=1) / np.diff(ts)
    assert_close(np.sum(speed), found.losses[0] - found.losses[-1], rtol=2e-5)


STARTS = [9, 31, 42, 78, 118, 119, 139, 156, 174, 180, 234, 238]  # all pass w = 0 in one way only


def with_large_outputs(seed):
    """A random start with |a| > |w| in two dimensions, where neurons slide to w = 0."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(5, 2)), rng.normal(size=5)
    w = 0.3 * rng.normal(size=(10, 2))
    signs = rng.choice([-1, 1], 10)
    a = signs * np.linalg.norm(w, axis=1) * (1.0 + rng.uniform(0.0, 3.0, 10))
    return x, y, a, w, 8.0 / np.linalg.norm(x * y[:, None] / 5)


def descend(problems, steps):
    """Gradient descent with sigma'(0) = 0 on all of them, each in this many steps to its t1."""
    x, y, a, w, t1 = (np.array(part) for part in zip(*problems, strict=True))
    eta, n = t1[:, None] / steps, y.shape[1]
    for _ in range(steps):
        p = w @ x.transpose(0, 2, 1)
        on = p > 0.0
        residual = y - np.einsum("sj,sjk->sk", a, np.where(on, p, 0.0))
        force = (on * residual[:, None, :] / n) @ x
        a, w = a + eta * np.sum(force * w, axis=2), w + (eta * a)[..., None] * force
    return np.concatenate([a[..., None], w], axis=2)


def test_through_zero_it_is_the_limit_of_descent():
    """Neurons that rest at 0, wake, leave along a ray: of first order in the step."""
    problems = [with_large_outputs(seed) for seed in STARTS]
    found = [flow(*problem) for problem in problems]
    outcomes = {outcome for each in found for _, _, outcome in each.zeros}
    assert outcomes >= {LEAVES, RESTS, "wakes"} and not any(each.ambiguous for each in found)
    exact = np.array([plain(each.final) for each in found])
    coarse, fine = (np.abs(descend(problems, steps) - exact) for steps in (20_000, 80_000))
    coarse, fine = (np.max(error, axis=(1, 2)) for error in (coarse, fine))
    assert np.all(fine < 2e-3)
    assert np.all(coarse / fine > 2.0)
    assert 3.0 < np.exp(np.mean(np.log(coarse / fine))) < 6.0


def test_control_resting_for_good_is_not_the_limit(monkeypatch):
    """With neurons kept at 0 once they are there, the distance stays."""

    def kept(inputs, *arguments):
        passage = pass_zero(inputs, *arguments)
        return passage._replace(outcome=DEAD, modes=np.full(inputs.n, RESTING))

    monkeypatch.setattr(reference, "pass_zero", kept)
    problems = [with_large_outputs(seed) for seed in (31, 119, 234)]
    wrong = np.array([plain(flow(*problem).final) for problem in problems])
    distance = np.max(np.abs(descend(problems, 20_000) - wrong), axis=(1, 2))
    assert np.all(distance > 1e-2)


def test_at_zero_the_one_way_out_is_taken():
    """Frozen residuals; descent from 100 starts beside the slide to 0 leaves along the ray, though
    the way from cone to cone comes back to 0."""
    rng = np.random.default_rng(18)
    x, r = rng.normal(size=(5, 2)), rng.normal(size=5)
    inputs, residual = Inputs(x), r.astype(REAL)
    edge = edges(inputs)[1]
    modes = np.where(edge > 0, 1, 0)
    modes[edge == 0] = 2
    velocity = np.dot(residual, inputs.motion(modes)[0])
    assert np.all(velocity * edge <= 0.0)  # it slides towards 0
    passage = pass_zero(inputs, residual, modes, REAL(1), velocity)
    assert passage.outcome == LEAVES and not passage.ambiguous
    along = np.linalg.lstsq(x, edge.astype(float), rcond=None)[0]
    w = (100.0 + rng.uniform(0.0, 20.0, (100, 1))) * along + 0.3 * rng.normal(size=(100, 2))
    for _ in range(6000):
        w = w + 0.3 * ((w @ x.T > 0.0) * r) @ x
    assert np.all((w @ x.T > 0.0) == (passage.modes == 1))


def test_residuals_decay_without_noise():
    """Long after convergence: no events but those of the flow, whatever t1."""
    case = arrays("balanced", 6)
    ends = [reference_flow(*case[:5], t1) for t1 in (1e3, 1e4, 1e5)]
    assert len({len(end.times) for end in ends}) == 1
    assert ends[-1].steps < 1000
    for end in ends:
        assert_close(plain(end.final), plain(ends[0].final), rtol=0.0, atol=1e-15)


def test_nearly_parallel_inputs_are_two_boundaries():
    """At an angle of 1e-9: a neuron that slides on both is orthogonal to both, and stays so."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(3, 3))
    away = rng.normal(size=3)
    away -= away @ x[0] * x[0] / (x[0] @ x[0])
    x[2] = -1.3 * (x[0] + 1e-9 * np.linalg.norm(x[0]) * away / np.linalg.norm(away))
    w = 1e-3 * rng.normal(size=(6, 3))
    y, signs = rng.normal(size=3), rng.choice([-1.0, 1.0], 6)
    found = flow(x, y, signs * np.linalg.norm(w, axis=1), w, 60.0)
    assert_close(found.final_loss, 3.6810177079925486e-05, rtol=1e-14, atol=0.0)
    force = Inputs(x).motion(np.array([2, 1, 2]))[1][1]
    assert np.max(np.abs(np.dot(x.astype(REAL), force)[[0, 2]])) < 1e-18


@pytest.mark.parametrize("seed", range(5))
def test_first_roots(seed):
    """Against polynomials whose roots are known, two of them close to each other."""
    rng = np.random.default_rng(seed)
    roots = np.sort(rng.uniform(0.1, 1.0, 6))
    roots[1] = roots[0] + 1e-8
    polynomial = np.zeros((ORDER + 1, 2), REAL)
    polynomial[:7, 0] = np.polynomial.polynomial.polyfromroots(roots.astype(REAL))
    polynomial[0, 1] = 1.0
    time, columns = first_roots(polynomial, REAL(1), REAL(0))
    assert_close(float(time), roots[0], rtol=0.0, atol=1e-9)
    assert list(columns) == [0]
    assert np.isinf(first_roots(polynomial, REAL(0.9 * roots[0]), REAL(0))[0])
