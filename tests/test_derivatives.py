"""`jax.jvp` through rf.flow with rf.Boost, against finite differences of the other integrator."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import five_points, gaussian_data, two_points

import reluflow as rf
from reluflow._boost import _advance

NEURONS = 20
PROBLEMS = {"two points": (two_points, 40.0, 0), "five points": (five_points, 120.0, 2)}
AGREEMENT = 1e-6


KINDS = ["log_lambda", "data", "weights", "inputs"]


def moved(name, direction, amount):
    """The problem, changed by so much in one direction: of `KINDS`, with these coefficients."""
    net, data = PROBLEMS[name][0](neurons=NEURONS)
    rng = np.random.default_rng(0)
    of_scale, of_labels, of_weights, of_inputs = amount * direction
    labels = data.y + of_labels * rng.normal(size=data.y.shape)
    # The weights are turned and grown, one by one: a neuron stays balanced.
    angle, growth = of_weights * rng.normal(size=(2, NEURONS))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = net.hidden[:, 0], net.hidden[:, 1]
    hidden = jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
    moved = rf.Network(net.log_scale + of_scale + growth, net.output, hidden)
    shift = of_inputs * rng.normal(size=data.y.shape)
    if name == "two points":  # which are to stay orthogonal
        return moved, rf.Dataset((1.0 + shift)[:, None] * data.x, labels)
    return moved, rf.Dataset(data.x.at[:, 0].add(shift), labels)


def one_hot(kind):
    return jnp.array([float(kind == other) for other in KINDS])


def summary(sol):
    """(log|theta_j|, theta_j / |theta_j|, event times): smooth in what is changed."""
    net = sol.final
    theta = jnp.concatenate([net.output[:, None], net.hidden], axis=1)
    size = jnp.linalg.norm(theta, axis=1)
    return jnp.log(size) + net.log_scale, theta / size[:, None], sol.events.time[:MOST]


MOST = 60  # events that are compared


@functools.cache
def program(name, integrator):
    _, t1, width = PROBLEMS[name]
    make = {"boost": rf.Boost, "runge-kutta": rf.RungeKutta}[integrator]

    def run(direction, amount, rtol):
        net, data = moved(name, direction, amount)
        sol = rf.flow(net, data, t1, integrator=make(max_sliding=width), rtol=rtol)
        return (*summary(sol), sol.events.count)

    if integrator == "runge-kutta":
        return jax.jit(run, compiler_options=rf.compiler_options())

    def derivative(direction, rtol):
        along = functools.partial(run, direction, rtol=rtol)
        return jax.jvp(along, (jnp.zeros(()),), (jnp.ones(()),))[1][:3]

    return jax.jit(derivative, compiler_options=rf.compiler_options())


@functools.cache
def differences(name, kind):
    """Central, of order 4, for steps of several sizes."""
    run = functools.partial(program(name, "runge-kutta"), one_hot(kind))

    def at(amount):
        *values, count = run(jnp.array(amount), 1e-13)
        return [np.asarray(v)[: int(count)] if v.shape == (MOST,) else v for v in values]

    def central(h):
        near, far = zip(at(h), at(-h), strict=True), zip(at(2 * h), at(-2 * h), strict=True)
        pairs = zip(near, far, strict=True)
        return [(8 * (a - b) - (c - d)) / (12 * h) for (a, b), (c, d) in pairs]

    return [central(h) for h in (1e-4, 1e-5)]


def errors(name, kind, rtol):
    """Of the logarithms of size, directions and event times, relative to the largest of each."""
    derivatives = program(name, "boost")(one_hot(kind), rtol)

    def error(ours, theirs):
        return np.max(np.abs(ours[: len(theirs)] - theirs)) / (np.max(np.abs(theirs)) + 1e-3)

    each = [map(error, derivatives, found) for found in differences(name, kind)]
    return np.min([list(errors) for errors in each], axis=0)


# The first takes over 20 s: it traces and compiles the derivative of a whole flow, and there is no
# smaller program of which this could be asked.
@pytest.mark.parametrize("rtol", [1e-8, 1e-12])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["two points", pytest.param("five points", marks=pytest.mark.slow)]
)
def test_against_finite_differences(name, kind, rtol):
    assert max(errors(name, kind, rtol)) < AGREEMENT


def test_control_another_direction():
    """The derivative by the data is not that by lambda."""
    ours = program("two points", "boost")(one_hot("log_lambda"), 1e-8)
    theirs = differences("two points", "data")[0]
    assert np.max(np.abs(ours[0] - theirs[0])) > 0.1


@pytest.mark.slow
def test_control_events_that_do_not_move(monkeypatch):
    """Without the motion of the event times, the saltation, the derivatives are others. (Not on
    orthogonal inputs, where only <w, x_k> feels that sample k has gone, and it is 0 by then.)"""
    locate = _advance.locate

    def fixed(*arguments):
        event = locate(*arguments)
        still = jax.lax.stop_gradient(event.time) + 0.0 * event.time
        return eqx.tree_at(lambda e: e.time, event, still)

    monkeypatch.setattr(_advance, "locate", fixed)
    jax.clear_caches()  # flows that were traced with the one that moves
    program.cache_clear()
    size, direction, times = errors("five points", "weights", 1e-8)
    jax.clear_caches()
    program.cache_clear()
    assert times > 1e3 * AGREEMENT and max(size, direction) > 1e3 * AGREEMENT


def start(log_lambda):
    return rf.balanced(jax.random.key(0), 6, 3, log_lambda), gaussian_data(100, 4, 3)


def size_at_the_end(log_lambda, integrator, **options):
    net, data = start(log_lambda)
    return rf.flow(net, data, 5.0, integrator=integrator, **options).final.squared_norm()


def test_runge_kutta_refuses():
    """It has no derivative, and says which integrator has one."""
    make = functools.partial(size_at_the_end, integrator=rf.RungeKutta(max_sliding=3))
    for differentiate in (jax.grad, jax.jacfwd):
        with pytest.raises(Exception, match=r"Use jax.jvp or jax.jacfwd .*rf.Boost\(\)"):
            differentiate(make)(-3.0)


def test_stop_loss_refuses():
    """Where the loss is reached moves with the problem, and the end with it."""
    make = functools.partial(size_at_the_end, integrator=rf.Boost(max_sliding=3), stop_loss=1e-3)
    with pytest.raises(Exception, match="Differentiate to a fixed t1"):
        jax.jacfwd(make)(-3.0)


# Over 20 s: JAX meets the rule once all of the flow is differentiated. jax.jacrev is refused by the
# same one, after as long a trace.
@pytest.mark.parametrize(
    "differentiate", [jax.grad, pytest.param(jax.jacrev, marks=pytest.mark.slow)]
)
def test_reverse_mode_is_refused(differentiate):
    make = functools.partial(size_at_the_end, integrator=rf.Boost(max_sliding=3))
    with pytest.raises(Exception, match=r"reverse mode .* Use forward mode"):
        eqx.filter_jit(differentiate(make))(-3.0)
