"""What the flow conserves (2022, Lemma 1)."""

import numpy as np
import optax

from .. import analysis
from .._descent import descent
from .._model._network import Network
from ._claim import Claim
from ._finding import Finding
from ._problems import duration, run, saved, standard, standard_run

_LOG_LAMBDAS = (-3.0, -100.0, -1000.0)
_ROUNDING = 1e-10  # of a_j^2 - |w_j|^2, relative to the neuron's own squared norm


def _conserved(quick: bool) -> list[Finding]:
    found = []
    for log_lambda in _LOG_LAMBDAS[1:2] if quick else _LOG_LAMBDAS:
        net, data = standard(0, log_lambda)
        found += _drift(net, data, standard_run(0, log_lambda), f"ln(lambda) = {log_lambda:g}")
    return found


def _by_descent(quick: bool) -> list[Finding]:
    """Gradient descent conserves it to the first order of its step only."""
    net, data = standard(0, _LOG_LAMBDAS[0])
    sol = descent(net, data, optax.sgd(0.1), 400, save_every=1)
    return _drift(net, data, sol, "gradient descent at step 0.1")


def _hidden_larger(quick: bool) -> list[Finding]:
    """|a_j| < |w_j|: the balance is kept, the sign is not; Lemma 1 asks for |a_j| >= |w_j|."""
    net, data = standard(0, _LOG_LAMBDAS[1])
    net = Network(net.log_scale, 0.1 * net.output, net.hidden)
    return _drift(net, data, run(net, data, duration(data, _LOG_LAMBDAS[1])), "|a_j| = 0.1 |w_j|")


def _drift(net, data, sol, where: str) -> list[Finding]:
    drift = float(np.nanmax(analysis.balance_drift(sol)))
    signs = np.sign(np.asarray(sol.networks.output)[saved(sol)])
    flips = int(np.sum(np.any(signs != np.sign(np.asarray(net.output)), axis=0)))
    return [
        Finding(f"drift of a_j^2 - |w_j|^2, relative, {where}", drift, "<=", _ROUNDING),
        Finding(f"neurons whose a_j changes sign, {where}", flips, "==", 0.0),
    ]


CLAIMS = (
    Claim(
        "2022-lemma-1",
        "2022, Lemma 1",
        "a_j^2 - |w_j|^2 is conserved, and no a_j changes its sign",
        _conserved,
        {"a finite step of descent": _by_descent, "|a_j| < |w_j|": _hidden_larger},
    ),
)
