"""Random problems of many kinds for the search, each determined by its kind and a seed.

    net, data, t1 = problem("balanced", 3)  # the kinds are those of KINDS, the seeds of SEEDS

`arrays` gives the same problem as NumPy arrays, `perturbed` the problem with all of its numbers
moved a little. Nothing here knows how a flow is integrated.
"""

import zlib
from typing import NamedTuple

import numpy as np

MAIN = (4, 4, 6)  # samples, dim, neurons
FLAT = (5, 2, 4)  # two dimensions, in which a neuron may arrive at w = 0
SHAPES = {  # the other kinds have MAIN or FLAT
    "one sample": (1, 4, 6),
    "one neuron": (4, 4, 1),
    "one dimension": (5, 1, 4),
}


class Model(NamedTuple):
    """The slopes of the activation, the loss by its name, and the weights of the samples."""

    slopes: np.ndarray  # minus, plus
    loss: str
    weights: np.ndarray


class Arrays(NamedTuple):
    """A problem; `split` is where a run in two parts is interrupted, over t1; `model` is None for
    ReLU and the square loss."""

    x: np.ndarray
    y: np.ndarray
    output: np.ndarray
    hidden: np.ndarray
    log_scale: np.ndarray
    t1: float
    split: float
    model: Model | None = None

    def phi(self, p):
        """The activation of preactivations."""
        minus, plus = (0.0, 1.0) if self.model is None else self.model.slopes
        return np.where(p > 0.0, plus, minus) * p


class Draw:
    """What the kinds draw from: a generator, the sizes, and a Gaussian start of size lambda.

    With MAIN every second problem has inputs in three of the four dimensions, so that there are
    more samples than dimensions; half of these have weights in the fourth, which never move.
    """

    def __init__(self, kind, seed):
        self.rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
        self.seed = seed
        self.n, self.d, self.m = SHAPES.get(kind, FLAT if seed % 3 == 2 else MAIN)
        self.flat = (self.n, self.d, self.m) == FLAT
        self.x = self.rng.normal(size=(self.n, self.d))
        self.y = self.rng.normal(size=self.n)
        self.hidden = self.rng.normal(size=(self.m, self.d))
        if not self.flat and self.d > 1 and seed % 2:
            self.x[:, -1] = 0.0
            if seed % 4 == 3:
                self.hidden[:, -1] = 0.0
        self.signs = self.rng.choice([-1.0, 1.0], self.m)
        self.log_lambda = -0.5 * 40.0 ** self.rng.uniform()  # from -0.5 to -20
        self.factor = np.ones(self.m)  # |a_j| / |w_j|
        self.log_sizes = np.zeros(self.m)  # of the neurons, over lambda
        self.time = 10.0 ** self.rng.uniform(-0.3, 0.5)
        self.most = 1e4  # of t1 times the largest eigenvalue of the kernel
        self.model = None

    def orthogonal(self):
        self.x = np.linalg.qr(self.rng.normal(size=(self.d, self.d)))[0][: self.n]
        self.x *= self.rng.uniform(0.5, 2.0, (self.n, 1))


def _balanced(draw):
    pass


def _large_output(draw):
    draw.factor = draw.rng.uniform(1.0, 4.0, draw.m)


def _small_output(draw):
    draw.factor = draw.rng.uniform(0.0, 1.0, draw.m)


def _through_zero(draw):
    """Most labels pull every neuron down; in two dimensions it slides to w = 0."""
    draw.factor = draw.rng.uniform(1.5, 6.0, draw.m)
    draw.y = -np.abs(draw.y)
    draw.y[0] *= draw.rng.choice([-1.0, 1.0])
    draw.signs[:] = 1.0
    draw.signs[-1] = -1.0
    draw.log_lambda = draw.rng.uniform(-5.0, -0.5)
    if not draw.flat:  # two dimensions, or three
        draw.x[:, 2 if draw.seed % 2 else 3 :] = 0.0
        draw.hidden[:, 2 if draw.seed % 2 else 3 :] = 0.0


def _zero_labels(draw):
    draw.y *= 0.0 if draw.seed % 2 else draw.rng.integers(0, 2, draw.n)
    draw.log_lambda = draw.rng.uniform(-1.0, 0.5)


def _tiny_labels(draw):
    """Beside weights of their size, or of size one, where float64 must still resolve them."""
    large = draw.seed % 4 > 1
    size = 10.0 ** (draw.rng.uniform(-5.0, -2.0) if large else draw.rng.uniform(-12.0, -3.0))
    draw.y *= size
    draw.log_lambda = draw.rng.uniform(-4.0, 1.0) + np.log(size) / 2.0
    if large:
        draw.log_lambda = draw.rng.uniform(-1.0, 0.5)


def _tied_labels(draw):
    tied = draw.rng.choice([-1.0, 1.0], draw.n) * draw.y[0]
    draw.y = tied * (1.0 + 1e-9 * draw.rng.normal(size=draw.n))
    if not draw.flat and draw.seed % 4 == 0:
        draw.orthogonal()
        draw.x /= np.linalg.norm(draw.x, axis=1)[:, None]


