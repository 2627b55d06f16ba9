"""Initialisations by name, for one point of a grid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._model._initialisation import balanced, he_uniform, unbalanced
from ..._model._network import Network

Make = Callable[[jax.Array, int, int, Any, Any], Network]  # key, neurons, dim, log_lambda, active


@dataclass(frozen=True)
class Start:
    """scaled: whether it has a lambda. large: neurons of size 1, for which Runge-Kutta is the
    faster integrator."""

    described: str
    make: Make
    scaled: bool = True
    large: bool = False


def _scaled(start: Callable[..., Network]) -> Make:
    def make(key, neurons, dim, log_lambda, active):
        return start(key, neurons, dim, log_lambda, active=active)

    return make


def _he_uniform(key, neurons, dim, log_lambda, active) -> Network:
    return he_uniform(key, neurons, dim, active=active)


def _pytorch(key, neurons, dim, log_lambda, active) -> Network:
    net = he_uniform(key, neurons, dim, active=active)
    return Network(net.log_scale - 0.5 * np.log(6.0), net.output, net.hidden)


def _equal_norms(key, neurons, dim, log_lambda, active) -> Network:
    net = balanced(key, neurons, dim, log_lambda, active=active)
    size = jnp.linalg.norm(net.hidden, axis=1)
    size = jnp.where(size > 0.0, size, 1.0)  # of neurons that are not active
    return Network(net.log_scale, net.output / size, net.hidden / size[:, None])


STARTS: Mapping[str, Start] = {
    "balanced": Start("w_j = lambda N(0, I_d), a_j = +-|w_j| (2022, eq. 4)", _scaled(balanced)),
    "equal-norms": Start("random directions, |a_j| = |w_j| = lambda (2026)", _equal_norms),
    "unbalanced": Start("w_j = lambda N(0, I_d), a_j = lambda N(0, 1)", _scaled(unbalanced)),
    "he-uniform": Start(
        "w in +-(6/d)^(1/2), a in +-(6/m)^(1/2), uniform (2026, Fig. 6)",
        _he_uniform,
        scaled=False,
        large=True,
    ),
    "pytorch-uniform": Start(
        "w in +-d^(-1/2), a in +-m^(-1/2), uniform", _pytorch, scaled=False, large=True
    ),
}
