"""Which neurons fit which labels: the paper's S_{+,1} and S_{-,1}, D_+ and D_-."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from .. import theory
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from ..analysis._alignment import angle
from ._problems import SAVES, run_at


class Roles(NamedTuple):
    """With the sign of the larger |D| called 'first', the paper's +, and the other 'second'.

    first, second: masks of the neurons of S_{+,1} and S_{-,1}.
    toward_first, toward_second: D_+ and -D_-, where these turn to.
    """

    sign: float
    first: np.ndarray
    second: np.ndarray
    toward_first: np.ndarray
    toward_second: np.ndarray

    @classmethod
    def of(cls, net: Network, data: Dataset) -> "Roles":
        plus, minus = np.asarray(theory.D_plus(data)), -np.asarray(theory.D_minus(data))
        up, down = (np.asarray(found(net, data)) for found in (theory.S_plus_1, theory.S_minus_1))
        if np.linalg.norm(plus) > np.linalg.norm(minus):
            return cls(1.0, up, down, plus, minus)
        return cls(-1.0, down, up, minus, plus)

    @property
    def D_first(self) -> float:
        return float(np.linalg.norm(self.toward_first))

    @property
    def D_second(self) -> float:
        return float(np.linalg.norm(self.toward_second))


def log_squares(nets: Network, which: np.ndarray) -> np.ndarray:
    """ln u, u = sum of |w_j|^2 over some neurons; leading axes are kept."""
    return np.asarray(logsumexp(2.0 * np.asarray(nets.log_norm())[..., which], axis=-1))


def unaligned(net: Network, which: np.ndarray, toward: np.ndarray) -> float:
    """1 - min_j <w_j, D> / |w_j| |D|, from the angle: it may be below the rounding of a cosine."""
    hidden = np.asarray(net.hidden)[which]
    return float(np.max(2.0 * np.sin(angle(hidden, toward) / 2.0) ** 2))


def at(nets: Network, index) -> Network:
    """One of the networks along the leading axis."""
    return jax.tree.map(lambda leaf: leaf[index], nets)


def reached(net: Network, data: Dataset, sol: Solution, which, level: float):
    """(time, network) when the u of some neurons first comes to `level`, or None.

    To 1/400 of the distance of the saves of `sol`: the flow is run once more, with saves there.
    """
    index = int(np.argmax(log_squares(sol.networks, which) >= np.log(level)))
    if index == 0:
        return None
    ts = np.asarray(sol.ts)
    sol = run_at(net, data, jnp.linspace(ts[index - 1], ts[index], SAVES + 1))
    index = int(np.argmax(log_squares(sol.networks, which) >= np.log(level)))
    return float(sol.ts[index]), at(sol.networks, index)


def without_first(net: Network, data: Dataset) -> Network:
    """Assumption 3 removed: the neurons of S_{+,1} turned away from one sample of its sign.

    It is the sample of the smallest label; neurons outside S_{+,1} may fit it.
    """
    roles = Roles.of(net, data)
    own = roles.sign * np.asarray(data.y) > 0.0
    missed = np.asarray(data.x)[np.argmin(np.where(own, np.abs(data.y), np.inf))]
    hidden = np.asarray(net.hidden)
    mirrored = hidden - 2.0 * np.outer(hidden @ missed, missed)
    return Network(net.log_scale, net.output, np.where(roles.first[:, None], mirrored, hidden))