def _nearly_parallel(draw):
    angle = 10.0 ** draw.rng.uniform(-9.0, -3.0)
    one, other = draw.rng.choice(draw.n, 2, replace=False)
    away = draw.rng.normal(size=draw.d) * np.any(draw.x != 0.0, axis=0)
    away -= away @ draw.x[one] * draw.x[one] / (draw.x[one] @ draw.x[one])
    away *= angle * np.linalg.norm(draw.x[one]) / np.linalg.norm(away)
    factor = draw.rng.choice([-1.0, 1.0]) * draw.rng.uniform(0.5, 2.0)
    draw.x[other] = factor * (draw.x[one] + away)


def _repeated(draw):
    """Inputs on one side of a boundary, with labels of their own; and one that is zero."""
    draw.x[1] = draw.x[0] * (1.0 if draw.seed % 2 else draw.rng.uniform(0.3, 3.0))
    draw.factor = draw.rng.uniform(0.5, 2.0, draw.m) if draw.seed % 4 > 1 else draw.factor
    if draw.seed % 3 == 0:
        draw.x[2] = 0.0


def _opposite(draw):
    """Inputs on both sides of a boundary, or of two; and two on one of the sides."""
    draw.x[1] = -draw.x[0] * (1.0 if draw.seed % 2 else draw.rng.uniform(0.3, 3.0))
    draw.factor = draw.rng.uniform(0.5, 2.0, draw.m) if draw.seed % 4 > 1 else draw.factor
    if draw.seed % 5 < 2:
        draw.x[3] = -draw.x[2]
        draw.y[3] = draw.y[2] if draw.seed % 2 else draw.y[3]
    elif draw.seed % 5 == 2:
        draw.x[2] = draw.rng.uniform(0.3, 3.0) * draw.x[0]


def _one_dimension(draw):
    draw.factor = draw.rng.uniform(0.3, 3.0, draw.m) if draw.seed % 2 else draw.factor


def _neuron_norms(draw):
    draw.log_sizes = np.log(10.0) * draw.rng.uniform(-5.0, 1.0, draw.m)
    draw.log_lambda = 0.0


def _input_norms(draw):
    draw.x *= 10.0 ** draw.rng.uniform(-1.5, 1.5, (draw.n, 1))
    draw.time *= 10.0


def _orthogonal(draw):
    if not draw.flat:
        draw.orthogonal()
    else:  # two orthogonal pairs in two dimensions would be parallel: one pair
        draw.x[1] = draw.rng.choice([-1.0, 1.0]) * np.array([-draw.x[0, 1], draw.x[0, 0]])


def _integers(draw):
    """Some pairs of inputs are orthogonal, others not, and some parallel or zero: a unit that came
    to rest may be pulled away later, to either side."""
    draw.x = draw.rng.integers(-1, 3, draw.x.shape) * 1.0
    draw.y = draw.rng.integers(-2, 3, draw.n) * 1.0
    draw.log_lambda = draw.rng.uniform(-3.0, 0.0)


def _almost_orthogonal(draw):
    _orthogonal(draw)
    draw.x += 1e-12 * draw.rng.normal(size=draw.x.shape)


def _he(draw):
    """Uniform of variance 2 / (inputs of the layer), as rf.he_uniform."""
    draw.hidden = draw.rng.uniform(-1.0, 1.0, draw.hidden.shape) * np.sqrt(6.0 / draw.d)
    output = draw.rng.uniform(-1.0, 1.0, draw.m) * np.sqrt(6.0 / draw.m)
    draw.signs, draw.log_lambda = np.sign(output), 0.0
    draw.factor = np.abs(output) / np.linalg.norm(draw.hidden, axis=1)


def _in_two_parts(draw):
    base = [_balanced, _large_output, _small_output, _neuron_norms, _he, _tied_labels]
    base[draw.seed % len(base)](draw)


def _two_slopes(draw):
    """Leaky, absolute, linear and falling activations, with weights of the samples."""
    rng = draw.rng
    minus = [rng.uniform(0.05, 0.95), -1.0, 1.0, -rng.uniform(0.1, 0.9), 0.0][draw.seed % 5]
    plus = rng.uniform(0.2, 2.0) if draw.seed % 4 == 3 else 1.0
    weights = rng.uniform(0.2, 2.0, draw.n) if draw.seed % 2 else np.ones(draw.n)
    draw.factor = rng.uniform(0.3, 3.0, draw.m) if draw.seed % 3 == 0 else draw.factor
    draw.model = Model(np.array([minus, plus]), "square", weights)


def _logistic(draw):
    """Labels 1 and -1; every second problem with ReLU; also opposite inputs, and long runs."""
    _two_slopes(draw)
    if draw.seed % 2:
        draw.model = draw.model._replace(slopes=np.array([0.0, 1.0]))
    if draw.seed % 6 == 4:
        draw.x[1] = -draw.x[0]
    draw.y = draw.rng.choice([-1.0, 1.0], draw.n)
    draw.time *= 10.0 ** draw.rng.uniform(0.0, 2.0)
    draw.model = draw.model._replace(loss="logistic")


