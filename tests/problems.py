"""Flows known in closed form, and the data sets and networks that several tests share.

Of size e^-300, a neuron moves no residual: it sees D constant, and its flow is a Lorentz boost
(engine.md, section 1). Beside such a neuron one large neuron on a single sample is a logistic,
which moves that residual alone, in closed form too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import reference_flow

import reluflow as rf

TINY = -300.0  # its square is far below rounding: the residuals stay at what the others leave


NAMES = ["runge-kutta", "boost"]  # of the integrators, wherever a test runs with both
BOTH = pytest.mark.parametrize("integrator", [rf.RungeKutta(), rf.Boost()], ids=NAMES)
# The same, where rf.Boost has to be compiled for this test alone.
BOTH_IN_TIME = pytest.mark.parametrize(
    "integrator",
    [rf.RungeKutta(), pytest.param(rf.Boost(), marks=pytest.mark.slow)],
    ids=NAMES,
)


TWO_POINTS, FIVE_POINTS = np.log(1e-6 / np.sqrt(120.0)), np.log(1e-4 / np.sqrt(120.0))  # lambda


def boost(a, w, force, time):
    """(a, w) after `time` of a' = <D, w>, w' = a D with D = `force` constant."""
    rate = np.linalg.norm(force)
    unit = force / rate
    along, cosh, sinh = unit @ w, np.cosh(rate * time), np.sinh(rate * time)
    return a * cosh + along * sinh, w + ((a * sinh + along * cosh) - along) * unit


def boost_root(a, w, force, x):
    """The first time > 0 at which <w, x> = 0 along this boost: a quadratic in e^{|D| t}."""
    rate = np.linalg.norm(force)
    unit = force / rate
    along, onto = unit @ w, unit @ x
    still = w @ x - along * onto
    growing, falling = (along + a) * onto / 2.0, (along - a) * onto / 2.0
    roots = np.roots([growing, still, falling])
    factors = roots[(abs(roots.imag) < 1e-12) & (roots.real > 1.0 + 1e-12)].real
    return np.log(factors.min()) / rate if len(factors) else np.inf


def logistic(start, end, rate, time):
    """u' = rate u (end - u), u(0) = start."""
    return end / (1.0 + (end / start - 1.0) * np.exp(-rate * end * time))


def logistic_time(start, end, rate, value):
    """When it is at `value`."""
    return np.log((end / start - 1.0) / (end / value - 1.0)) / (rate * end)


def network(tiny, large=None):
    """A neuron (a, w) at scale e^TINY beside a large one, which does nothing by default."""
    a, w = tiny
    big_a, big_w = (0.0, np.zeros_like(w)) if large is None else large
    return rf.Network([TINY, 0.0], [a, big_a], [w, big_w])


def on_one_sample(data, sample, start, away):
    """A large neuron active on x_sample alone, whose prediction there is logistic from `start`.

    Its w has the component along x_sample that balances a, and `away` besides, orthogonal to
    x_sample, which keeps the others inactive. u = a <w, x> obeys u' = (2 |x| / n) u (y - u).
    """
    x = np.asarray(data.x)[sample]
    length = np.linalg.norm(x)
    a = np.sign(start) * np.sqrt(abs(start) / length)
    return a, abs(a) * x / length + away


def scaled_weights(net, log_scale):
    """(a, w) over e^log_scale, one for each neuron: plain numbers at any size."""
    factor = np.exp(np.asarray(net.log_scale) - log_scale)
    return factor * np.asarray(net.output), factor[:, None] * np.asarray(net.hidden)


def relative_difference(one, other):
    """Of two networks, neuron by neuron, over the size of each: the largest."""
    a, w = scaled_weights(one, np.asarray(other.log_scale))
    b, v = np.asarray(other.output), np.asarray(other.hidden)
    size = np.sqrt(b**2 + np.sum(v**2, axis=1))
    return float(np.max(np.sqrt((a - b) ** 2 + np.sum((w - v) ** 2, axis=1)) / size))


def balance(net, end):
    """a_j^2 - |w_j|^2 of `net`, over the squared norm that the neuron has at the end."""
    (a, w), (b, v) = (scaled_weights(each, np.asarray(end.log_scale)) for each in (net, end))
    return (a**2 - np.sum(w**2, axis=1)) / (b**2 + np.sum(v**2, axis=1))


def curve(ts, losses):
    """A solution of which the times and losses alone are known."""
    net, data = rf.Network([0.0], [0.0], [[0.0]]), rf.Dataset([[1.0]], [1.0])
    known = jnp.asarray(ts), jnp.asarray(losses)
    happened = rf.Events.empty(1), rf.Ambiguities.empty(1)
    return rf.Solution(*known, None, net, *happened, rf.RESULTS.successful, {}, None, data)


def event_list(sol):
    """[(time, neuron, sample, before, after)] of a solution."""
    events, count = sol.events, int(sol.events.count)
    columns = (events.time, events.neuron, events.sample, events.before, events.after)
    return list(zip(*(np.asarray(column)[:count].tolist() for column in columns), strict=True))


def oracle(net, data, t1, **options):
    arrays = (data.x, data.y, net.output, net.hidden, net.log_scale)
    return reference_flow(*map(np.asarray, arrays), t1, **options)


def oracle_network(weights):
    return rf.Network(weights.log_scale, weights.a, weights.w)


def gaussian_data(seed, samples, dim):
    x_key, y_key = jax.random.split(jax.random.key(seed))
    return rf.Dataset(
        jax.random.normal(x_key, (samples, dim)), jax.random.normal(y_key, (samples,))
    )


def two_points(log_lambda=TWO_POINTS, neurons=60, seed=0):
    """(net, data) of 2022, Fig. 2 and 3."""
    return rf.balanced(jax.random.key(seed), neurons, 2, log_lambda), rf.datasets.two_points()


def five_points(log_lambda=FIVE_POINTS, neurons=60, seed=0):
    """(net, data) of 2022, Fig. 4 and 5."""
    return rf.balanced(jax.random.key(seed), neurons, 2, log_lambda), rf.datasets.five_points()


def small(seed=0, log_lambda=-3.0, unbalanced=False):
    """Six neurons on four Gaussian points in three dimensions: compiles once for many tests."""
    kind = rf.unbalanced if unbalanced else rf.balanced
    return kind(jax.random.key(seed), 6, 3, log_lambda), gaussian_data(seed + 100, 4, 3)


def lane(tree, index):
    """One lane, or one saved time, of a tree of arrays."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], tree)


def given(x, y, a, w, log_scale=0.0):
    """(net, data) of plain numbers, kept exactly as they are."""
    log_scale = np.full(np.shape(a), log_scale)
    return rf.Network(log_scale, np.asarray(a, float), np.asarray(w, float)), rf.Dataset(x, y)


def units(sol, neuron):
    """[(time, boundary, before, after)] of one neuron."""
    return [(time, *rest) for time, j, *rest in event_list(sol) if j == neuron]
