"""The second and third phase, and the timeline (2022, Lemma 3, Lemma 4, Fig. 1)."""

import numpy as np

from .. import analysis, theory
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from ._claim import Claim
from ._finding import Finding
from ._problems import problem, run_at, standard, times
from ._roles import Roles, log_squares, reached, unaligned, without_first
from ._sweep import over_draws, resolved

_ORDER = ("alignment", "growth", "fitting", "plateau", "fitting", "convergence")


def _lemma_3(quick: bool) -> list[Finding]:
    return over_draws(quick, lambda seed, ln: _second_phase(*problem(seed, ln), ln), _bounds_3)


def _bounds_3(data: Dataset) -> list[float]:
    return resolved(data, 0.2)


def _second_phase(net: Network, data: Dataset, sol: Solution, log_lambda: float, roles=None):
    """t_2 is when u_+ reaches n |D_+| - lambda^(eps / 5) (2022, eq. 17)."""
    roles = Roles.of(net, data) if roles is None else roles
    eps = float(theory.largest_epsilon(data))
    small = np.exp(eps * log_lambda / 5.0)
    moment = reached(net, data, sol, roles.first, data.samples * roles.D_first - small)
    when, then = (np.inf, sol.final) if moment is None else moment
    c = float(np.max(np.asarray(net.log_norm()))) - log_lambda
    others = float(np.max(np.asarray(then.log_norm())[~roles.first]))
    return [
        Finding(
            "t_2 over -ln(lambda) / |D_+|, against 1 + 3 eps",
            when * roles.D_first / -log_lambda,
            "<=",
            1.0 + 3.0 * eps,
        ),
        Finding(
            "|D_+| - <w_j, D_+> / |w_j| at t_2, largest over S_+,1, against lambda^(eps / 5)",
            roles.D_first * unaligned(then, roles.first, roles.toward_first),
            "<=",
            small,
        ),
        Finding(
            "ln of the largest other |w_j| at t_2, against 2 c lambda^eps",
            others,
            "<=",
            float(np.log(2.0) + c + eps * log_lambda),
        ),
        *_logistic(data, sol, roles, log_lambda),
    ]


def _logistic(data: Dataset, sol: Solution, roles: Roles, log_lambda: float) -> list[Finding]:
    """u_+ against u' = 2 |D_+| (1 - u / n |D_+|) u, from t_1 on, while the others are small.

    The paper says what the law is up to: a factor 1 + O(lambda^(eps / 4)) (proof of Lemma 10).
    """
    predicted = theory.phases(data, log_lambda)
    ts, error = np.asarray(sol.ts), np.exp(float(predicted.epsilon) * log_lambda / 4.0)
    begin, end = float(predicted.alignment), float(predicted.saddle_left)
    span = (ts >= begin) & (ts <= end)
    ts, log_u = ts[span], log_squares(sol.networks, roles.first)[span]
    law = theory.log_logistic_law(ts - ts[0], log_u[0], data, sign=int(roles.sign))
    fit = analysis.logistic_fit(sol, roles.first, begin, end)
    return [
        Finding(
            "largest |ln u_+ - ln u| from t_1 on, u the logistic law from there",
            float(np.max(np.abs(log_u - np.asarray(law)))),
            "<=",
            error,
        ),
        Finding(
            "rate of the logistic equation fitted to u_+, over 2 |D_+|, minus 1",
            fit.rate / (2.0 * roles.D_first) - 1.0,
            "==",
            0.0,
            error,
        ),
        Finding(
            "what it tends to, over n |D_+|, minus 1",
            fit.capacity / (data.samples * roles.D_first) - 1.0,
            "==",
            0.0,
            error,
        ),
    ]


def _no_first(quick: bool) -> list[Finding]:
    log_lambda = min(_bounds_3(standard(0)[1]))
    net, data = standard(0, log_lambda)
    broken = without_first(net, data)
    sol = run_at(broken, data, times(data, log_lambda))
    return _second_phase(broken, data, sol, log_lambda, Roles.of(net, data))


def _lemma_4(quick: bool) -> list[Finding]:
    return over_draws(quick, lambda seed, ln: _third_phase(*problem(seed, ln), ln), _bounds_4)


def _bounds_4(data: Dataset) -> list[float]:
    return resolved(data, 1.0 / 5.0, 1.0 / 29.0)