def _exponential(draw):
    _logistic(draw)
    draw.model = draw.model._replace(loss="exponential")


def _long(draw):
    draw.log_lambda = draw.rng.uniform(-8.0, 0.0)
    draw.factor = draw.rng.uniform(0.5, 2.0, draw.m) if draw.seed % 2 else draw.factor
    draw.time, draw.most = np.inf, 10.0 ** draw.rng.uniform(2.5, 4.0)


def _longer(draw):
    _long(draw)
    draw.most = 10.0 ** draw.rng.uniform(4.3, 5.0)


KINDS = {
    "balanced": _balanced,
    "|a| > |w|": _large_output,
    "|a| < |w|": _small_output,
    "through w = 0": _through_zero,
    "zero labels": _zero_labels,
    "tiny labels": _tiny_labels,
    "labels tied to 1e-9": _tied_labels,
    "inputs nearly parallel": _nearly_parallel,
    "repeated inputs": _repeated,
    "opposite inputs": _opposite,
    "one dimension": _one_dimension,
    "neuron norms over six decades": _neuron_norms,
    "input norms over three decades": _input_norms,
    "orthogonal": _orthogonal,
    "almost orthogonal": _almost_orthogonal,
    "integers": _integers,
    "one sample": _balanced,
    "one neuron": _balanced,
    "He": _he,
    "in two parts": _in_two_parts,
    "two slopes": _two_slopes,
    "logistic": _logistic,
    "exponential": _exponential,
    "long": _long,
    "longer": _longer,
}
SEEDS = {kind: range(12 if kind == "longer" else 60) for kind in KINDS}
ANGLES_KEPT = ("orthogonal", "almost orthogonal", "integers", "labels tied to 1e-9")


def arrays(kind, seed) -> Arrays:
    """The problem of this kind and seed."""
    draw = Draw(kind, seed)
    KINDS[kind](draw)
    output = draw.signs * draw.factor * np.linalg.norm(draw.hidden, axis=1)
    log_scale = draw.log_lambda + draw.log_sizes
    pull = np.linalg.norm(draw.x * draw.y[:, None]) / draw.n
    size = np.exp(log_scale)
    largest = max(_kernel(draw.x, size * output, size[:, None] * draw.hidden), 2.0 * pull)
    rate = pull if pull > 0.1 * largest else 0.1 * largest if pull == 0.0 else pull
    grown = draw.time * (3.0 + 2.0 * np.max(np.maximum(-log_scale, 0.0))) / rate
    t1 = float(np.float32(min(grown, draw.most / largest)))
    split = float(draw.rng.uniform(0.05, 0.95))
    return Arrays(draw.x, draw.y, output, draw.hidden, log_scale, t1, split, draw.model)


def _kernel(x, a, w):
    """The largest eigenvalue of K at the start."""
    p = w @ x.T
    on = (p > 0.0).astype(float)
    gram = np.einsum("j,jk,jl->kl", a**2, on, on) * (x @ x.T) + (on * p).T @ (on * p)
    return np.linalg.eigvalsh(gram)[-1] / len(x)


def perturbed(kind, case: Arrays, size, seed, apart=False) -> Arrays:
    """The problem with its numbers moved by about `size` of themselves: weights, labels, inputs.

    What a problem is made of stays: a balanced neuron is balanced. The inputs are turned and
    sheared together, so that nearly parallel ones stay as nearly parallel as they are; where all
    hangs on their angles they are only turned and scaled. With `apart` their entries move one by
    one instead, which is what rounding does to them.
    """
    rng = np.random.default_rng([seed, 7])
    n, d = case.x.shape
    x, y, output, hidden = case.x, case.y, case.output, case.hidden
    shear = rng.normal(size=(d, d))
    turn = shear - shear.T if kind in ANGLES_KEPT else shear
    if apart:
        x = x * (1.0 + size * rng.normal(size=x.shape))
    else:
        x = (1.0 + size * rng.normal(size=(n, 1))) * (x + size * x @ turn)
    scale = np.max(np.abs(y)) or np.max(np.abs(_predictions(case)))
    if case.model is None or case.model.loss == "square":  # else labels are signs
        y = y + size * scale * rng.normal(size=n)
    moved = hidden * (1.0 + size * rng.normal(size=hidden.shape))
    lengths, new = np.linalg.norm(hidden, axis=1), np.linalg.norm(moved, axis=1)
    ratio = np.abs(output) / lengths
    balanced = np.abs(ratio - 1.0) < 1e-13
    ratio = ratio * np.where(balanced, 1.0, 1.0 + size * rng.normal(size=ratio.shape))
    output = np.sign(output) * np.where(balanced, new, ratio * new)
    return case._replace(x=x, y=y, output=output, hidden=moved)


def _predictions(case):
    size = np.exp(2.0 * case.log_scale)
    return size * case.output @ case.phi(case.hidden @ case.x.T)


def problem(kind, seed):
    """(net, data, t1) of reluflow."""
    import reluflow as rf

    case = arrays(kind, seed)
    assert case.model is None
    net = rf.Network(case.log_scale, case.output, case.hidden)
    return net, rf.Dataset(case.x, case.y), case.t1
