"""The saddles beside which the flow passes (2022, Fact 1; the review's chain of saddles)."""

import jax
import jax.numpy as jnp
import numpy as np

from .. import analysis, theory
from .._integration._solution import Solution
from .._model import _modes
from .._model._dataset import Dataset
from .._model._network import Network
from ..analysis._trajectory import Trajectory
from ._claim import Claim
from ._finding import Finding
from ._problems import SAVES, draws, problem, run_at, standard
from ._roles import Roles, at, log_squares, without_first
from ._sweep import over_draws, resolved, worst

_ROUNDING = 1e-12  # of a gradient, relative to |D| and the weights
_CURVATURE = 1e-9  # of an eigenvalue, the same
_SHARE = 0.5  # of the largest eps, at which the two times of Fact 1 may be one
_CHAIN = -1000.0  # ln(lambda) at which chains are looked at


def _fact_1(quick: bool) -> list[Finding]:
    return over_draws(quick, _shadowed, _bounds)


def _bounds(data: Dataset) -> list[float]:
    return resolved(data, _SHARE / 5.0)


def _shadowed(seed: int, log_lambda: float) -> list[Finding]:
    """theta_S is one for all lambda: the saddle beside the flow of the smallest."""
    last = min(_bounds(standard(seed)[1]))
    return _beside(*problem(seed, log_lambda)[1:], log_lambda, *_saddle_of(seed, last))


def _saddle_of(seed: int, log_lambda: float):
    """The first saddle after the origin, and the Hessian's eigenvalues there."""
    _, data, sol = problem(seed, log_lambda)
    saddle = next((s for s in analysis.saddles(sol, data) if s.active.any()), None)
    if saddle is None:
        raise RuntimeError(f"The flow of ln(lambda) = {log_lambda} passed no saddle but 0.")
    return saddle, curvature(saddle.network, data, _active(sol, data, saddle.leaving))


def _beside(data: Dataset, sol: Solution, log_lambda: float, saddle, eigenvalues):
    eps = _SHARE * theory.largest_epsilon(data)
    predicted = theory.phases(data, log_lambda, epsilon=eps)
    roles = Roles.of(at(sol.networks, 0), data)
    ts, small = np.asarray(sol.ts), np.exp(float(eps) * log_lambda / 5.0)
    begin, end = float(predicted.first_fitted), float(predicted.saddle_left)
    (span,) = np.nonzero((ts >= begin) & (ts <= end))
    (a, w), (a_s, w_s) = at(sol.networks, span).weights(), saddle.network.weights()
    apart = np.sqrt(np.sum((a - a_s) ** 2, axis=1) + np.sum((w - w_s) ** 2, axis=(1, 2)))
    log_u = log_squares(sol.networks, roles.second)[span]
    grows = (log_u[-1] - log_u[0]) / (2.0 * (ts[span[-1]] - ts[span[0]]))
    square = float(saddle.network.squared_norm())
    return [
        Finding(
            "largest |theta - theta_S| between the two times, against lambda^(eps / 5)",
            float(np.max(apart)),
            "<=",
            float(small),
        ),
        Finding(
            "|theta_S|^2 over 2 n |D_+|, minus 1",
            square / (2.0 * data.samples * roles.D_first) - 1.0,
            "==",
            0.0,
            _CURVATURE,
        ),
        Finding(
            "|grad L| at theta_S, relative to |D_+| |theta_S|",
            saddle.gradient_norm / (roles.D_first * np.sqrt(square)),
            "<=",
            _ROUNDING,
        ),
        Finding(
            "smallest eigenvalue of the Hessian at theta_S over -|D_-|, minus 1",
            float(eigenvalues[0]) / -roles.D_second - 1.0,
            "==",
            0.0,
            _CURVATURE,
        ),
        Finding(
            "rate at which S_-,1 grows between the two times, over |D_-|, minus 1",
            float(grows / roles.D_second) - 1.0,
            "==",
            0.0,
            float(small),
        ),
    ]


def _active(sol: Solution, data: Dataset, time: float) -> np.ndarray:
    """Which units are active at a saved time, (neurons, samples).

    The patterns that count at a saddle are those with which the flow leaves.
    """
    traj = Trajectory.of(sol, data)
    return traj.mode[np.searchsorted(traj.ts, min(time, traj.ts[-1]))] == _modes.ACTIVE


