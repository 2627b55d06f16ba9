"""What the review of the 2022 paper asks for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .. import theory
from .._boost import field
from .._model._dataset import Dataset
from .._model._network import Network
from ._claim import Claim
from ._finding import Finding
from ._problems import draws, duration, problem, run_to, standard
from ._roles import at, without_first
from ._sweep import smallest, worst

_FALSIFY = (-100.0, -1e3, -1e4, -1e5)  # ln(lambda)
_FITTED = 1e-12  # of the first loss
_LARGER = 1e-6  # of the minimal variation norm
_ROUNDING = 1e-14


def _falsification(quick: bool) -> list[Finding]:
    seeds = range(12 if quick else 120)
    return smallest(lambda ln: _worst_end(seeds, ln), _FALSIFY[1::2] if quick else _FALSIFY)


def _worst_end(seeds, log_lambda: float, change: Callable = lambda net, data: net):
    """The worst of all draws, of which `change` makes the networks that are run."""
    losses, norms, without = [], [], 0
    for seed in seeds:
        net, data = standard(seed, log_lambda)
        net = change(net, data)
        without += not theory.assumptions(net, data).theorem_1
        sol = run_to(net, data, duration(data, log_lambda))
        losses.append(float(sol.losses[-1] / sol.losses[0]))
        norms.append(_variation(sol.final) / float(theory.minimal_variation_norm(data)))
    return [
        Finding(
            f"of {len(losses)} draws of data and weights, those that violate an assumption",
            float(without),
            "==",
            0.0,
        ),
        Finding("largest L at the end over L at the beginning", max(losses), "<=", _FITTED),
        Finding(
            "largest variation norm over the smallest of all interpolators, minus 1",
            max(norms) - 1.0,
            "<=",
            _LARGER,
        ),
    ]


def _variation(net: Network) -> float:
    a, w = map(np.asarray, net.weights())
    return float(np.sum(np.abs(a) * np.linalg.norm(w, axis=1)))


def _without_first(quick: bool) -> list[Finding]:
    return _worst_end(range(3), -1e3, without_first)


def _large(quick: bool) -> list[Finding]:
    return _worst_end(range(3), -3.0)


def _cross_terms(quick: bool) -> list[Finding]:
    found = []
    for seed in draws(quick):
        net, data, sol = problem(seed, -100.0)
        axes = Dataset(np.eye(data.dim), data.y)
        states = [net, *(at(sol.networks, i) for i in (100, 200, 300))]
        gram = np.array(data.gram())
        np.fill_diagonal(gram, 0.0)
        found.append(
            [
                Finding(
                    "largest derivative of <w_j, x_k>' by another residual, inputs along the axes",
                    max(_cross(state, axes) for state in states),
                    "==",
                    0.0,
                ),
                Finding(
                    "the same relative to that by its own, inputs rotated",
                    max(_cross(state, data) for state in states),
                    "<=",
                    _ROUNDING,
                ),
                Finding(
                    "largest <x_k, x_l> with which the flow computes, inputs rotated",
                    float(np.max(np.abs(gram))),
                    "==",
                    0.0,
                ),
            ]
        )
    return worst(found)


@jax.jit
def _jacobian(net: Network, data: Dataset):
    """d <w_j, x_k>' / d r_l, which at given weights is the derivative by y_l; (j, k, l)."""

    def velocity(y):
        return field(0.0, net, Dataset(data.x, y)).hidden @ data.x.T

    return jax.jacfwd(velocity)(data.y)


def _cross(net: Network, data: Dataset) -> float:
    """The largest entry with k != l, over the largest with k = l."""
    jacobian = np.abs(np.asarray(_jacobian(net, data)))
    own = np.eye(data.samples, dtype=bool)
    return float(np.max(jacobian[:, ~own]) / np.max(jacobian[:, own]))


def _correlated(quick: bool) -> list[Finding]:
    net, data = standard(0)
    data = Dataset(data.x + 0.01 * jnp.roll(data.x, 1, axis=0), data.y)
    return [
        Finding(
            "derivative of <w_j, x_k>' by another residual, correlations of 0.01",
            _cross(net, data),
            "<=",
            _ROUNDING,
        )
    ]


CLAIMS = (
    Claim(
        "review-falsification",
        "review, what would settle it",
        "no flow on orthogonal inputs ends at a positive loss or at a larger variation norm than "
        "the smallest",
        _falsification,
        {
            "Assumption 3 fails, S_{+,1} missing a sample": _without_first,
            "lambda is e^-3": _large,
        },
    ),
    Claim(
        "review-cross-terms",
        "review, major comment 1",
        "with orthogonal inputs the velocity of <w_j, x_k> depends on the residual of its own "
        "sample alone",
        _cross_terms,
        {"the inputs are correlated": _correlated},
    ),
)
