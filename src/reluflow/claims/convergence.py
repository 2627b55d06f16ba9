"""The last phase, and where the flow ends (2022, Lemma 5 and Theorem 1)."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import analysis, theory
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from ._claim import Claim
from ._finding import Finding
from ._problems import draws, problem, run_at, standard, times
from ._roles import Roles, at, log_squares, unaligned, without_first
from ._sweep import LOG_LAMBDAS, over_draws, worst

_SAMPLES = 64  # of the ball of Lemma 5
_FITTED = 1e-12  # of the first loss: errors of the integration are as large
_MINIMAL = 1e-8  # |theta|^2 relative to the minimum, the same
_RATE = 0.01  # relative, of an exponent from two finite lambdas


def _lemma_5(quick: bool) -> list[Finding]:
    return over_draws(quick, lambda seed, ln: _local(*problem(seed, ln)[1:], ln))


def _local(data: Dataset, sol: Solution, log_lambda: float) -> list[Finding]:
    roles = Roles.of(at(sol.networks, 0), data)
    eps = float(theory.largest_epsilon(data))
    radius = np.exp(eps * log_lambda / 240.0)
    lowest = np.min(_ratios(_ball(sol.final, roles, radius), data))
    return [
        Finding(
            "inf |grad L|^2 / L on the tail of the flow, over |D_-|",
            analysis.local_pl(sol, data) / roles.D_second,
            ">=",
            1.0,
        ),
        Finding(
            "the same at theta_inf, over all residuals",
            float(theory.pl_constant(sol.final, data)) / roles.D_second,
            ">=",
            1.0,
        ),
        Finding(
            "the smallest of those tried within lambda^(eps / 240) of theta_inf",
            float(lowest) / roles.D_second,
            ">=",
            1.0,
        ),
    ]


@jax.jit
def _ratios(nets: Network, data: Dataset):
    """|grad L|^2 / L at each; inf at L = 0, which contradicts nothing."""
    found = jax.vmap(lambda net: theory.pl_ratio(net, data))(nets)
    return jnp.where(jnp.isnan(found), jnp.inf, found)


def _ball(net: Network, roles: Roles, radius: float) -> Network:
    """Balanced networks at most this far: in random directions, and those that might hurt most.

    The latter take S_{+,1}, S_{-,1} or the largest neuron towards 0, where L is flat.
    """
    a, w = net.weights()
    sign, reach = jnp.sign(a), radius / np.sqrt(2.0)  # a_j moves at most as far as w_j
    random = jr.normal(jr.key(0), (_SAMPLES, *w.shape))
    moves = random / jnp.sqrt(jnp.sum(random**2, axis=(1, 2), keepdims=True))
    largest = jnp.arange(a.shape[0]) == jnp.argmax(jnp.abs(a))
    worst_moves = []
    for which in (roles.first, roles.second, largest):
        part = jnp.where(jnp.asarray(which)[:, None], w, 0.0)
        size = jnp.sqrt(jnp.sum(part**2))
        # Not beyond 0, where it would grow again.
        worst_moves += [-part / size * jnp.minimum(share, size / reach) for share in (0.5, 1.0)]
    moved = w + reach * jnp.concatenate([moves, jnp.stack(worst_moves)])
    output = sign * jnp.linalg.norm(moved, axis=2)
    return Network(jnp.zeros(output.shape), output, moved)


def _at_saddle(quick: bool) -> list[Finding]:
    """Beside the saddle theta_S, where L > 0 and grad L is nearly 0."""
    _, data, sol = problem(0, -1000.0)
    saddle = next(s for s in analysis.saddles(sol, data) if s.active.any())
    ratio = analysis.local_pl(sol, data, begin=saddle.time)
    least = float(theory.pl_lemma_5(data))
    return [Finding("inf |grad L|^2 / L from the saddle on, over |D_-|", ratio / least, ">=", 1.0)]


def _theorem_1(quick: bool) -> list[Finding]:
    limits = over_draws(quick, lambda seed, ln: _limit(*problem(seed, ln)), _moderate)
    return limits + worst([_rate(seed) for seed in draws(quick)])


def _moderate(data: Dataset) -> list[float]:
    """Down to e^-10000: there, the norm is minimal up to the errors of the integration."""
    return [ln for ln in LOG_LAMBDAS if ln >= -1e4]


def _limit(net: Network, data: Dataset, sol: Solution, roles: Roles | None = None):
    """The loss, and whether the limit is one of the minimisers that Prop. 1 describes."""
    roles = Roles.of(net, data) if roles is None else roles
    n, final = data.samples, sol.final
    u_first, u_second = (
        float(np.exp(log_squares(final, which))) for which in (roles.first, roles.second)
    )
    return [
        Finding(
            "L at the end over L at the beginning",
            float(sol.losses[-1] / sol.losses[0]),
            "<=",
            _FITTED,
        ),
        Finding(
            "|theta_inf|^2 over the smallest of all interpolators, minus 1",
            float(analysis.norm_ratio(final, data)) - 1.0,
            "==",
            0.0,
            _MINIMAL,
        ),
        Finding(
            "u_+ at the end over n |D_+|, minus 1",
            u_first / (n * roles.D_first) - 1.0,
            "==",
            0.0,
            _MINIMAL,
        ),
        Finding(
            "u_- at the end over n |D_-|, minus 1",
            u_second / (n * roles.D_second) - 1.0,
            "==",
            0.0,
            _MINIMAL,
        ),
        Finding(
            "1 - cos of S_+,1 to D_+ at the end",
            unaligned(final, roles.first, roles.toward_first),
            "<=",
            _MINIMAL,
        ),
        Finding(
            "1 - cos of S_-,1 to -D_- at the end",
            unaligned(final, roles.second, roles.toward_second),
            "<=",
            _MINIMAL,
        ),
    ]


def _rate(seed: int) -> list[Finding]:
    """The exponent of |theta_inf|^2 / min - 1 = O(lambda^q), between two lambdas at which that is
    well above the errors of the integration. The paper's own is eps / 31 (its Lemma 12).

    The limit process tells the sharp one: a neuron that does not jump ends at lambda^(-q_j), and
    what it adds to |theta|^2 is the square of that.
    """
    process = theory.limit_process(*standard(seed))
    left = np.asarray(process.plateau_exponents)[int(process.num_jumps)]
    exponent = -2.0 * float(np.max(left[left < 0.0]))
    log_lambdas = np.log([1e-4, 1e-5]) / exponent
    problems = [problem(seed, float(log_lambda)) for log_lambda in log_lambdas]
    excess = [float(analysis.norm_ratio(sol.final, data)) - 1.0 for _, data, sol in problems]
    measured = float(np.diff(np.log(excess))[0] / np.diff(log_lambdas)[0])
    eps = float(theory.largest_epsilon(problems[-1][1]))
    return [
        Finding(
            "exponent of |theta_inf|^2 / min - 1 in lambda, against eps / 31",
            measured,
            ">=",
            eps / 31.0,
        ),
        Finding(
            "the same over 2 min -q_j of the neurons left behind by the limit process, minus 1",
            measured / exponent - 1.0,
            "==",
            0.0,
            _RATE,
        ),
    ]


def _no_first(quick: bool) -> list[Finding]:
    net, data = standard(0, -1000.0)
    broken = without_first(net, data)
    sol = run_at(broken, data, times(data, -1000.0))
    return _limit(broken, data, sol, Roles.of(net, data))


def _large(quick: bool) -> list[Finding]:
    return _limit(*problem(0, -3.0))


CLAIMS = (
    Claim(
        "2022-lemma-5",
        "2022, Lemma 5",
        "|grad L|^2 / L is at least |D_-| within lambda^(eps / 240) of the limit",
        _lemma_5,
        {"it is asked for from the saddle on": _at_saddle},
    ),
    Claim(
        "2022-theorem-1",
        "2022, Theorem 1",
        "the flow ends at zero loss, and as lambda goes to 0 at an interpolator of the smallest "
        "norm",
        _theorem_1,
        {"Assumption 3 fails, S_{+,1} missing a sample": _no_first, "lambda is e^-3": _large},
    ),
)