@jax.jit
def _hessian(a, w, x, y, active):
    """Of L on a pattern, on which it is smooth, in (a, w)."""

    def on_pattern(weights):
        a, w = weights[:a_size], weights[a_size:].reshape(w_shape)
        h = a @ jnp.where(active, w @ x.T, 0.0)
        return jnp.mean((h - y) ** 2) / 2.0

    a_size, w_shape = a.size, w.shape
    return jax.hessian(on_pattern)(jnp.concatenate([a, w.ravel()]))


def curvature(net: Network, data: Dataset, active: np.ndarray) -> np.ndarray:
    """The eigenvalues of the Hessian on a pattern, from differentiating L: no formula is used."""
    hessian = _hessian(*net.weights(), data.x, data.y, jnp.asarray(active))
    return np.linalg.eigvalsh(np.asarray(hessian))


def _large(quick: bool) -> list[Finding]:
    """The flow from lambda = e^-3, beside the saddle of small lambda."""
    saddle = _saddle_of(0, min(_bounds(standard(0)[1])))
    return _beside(*problem(0, -3.0)[1:], -3.0, *saddle)


def _chain(quick: bool) -> list[Finding]:
    found = []
    for seed in draws(quick):
        net, data, sol = problem(seed, _CHAIN)
        broken = without_first(net, data)
        other = run_at(broken, data, _resolving(broken, data))
        found.append([*_links(data, sol, 2), *_links(data, other, None)])
    return worst(found)


def _resolving(net: Network, data: Dataset) -> np.ndarray:
    """401 times, most of them about the drops that the limit process predicts."""
    process = theory.limit_process(net, data)
    count = int(process.num_jumps)
    drops = np.asarray(process.times(_CHAIN))[:count]
    # A neuron that jumps grows at the rate |e| / n, |theta_j|^2 = 2 |e|.
    slow = 2.0 * data.samples / np.asarray(process.squared_norms)[:count]
    end = drops[-1] + 60.0 * slow.max()
    windows = [
        np.linspace(t - 10.0 * s, t + 20.0 * s, 80) for t, s in zip(drops, slow, strict=True)
    ]
    ts = np.concatenate([[0.0, end], *windows])
    ts = np.unique(ts[(ts >= 0.0) & (ts <= end)])
    rest = SAVES + 1 - len(ts)
    return np.sort(np.concatenate([ts, end * (np.arange(rest) + np.pi / 6.0) / rest]))


def _links(data: Dataset, sol: Solution, count: int | None) -> list[Finding]:
    """The saddles of one flow: their number where it is predicted, their indices, their losses."""
    passed = analysis.saddles(sol, data)
    where = "" if count else ", Assumption 3 removed"
    if not passed:
        return [Finding(f"saddles in the chain{where}", 0.0, ">=", 2.0)]
    scale = float(np.mean(np.abs(data.y)))
    negative = [
        int(np.sum(curvature(s.network, data, _active(sol, data, s.leaving)) < -_CURVATURE * scale))
        for s in passed
    ]
    index = [s.index for s in passed]
    last = curvature(sol.final, data, _active(sol, data, np.inf))
    number = ("==", float(count)) if count else (">=", 2.0)
    return [
        Finding(f"saddles in the chain{where}", float(len(passed)), *number),
        Finding(
            f"smallest decrease of the index from one to the next, and to the limit{where}",
            float(np.min(-np.diff([*index, 0]))),
            ">=",
            1.0,
        ),
        Finding(
            f"largest difference between the index and the negative eigenvalues{where}",
            float(np.max(np.abs(np.subtract(index, negative)))),
            "==",
            0.0,
        ),
        Finding(
            f"smallest eigenvalue of the Hessian at the limit{where}",
            float(last[0]),
            ">=",
            -_CURVATURE * scale,
        ),
    ]


def _no_chain(quick: bool) -> list[Finding]:
    return _links(*problem(0, -3.0)[1:], 2)


CLAIMS = (
    Claim(
        "2022-fact-1",
        "2022, Fact 1",
        "between -(1 + 3 eps) ln(lambda) / |D_+| and -(1 - eps) ln(lambda) / |D_-|, the flow stays "
        "within lambda^(eps / 5) of one strict saddle, not 0, which it leaves at the rate |D_-|",
        _fact_1,
        {"lambda is e^-3": _large},
    ),
    Claim(
        "review-chain",
        "review, reading between the lines",
        "the saddles that the flow passes form a chain whose Morse index decreases",
        _chain,
        {"lambda is e^-3": _no_chain},
    ),
)
