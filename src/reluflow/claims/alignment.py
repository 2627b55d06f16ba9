"""The first phase: neurons turn while they are small (2022, eq. 9 and 10, Lemma 2)."""

import numpy as np

from .. import theory
from .._model._dataset import Dataset
from .._model._network import Network
from ..analysis import clusters
from ..analysis._alignment import angle
from ._claim import Claim
from ._finding import Finding
from ._problems import problem, run_at, standard, times
from ._roles import Roles, at, unaligned
from ._sweep import over_draws, resolved

_ANGLE = 1e-6  # radians; what counts as the same direction
_LARGE = -0.1  # ln(lambda), no small initialisation


def _turning(quick: bool) -> list[Finding]:
    return over_draws(quick, lambda seed, ln: _early(*problem(seed, ln), ln))


def _early(net: Network, data: Dataset, sol, log_lambda: float, sign: float = 1.0):
    """Up to half of the way to the first drop, -ln(lambda) / (2 |D_+|)."""
    half = float(theory.phases(data, log_lambda).first_drop) / 2.0
    ts = np.asarray(sol.ts)
    early = np.flatnonzero(ts <= half)
    hidden = np.asarray(sol.networks.hidden)[early]
    said = Network(net.log_scale, sign * net.output, net.hidden)
    apart = angle(hidden, theory.early_directions(said, data, ts[early]))
    toward = theory.pattern_directions(said, data)
    fits = np.any(toward != 0.0, axis=1)
    off = angle(hidden[-1, fits], toward[fits])
    alive = at(sol.networks, (early[-1], fits))
    directions = np.unique(toward[fits] / np.linalg.norm(toward[fits], axis=1)[:, None], axis=0)
    return [
        Finding(
            "largest angle of a neuron to eq. 10, up to half of the time of the first drop",
            float(np.max(apart)),
            "<=",
            _ANGLE,
        ),
        Finding(
            "largest angle to +-D_j of its pattern, at that time", float(np.max(off)), "<=", _ANGLE
        ),
        Finding(
            "directions that neurons have at that time, against their patterns'",
            len(clusters(alive, 2.0 * _ANGLE)),
            "==",
            len(directions),
        ),
    ]


def _lemma_2(quick: bool) -> list[Finding]:
    return over_draws(quick, lambda seed, ln: _inequalities(*problem(seed, ln), ln), _bounds)


def _bounds(data: Dataset) -> list[float]:
    return resolved(data, 1.0)


def _inequalities(net: Network, data: Dataset, sol, log_lambda: float) -> list[Finding]:
    """At t_1 = -eps ln(lambda) / |D_-|, with the largest eps that the proof admits."""
    predicted, roles = theory.phases(data, log_lambda), Roles.of(net, data)
    eps = float(predicted.epsilon)
    place = int(np.searchsorted(np.asarray(sol.ts), float(predicted.alignment)))
    then = at(sol.networks, place)
    bound = 2.0 * np.exp(eps * log_lambda)
    found = []
    for name, which, toward in (
        ("S_+,1 to D_+", roles.first, roles.toward_first),
        ("S_-,1 to -D_-", roles.second, roles.toward_second),
    ):
        what = f"1 - cos of {name} at t_1, against 2 lambda^eps"
        found.append(Finding(what, unaligned(then, which, toward), "<=", bound))
    c = np.max(np.asarray(net.log_norm())) - log_lambda
    ratio = roles.D_first / roles.D_second
    limit = np.log(2.0) + c + (1.0 - ratio * eps) * log_lambda
    largest = float(np.max(np.asarray(then.log_norm())))
    found.append(
        Finding(
            "ln of the largest |w_j| at t_1, against 2 c lambda^(1 - r eps)",
            largest,
            "<=",
            float(limit),
        )
    )
    return found


def _large(quick: bool) -> list[Finding]:
    """lambda = e^-0.1: the neurons are not small, and the residual is not the labels."""
    return _early(*problem(0, _LARGE), _LARGE)


def _other_sign(quick: bool) -> list[Finding]:
    """Eq. 10 with -s_j: neurons of s_j = 1 would turn to -D_j."""
    return _early(*problem(0, -100.0), -100.0, sign=-1.0)


def _flipped(quick: bool) -> list[Finding]:
    """The neurons of S_{+,1} and S_{-,1}, with the sign of a_j changed before the flow."""
    log_lambda = min(_bounds(standard(0)[1]))
    net, data = standard(0, log_lambda)
    wrong = Network(net.log_scale, -net.output, net.hidden)
    sol = run_at(wrong, data, times(data, log_lambda))
    return _inequalities(net, data, sol, log_lambda)


CLAIMS = (
    Claim(
        "2022-eq-9-10",
        "2022, eq. 9 and 10",
        "while they are small, the neurons move on the sphere under the labels alone, and those of "
        "one activation pattern turn to one direction, +-D_j",
        _turning,
        {"lambda is e^-0.1": _large, "s_j has the other sign": _other_sign},
    ),
    Claim(
        "2022-lemma-2",
        "2022, Lemma 2",
        "at t_1 = -eps ln(lambda) / |D_-|, S_{+,1} and S_{-,1} are aligned, and all norms are at "
        "most 2 c lambda^(1 - r eps)",
        _lemma_2,
        {"a_j has the other sign": _flipped},
    ),
)
