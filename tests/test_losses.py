"""Losses and weights of samples: the reference, identities, descent, the limit in direction."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import BOTH, event_list
from reference import reference_flow
from test_activations import NEURONS, SAMPLES, draw, rows, rows_of, succeeded
from tolerance import assert_close

import reluflow as rf

RTOL = 1e-9
LOSSES = {"logistic": rf.logistic, "exponential": rf.exponential}
BOTH_LOSSES = pytest.mark.parametrize("name", LOSSES)


def huber(h, y):
    """Smooth, of bounded slope."""
    return jnp.sqrt(1.0 + (h - y) ** 2) - 1.0


@functools.cache
def _traced(integrator, loss):
    def solve(net, data, t1, stop_loss):
        options = {"rtol": RTOL, "integrator": integrator, "throw": False, "max_steps": 20_000}
        return rf.flow(net, data, t1, loss=loss, stop_loss=stop_loss, **options)

    return eqx.filter_jit(solve)


def flow(integrator, loss, start, x, y, weights, t1, slopes=(0.0, 1.0), stop_loss=1e-307):
    """One program for each shape, loss and integrator."""
    net = rf.Network.from_weights(*start, rf.TwoSlope(*map(jnp.asarray, slopes)))
    data = rf.Dataset(*(jnp.asarray(part) for part in (x, y, weights)))
    return _traced(integrator, loss)(net, data, *map(jnp.asarray, (t1, stop_loss)))


def classes(seed):
    start, x, y, weights = draw(seed)
    return start, x, np.sign(y), weights


@BOTH
@BOTH_LOSSES
def test_against_the_reference(integrator, name):
    slides = events = 0
    for seed in range(12):
        start, x, y, weights = classes(seed)
        slopes = [(0.0, 1.0), (0.3, 1.0), (-1.0, 1.0)][seed % 3]
        t1 = 10.0 ** (1 + seed % 3)
        sol = flow(integrator, LOSSES[name], start, x, y, weights, t1, slopes)
        model = {"slopes": slopes, "weights": weights, "loss": name}
        right = reference_flow(x, y, *start, np.zeros(NEURONS), t1, **model)
        assert succeeded(sol) and not right.ambiguous, seed
        assert_close(rows(sol), rows_of(right), atol=1e-7)
        assert_close(sol.stats["loss_final"], right.final_loss, rtol=1e-7)
        assert len(event_list(sol)) == len(right.times), seed
        ours = sorted((e[1:], e[0]) for e in event_list(sol))
        columns = right.neurons, right.samples, right.before, right.after, right.times
        theirs = sorted((tuple(e[:4]), e[4]) for e in zip(*columns, strict=True))
        assert [e[0] for e in ours] == [e[0] for e in theirs], seed
        if ours:
            assert_close([e[1] for e in ours], [e[1] for e in theirs], rtol=1e-6, atol=1e-6)
        events, slides = events + len(ours), slides + int(np.sum(right.after == 2))
    assert events > 20 and slides > 3
    # Control: the other loss is told apart.
    other = "exponential" if name == "logistic" else "logistic"
    right = reference_flow(x, y, *start, np.zeros(NEURONS), t1, **(model | {"loss": other}))
    assert np.max(np.abs(rows(sol) - rows_of(right))) > 1e-2


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_samples_on_one_input_are_one_of_their_weight(integrator, seed):
    """Labels y, y' on one input: the label (y + y') / 2 of weight 2, and a constant more of loss.
    n counts samples, so that one of weight 0 keeps the clock."""
    start, x, y, _ = draw(seed)
    x[1] = x[0]
    two = flow(integrator, rf.square, start, x, y, np.ones(SAMPLES), 6.0)
    merged = np.array([(y[0] + y[1]) / 2.0, 7.0, *y[2:]])
    weights = np.array([2.0, 0.0, *np.ones(SAMPLES - 2)])
    one = flow(integrator, rf.square, start, x, merged, weights, 6.0)
    assert succeeded(two) and succeeded(one)
    assert_close(rows(two), rows(one), atol=1e-7)
    constant = (y[0] - y[1]) ** 2 / 4.0 / SAMPLES
    assert_close(two.stats["loss_final"] - one.stats["loss_final"], constant, atol=1e-9)
    assert int(two.events.count) == int(one.events.count)


@BOTH
def test_rest_under_weights(integrator):
    """The samples that fit do so whatever their weights; where they conflict, the mean decides."""
    x = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 2.0]])
    y, weights = np.array([0.7, 1.0, 2.0, 9.0, -9.0]), np.array([0.3, 1.0, 3.0, 0.0, 0.0])
    a, w = (
        np.full(NEURONS, 0.2),
        0.2 * np.array([[1.0, 0.1], [-0.1, 1.0], [-1.0, -1.0], [1.0, 1.0]]),
    )
    sol = flow(integrator, rf.square, (a, w), x, y, weights, jnp.inf)
    assert bool(sol.result == rf.RESULTS.rest_reached)
    assert_close(sol.final(x[:3]), np.array([0.7, 1.75, 1.75]), atol=1e-6)
    assert_close(sol.stats["loss_final"], (0.75**2 + 3.0 * 0.25**2) / 10.0, atol=1e-9)


@BOTH
def test_a_loss_of_ones_own(integrator):
    """The square, as a function, is the square; another lowers itself, as descent does to first
    order in its step."""
    start, x, y, weights = draw(7)
    if isinstance(integrator, rf.RungeKutta):  # which is compiled soon
        own = rf.Loss(lambda h, y: (h - y) ** 2 / 2.0)
        one = flow(integrator, own, start, x, y, weights, 6.0)
        other = flow(integrator, rf.square, start, x, y, weights, 6.0)
        assert_close(rows(one), rows(other), atol=1e-8)
        assert_close(one.stats["loss_final"], other.stats["loss_final"], atol=1e-9)
    sol, errors = flow(integrator, rf.Loss(huber), start, x, y, weights, 6.0), []
    net, data = rf.Network.from_weights(*start), rf.Dataset(x, y, weights)
    assert_close(rf.loss(sol.final, data, huber), sol.stats["loss_final"], rtol=1e-12)
    for steps in (3000, 6000):
        near = rf.descent(net, data, optax.sgd(6.0 / steps), steps, loss=rf.Loss(huber))
        assert near.stats["loss_final"] < rf.loss(net, data, huber)
        errors.append(np.max(np.abs(rows(near) - rows(sol))))
    assert 1.8 < errors[0] / errors[1] < 2.2 and errors[1] < 1e-2


def test_the_energy():
    """L falls by the integral of |grad L|^2, by differences of saved states. (By one integrator:
    both are compared with the reference.)"""
    start, x, y, weights = classes(4)
    net, data = rf.Network.from_weights(*start), rf.Dataset(x, y, weights)
    ts = jnp.linspace(0.0, 20.0, 2001)
    options = {"saveat": diffrax.SaveAt(ts=ts), "integrator": rf.RungeKutta(), "rtol": 1e-9}
    sol = rf.flow(net, data, 20.0, loss=rf.logistic, **options)
    a, w = sol.networks.weights()
    theta = np.concatenate([np.asarray(a), np.asarray(w).reshape(len(ts), -1)], axis=1)
    speed = np.sum(np.diff(theta, axis=0) ** 2) / float(ts[1])
    lost = float(sol.losses[0] - sol.losses[-1])
    assert lost > 0.1
    assert_close(speed, lost, rtol=1e-4)


# Until t = 1e12, and 1e300, in direction.


def separable():
    """Data of four samples, and their largest margin; a weight of 0 is of what is not there."""
    x = np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    y, weights = np.array([1.0, -1.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    xor = rf.datasets.xor()
    return {
        # Inputs of lengths 3 and 1: least squared norm 2 (1/3 + 1) of margins of 1.
        "orthogonal": (x, y, weights, 3.0 / 8.0),
        # Four orthogonal problems of one sample.
        "xor": (np.asarray(xor.x), np.asarray(xor.y), np.ones(4), 1.0 / (4.0 * np.sqrt(2.0))),
    }


def small(seed=0):
    """(a, w) of twelve neurons of size e^-3."""
    return rf.balanced(jax.random.key(seed), 12, 2, -3.0).weights()


def with_weight(x, y, weights):
    return rf.Dataset(x[weights > 0.0], y[weights > 0.0])


@BOTH
@pytest.mark.parametrize(("name", "problem"), [("logistic", "orthogonal"), ("exponential", "xor")])
def test_a_million_millions(integrator, name, problem):
    x, y, weights, margin = separable()[problem]
    data, loss = with_weight(x, y, weights), LOSSES[name]
    sol = flow(integrator, loss, small(), x, y, weights, 1e12)
    assert succeeded(sol) and int(sol.stats["num_steps"]) <= 400
    found = rf.theory.max_margin_kkt(sol.final, data, loss)
    # From below, by a part of 1 / ln t.
    assert 0.0 <= margin - found.margin < 0.3 * margin / np.log(1e12)
    # At the end the loss is about 1 / t.
    assert_close(np.log(sol.stats["loss_final"]), -np.log(1e12), atol=5.0)
    # Control: long before, it is further off.
    early = flow(integrator, loss, small(), x, y, weights, 3e2)
    before = rf.theory.max_margin_kkt(early.final, data, loss)
    assert before.stationarity > 2.0 * found.stationarity


@BOTH
def test_the_kkt_residuals_fall_as_the_logarithm_does(integrator):
    """Complementarity like 1 / ln t; stationarity like 1 / (ln t)^{1/2}, as what the first neurons
    were keeps its size while |theta|^2 grows like ln t (Lyu & Li 2020)."""
    x, y, weights, _ = separable()["orthogonal"]
    ts = np.array([1e4, 1e12, 1e50, 1e150, 1e300])
    ends = [flow(integrator, rf.logistic, small(), x, y, weights, t) for t in ts]
    assert all(map(succeeded, ends))
    data = with_weight(x, y, weights)
    found = [rf.theory.max_margin_kkt(sol.final, data) for sol in ends]
    complementarity = np.array([each.complementarity for each in found]) * np.log(ts)
    stationarity = np.array([each.stationarity for each in found]) * np.sqrt(np.log(ts))
    assert np.all(np.diff(complementarity) > 0.0) and complementarity[-1] < 0.3
    assert complementarity[0] > 0.2
    assert np.all(np.diff(stationarity) < 0.0) and stationarity[-1] > 0.09
    assert stationarity[0] < 0.2


def test_the_largest_margin_by_convex_optimisation():
    for *problem, margin in separable().values():
        data = with_weight(*problem)
        best = rf.theory.max_margin_network(data)
        assert_close(1.0 / best.squared_norm, margin, rtol=1e-6)
        assert_close(1.0 / best.lower_bound, margin, rtol=1e-6)
        assert best.interpolation_error < 1e-12
        found = rf.theory.max_margin_kkt(best.network, data, rf.exponential)
        assert found.complementarity < 1e-6
        h = np.asarray(best.network(data.x))
        assert np.all(data.y * h >= 1.0 - 1e-12)


def test_the_flow_comes_near_the_largest_margin():
    """On symmetric data, where the optimum has no closed form here."""
    pairs = rf.datasets.symmetric_pairs(jax.random.key(3), 2, 2)
    x, y = np.asarray(pairs.x), np.sign(pairs.y)
    data = rf.Dataset(x, y)
    best = rf.theory.max_margin_network(data)
    # (By the program of another test.)
    sol = flow(rf.RungeKutta(), rf.exponential, small(), x, y, np.ones(4), 1e50)
    found = rf.theory.max_margin_kkt(sol.final, data, rf.exponential).margin
    assert 0.99 / best.squared_norm < found <= (1.0 + 1e-6) / best.lower_bound


def test_a_run_goes_on_under_its_loss():
    start, x, y, weights = classes(2)
    net, data = rf.Network.from_weights(*start), rf.Dataset(x, y, weights)
    options = {"integrator": rf.RungeKutta(), "rtol": RTOL}
    whole = rf.flow(net, data, 20.0, loss=rf.logistic, **options)
    first = rf.flow(net, data, 7.0, loss=rf.logistic, **options)
    assert first.loss == rf.logistic and whole.data.weights is not None
    second = rf.flow(first, t1=20.0, **options)
    assert_close(rows(second), rows(whole), atol=1e-8)
    with pytest.raises(ValueError, match="`loss` must not be given with a solution"):
        rf.flow(first, t1=20.0, loss=rf.square)


@BOTH
@BOTH_LOSSES
def test_until_a_loss(integrator, name):
    start, x, y, weights = classes(3)
    part = 0.8 * float(
        rf.loss(rf.Network.from_weights(*start), rf.Dataset(x, y, weights), LOSSES[name])
    )
    sol = flow(integrator, LOSSES[name], start, x, y, weights, 1e6, stop_loss=part)
    assert bool(sol.result == rf.RESULTS.loss_reached)
    assert part * (1.0 - 1e-5) < float(sol.stats["loss_final"]) <= part


@pytest.mark.slow  # the derivative of rf.Boost is compiled for it
def test_the_derivative_by_the_weights_of_samples():
    start, x, y, weights = classes(1)
    net = rf.Network.from_weights(*start)

    def end(weights):
        data = rf.Dataset(x, y, weights)
        return rf.flow(net, data, 8.0, loss=rf.logistic, rtol=1e-10).final.weights()[1]

    weights, along = jnp.asarray(weights), jnp.asarray(np.arange(SAMPLES) - 1.5)
    _, tangent = jax.jvp(end, (weights,), (along,))
    step = 1e-5
    difference = (end(weights + step * along) - end(weights - step * along)) / (2.0 * step)
    assert_close(tangent, difference, atol=1e-6, rtol=1e-5)


def test_values_and_derivatives():
    """Also where the margin is so large that 1 - sigmoid is 0."""
    h, y = jnp.array([-2.0, 0.3, 800.0, -800.0]), jnp.array([1.0, -1.0, 1.0, -1.0])
    plain = {
        rf.square: lambda h, y: (h - y) ** 2 / 2.0,
        rf.logistic: lambda h, y: jnp.log1p(jnp.exp(-y * h)),
        rf.exponential: lambda h, y: jnp.exp(-y * h),
    }
    for loss, function in plain.items():
        some = h[:2], y[:2]
        assert_close(loss(*some), function(*some), rtol=1e-14)
        own = rf.Loss(function)
        assert_close(loss.residual(*some), own.residual(*some), rtol=1e-13)
        assert_close(loss.curvature(*some), own.curvature(*some), rtol=1e-13)
        assert np.all(np.isfinite(loss.curvature(h, y)))
    assert_close(rf.logistic.residual(h, y)[2:], np.exp(-800.0) * y[2:], rtol=1e-13)
    assert_close(rf.logistic.curvature(h, y)[2:], np.exp(-800.0), rtol=1e-13)


def problem():
    data = rf.datasets.two_points()
    return rf.balanced(jax.random.key(0), 4, 2, -2.0), data


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, data: rf.flow(net, data, 1.0, loss="square"), "`loss` must be a loss"),
        (lambda net, data: rf.flow(net, data, 1.0, loss=lambda h: h), "of arrays of one shape"),
        (lambda net, data: rf.flow(net, data, 1.0, loss=lambda h, y: 1.0), "it returns"),
        (lambda net, data: rf.flow(net, data, 1.0, loss=lambda h, y: jnp.sum(h)), "it returns"),
        (lambda net, data: rf.flow(net, data, jnp.inf, loss=rf.logistic), "`t1` must be finite"),
        (lambda net, data: rf.flow(net, data, jnp.inf, loss=huber), "`t1` must be finite"),
        (lambda net, data: rf.Dataset(data.x, data.y, [1.0]), "one weight per row"),
        (lambda net, data: rf.Dataset(data.x, data.y, [1.0, -1.0]), "must not be negative"),
        (lambda net, data: rf.Dataset(data.x, data.y, [1.0, np.nan]), "`weights` must be finite"),
    ],
)
def test_bad_losses_and_weights(call, message, without_type_checks):
    with pytest.raises((TypeError, ValueError), match=message):
        call(*problem())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_labels_that_are_no_signs_are_refused(loss):
    """0 and 1 would be a sample that nothing pulls at, without a word."""
    net, data = problem()
    other = rf.Dataset(data.x, [0.0, 1.0])
    for call in (
        lambda: rf.flow(net, other, 1.0, loss=loss),
        lambda: rf.descent(net, other, optax.sgd(1e-2), 3, loss=loss),
        lambda: rf.loss(net, other, loss),
    ):
        with pytest.raises(ValueError, match="labels 1 and -1"):
            call()


def test_analysis_is_of_the_square_loss():
    net, data = problem()
    saveat = diffrax.SaveAt(ts=jnp.linspace(0.0, 1.0, 5))
    options = {"saveat": saveat, "integrator": rf.RungeKutta()}
    sol = rf.flow(net, data, 1.0, loss=rf.exponential, **options)
    with pytest.raises(ValueError, match=r"`sol` must be of rf\.square"):
        rf.analysis.phases(sol, data)
    assert rf.analysis.balance_drift(sol) < 1e-8  # what holds for all, is told for all


def test_a_network_that_does_not_fit_has_no_margin():
    net, data = problem()
    with pytest.raises(ValueError, match="must fit the signs of all labels"):
        rf.theory.max_margin_kkt(net, data)


def test_pictures_tell_the_loss_of_the_run():
    pytest.importorskip("matplotlib")
    from reluflow import plot

    net, data = problem()
    options = {
        "saveat": diffrax.SaveAt(ts=jnp.linspace(0.0, 5.0, 3)),
        "integrator": rf.RungeKutta(),
    }
    sol = rf.flow(net, data, 5.0, loss=rf.logistic, **options)
    assert plot.loss_curve(sol).get_ylabel() == "loss  $L$  (rf.logistic)"
    plain = rf.flow(net, data, 5.0, **options)
    assert "2n" in plot.loss_curve(plain).get_ylabel()
    titles = [ax.get_title() for ax in plot.states(sol.networks, data, loss=sol.loss)]
    assert_close([float(title.split()[-1]) for title in titles], sol.losses, rtol=1e-3)
