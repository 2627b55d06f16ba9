"""The smallest interpolators (2022, Prop. 1 and eq. 8)."""

import jax.random as jr
import numpy as np

from .. import theory
from .._model._dataset import Dataset
from .._model._network import Network
from ..datasets import orthonormal
from ._claim import Claim
from ._finding import Finding
from ._sweep import worst

_CONVEX = 1e-6  # relative, of a conic solver
_ROUNDING = 1e-12


def _proposition_1(quick: bool) -> list[Finding]:
    cases = [_small(seed, dim) for dim in (2, 3) for seed in range(1 if quick else 6)]
    return worst([_against_convex(data) for data in cases])


def _small(seed: int, dim: int) -> Dataset:
    """As many orthonormal inputs as dimensions, with labels of both signs."""
    for key in jr.split(jr.fold_in(jr.key(seed), dim), 100):
        data = orthonormal(key, dim)
        if len(set(np.sign(data.y).tolist())) == 2:
            return data
    raise RuntimeError("None of 100 draws has labels of both signs.")


def _against_convex(data: Dataset) -> list[Finding]:
    """2 n (|D_+| + |D_-|) against a solver that knows nothing of orthogonality."""
    plus, minus = (np.linalg.norm(D(data)) for D in (theory.D_plus, theory.D_minus))
    closed = 2.0 * data.samples * float(plus + minus)
    solved = theory.minimal_norm_interpolator(data)
    two = theory.minimal_norm_network(data) if data.is_orthogonal() else solved.network
    return [
        Finding(
            "smallest |theta|^2 by convex optimisation over 2 n (|D_+| + |D_-|), minus 1",
            solved.squared_norm / closed - 1.0,
            "==",
            0.0,
            _CONVEX,
        ),
        Finding(
            "the certified lower bound of |theta|^2 over it, minus 1",
            solved.lower_bound / closed - 1.0,
            "==",
            0.0,
            _CONVEX,
        ),
        Finding(
            "smallest variation norm, sum_j |a_j| |w_j|, over n (|D_+| + |D_-|), minus 1",
            _variation(solved.network) / (closed / 2.0) - 1.0,
            "==",
            0.0,
            _CONVEX,
        ),
        Finding(
            "|theta|^2 of the two neurons along D_+ and -D_- over 2 n (|D_+| + |D_-|), minus 1",
            float(two.squared_norm()) / closed - 1.0,
            "==",
            0.0,
            _ROUNDING,
        ),
        Finding(
            "largest |h(x_k) - y_k| of these two",
            float(np.max(np.abs(two(data.x) - data.y))),
            "<=",
            _ROUNDING,
        ),
    ]


def _variation(net: Network) -> float:
    a, w = map(np.asarray, net.weights())
    return float(np.sum(np.abs(a) * np.linalg.norm(w, axis=1)))


def _correlated(quick: bool) -> list[Finding]:
    """Unit inputs with <x_1, x_2> = 0.3: the formula without its assumption."""
    data = _small(0, 2)
    second = 0.3 * data.x[0] + np.sqrt(1.0 - 0.3**2) * data.x[1]
    return _against_convex(Dataset(np.stack([data.x[0], second]), data.y))


CLAIMS = (
    Claim(
        "2022-prop-1",
        "2022, Prop. 1 and eq. 8",
        "the smallest |theta|^2 of an interpolator is 2 n (|D_+| + |D_-|), twice the variation "
        "norm, attained along D_+ and -D_-",
        _proposition_1,
        {"the inputs are correlated": _correlated},
        needs=("cvxpy",),
    ),
)