def _third_phase(net: Network, data: Dataset, sol: Solution, log_lambda: float, roles=None):
    """t_3 is when u_- reaches n |D_-| - lambda^(eps / 29) (2022, eq. 23)."""
    roles = Roles.of(net, data) if roles is None else roles
    eps, n = float(theory.largest_epsilon(data)), data.samples

    def small(power: float) -> float:
        return float(np.exp(eps * log_lambda * power))

    first = reached(net, data, sol, roles.first, n * roles.D_first - small(1 / 5))
    second = reached(net, data, sol, roles.second, n * roles.D_second - small(1 / 29))
    when, then = (np.inf, sol.final) if second is None else second
    moved = np.inf if first is None else _largest_move(first[1], then, roles.first)
    c = float(np.max(np.asarray(net.log_norm()))) - log_lambda
    others = float(np.max(np.asarray(then.log_norm())[~(roles.first | roles.second)]))
    return [
        Finding(
            "t_3 over -ln(lambda) / |D_-|, against 1 + 3 r eps",
            when * roles.D_second / -log_lambda,
            "<=",
            1.0 + 3.0 * eps * roles.D_first / roles.D_second,
        ),
        Finding(
            "|D_-| - <w_j, -D_-> / |w_j| at t_3, largest over S_-,1, against lambda^(eps / 14)",
            roles.D_second * unaligned(then, roles.second, roles.toward_second),
            "<=",
            small(1 / 14),
        ),
        Finding(
            "largest |w_j(t_2) - w_j(t_3)| over S_+,1, against lambda^(eps / 15)",
            moved,
            "<=",
            small(1 / 15),
        ),
        Finding(
            "ln of the largest other |w_j| at t_3, against 3 c lambda^eps",
            others,
            "<=",
            float(np.log(3.0) + c + eps * log_lambda),
        ),
    ]


def _largest_move(before: Network, after: Network, which: np.ndarray) -> float:
    (_, w0), (_, w1) = before.weights(), after.weights()
    return float(np.max(np.linalg.norm(np.asarray(w1 - w0)[which], axis=1)))


def _no_first_4(quick: bool) -> list[Finding]:
    log_lambda = min(_bounds_4(standard(0)[1]))
    net, data = standard(0, log_lambda)
    broken = without_first(net, data)
    sol = run_at(broken, data, times(data, log_lambda))
    return _third_phase(broken, data, sol, log_lambda, Roles.of(net, data))


def _timeline(quick: bool) -> list[Finding]:
    return over_draws(quick, lambda seed, ln: _measured_times(*problem(seed, ln)[1:], ln))


def _measured_times(data: Dataset, sol: Solution, log_lambda: float) -> list[Finding]:
    """The times of `analysis.phases` against those of Fig. 1, with the largest eps."""
    predicted, found = theory.phases(data, log_lambda), analysis.phases(sol, data)
    as_in_figure = tuple(phase.name for phase in found) == _ORDER
    missing = [analysis.Phase("none", np.nan, np.nan, (np.nan, np.nan))] * len(_ORDER)
    alignment, _, _, plateau, _, convergence = found if as_in_figure else missing
    eps, size = float(predicted.epsilon), -log_lambda
    first, second = size / float(predicted.first_drop), size / float(predicted.second_drop)
    return [
        Finding(
            "whether the phases are alignment, growth, fitting, plateau, fitting, convergence",
            float(as_in_figure),
            "==",
            1.0,
        ),
        Finding(
            "end of the alignment over t_1", alignment.end / float(predicted.alignment), "<=", 1.0
        ),
        Finding(
            "when the saddle is reached, over -ln(lambda) / |D_+|, against 1 + 3 eps",
            plateau.begin * first / size,
            "<=",
            1.0 + 3.0 * eps,
        ),
        Finding(
            "when it is left, over -ln(lambda) / |D_-|, against 1 - eps",
            plateau.end * second / size,
            ">=",
            1.0 - eps,
        ),
        Finding(
            "when the convergence begins, over -ln(lambda) / |D_-|, against 1 + 3 r eps",
            convergence.begin * second / size,
            "<=",
            1.0 + 3.0 * eps * first / second,
        ),
    ]


def _large(quick: bool) -> list[Finding]:
    return _measured_times(*problem(0, -3.0)[1:], -3.0)


CLAIMS = (
    Claim(
        "2022-lemma-3",
        "2022, Lemma 3",
        "by t_2 <= -(1 + 3 eps) ln(lambda) / |D_+|, u_+ has grown to n |D_+|, logistically, "
        "S_{+,1} being aligned and the others small",
        _lemma_3,
        {"Assumption 3 fails, S_{+,1} missing a sample": _no_first},
    ),
    Claim(
        "2022-lemma-4",
        "2022, Lemma 4",
        "by t_3 <= -(1 + 3 r eps) ln(lambda) / |D_-|, u_- has grown to n |D_-|, S_{-,1} being "
        "aligned, S_{+,1} where it was and the others small",
        _lemma_4,
        {"Assumption 3 fails, S_{+,1} missing a sample": _no_first_4},
    ),
    Claim(
        "2022-fig-1",
        "2022, Fig. 1",
        "alignment, a saddle between two times, and convergence, each by its predicted time",
        _timeline,
        {"lambda is e^-3": _large},
    ),
)
