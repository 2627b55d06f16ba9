"""The bias of leaky ReLU networks (2022, section 3.2)."""

import functools

import diffrax
import jax.numpy as jnp
import numpy as np

from .._flow import flow
from .._integration._solution import Solution
from .._model._activation import leaky_relu
from .._model._dataset import Dataset
from ._claim import Claim
from ._finding import Finding
from ._jumping import at
from ._over_lambda import over_lambda
from ._problems import standard, standard_run

_SLOPE = 0.5
_LOG_LAMBDAS = (-10.0, -30.0, -100.0, -1000.0)
_SEED = 1
_RTOL = 1e-9
_ZERO = 1e-12  # of the first loss
_LARGER = 1e-2  # how much above the minimum is above it
_AGREE = 1e-6  # a run to rest, and one to a time well after


def _leaky(quick: bool) -> list[Finding]:
    return [*_against_minimum(_SLOPE, quick), _against_relu()]


def _relu(quick: bool) -> list[Finding]:
    return _against_minimum(0.0, quick)


def _against_minimum(slope: float, quick: bool) -> list[Finding]:
    left, ratio = {}, {}
    _, data = standard(_SEED)
    least = minimal_squared_norm(data, slope)
    for log_lambda in (-100.0,) if quick else _LOG_LAMBDAS:
        end = _end(slope, log_lambda)
        left[log_lambda] = float(end.stats["loss_final"]) / float(end.losses[0])
        ratio[log_lambda] = float(end.final.squared_norm()) / least
    found = [
        over_lambda(f"final loss over the first, slope {slope:g}", left, "<=", _ZERO),
        over_lambda(f"|theta|^2 over its minimum, slope {slope:g}", ratio, ">=", 1.0 + _LARGER),
    ]
    if slope == 0.0:
        return found
    one = over_lambda(
        "the same, if the first neurons to grow fit the samples of both signs",
        ratio,
        "==",
        one_cluster_squared_norm(data, slope) / least,
        1e-3,
    )
    return [*found, one]


def _against_relu() -> Finding:
    """At slope 0 it is the flow of ReLU."""
    log_lambda = -100.0
    relu = float(standard_run(_SEED, log_lambda).final.squared_norm())
    return Finding(
        "|theta|^2 at slope 0 over that of ReLU",
        float(_end(0.0, log_lambda).final.squared_norm()) / relu,
        "==",
        1.0,
        _AGREE,
        log_lambda=log_lambda,
    )


@functools.cache
def _end(slope: float, log_lambda: float) -> Solution:
    """The flow until rest. Other slopes are no other program."""
    net, data = standard(_SEED)
    start = at(net, log_lambda).with_activation(leaky_relu(slope))
    saveat = diffrax.SaveAt(t0=True)
    return flow(start, data, jnp.inf, rtol=_RTOL, saveat=saveat)


def minimal_squared_norm(data: Dataset, slope: float) -> float:
    """min |theta|^2 over h(x_k) = y_k, of leaky networks on orthonormal inputs, any width.

    With A = |y_+|, B = |y_-|, half of it is 2022, eq. 8 by duality: max <nu, y> subject to
    |sum_k nu_k sigma(<w, x_k>)| <= |w| for all w, that is, P = |nu_+|, N = |nu_-|,

        max A P + B N,   P^2 + slope^2 N^2 <= 1,   slope^2 P^2 + N^2 <= 1.

    Where both are attained, (A + B) / (1 + slope^2)^{1/2}: two neurons, along (y_+, slope y_-) in
    lengths of their own. Else, one sign being much larger, one neuron is best.
    """
    plus, minus = _sizes(data)
    large, small = max(plus, minus), min(plus, minus)
    if small <= slope**2 * large:
        return 2.0 * float(np.hypot(large, small / slope))
    return 2.0 * (large + small) / float(np.sqrt(1.0 + slope**2))


def one_cluster_squared_norm(data: Dataset, slope: float) -> float:
    """|theta|^2 of one neuron that fits all: <w, x_k> = y_k / a, but y_k / (slope a) below 0.

    Of the sign of the labels with the larger |D|: its neurons grow the fastest, and with slope > 0
    no residual is out of their reach.
    """
    plus, minus = _sizes(data)
    return 2.0 * float(np.hypot(max(plus, minus), min(plus, minus) / slope))


def _sizes(data: Dataset) -> tuple[float, float]:
    y = np.asarray(data.y)
    return float(np.linalg.norm(np.maximum(y, 0.0))), float(np.linalg.norm(np.minimum(y, 0.0)))


CLAIMS = (
    Claim(
        "2022-leaky",
        "2022, section 3.2",
        "leaky ReLU networks may end with a norm that is not minimal, however small lambda is",
        _leaky,
        {"slope 0, which is ReLU": _relu},
    ),
)
