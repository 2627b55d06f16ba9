"""Angles of the neurons to the directions that the theory says they turn to."""

from typing import NamedTuple

import numpy as np

from .._integration._solution import Solution
from .._model._dataset import Dataset
from ..theory import D_minus, D_plus
from ._trajectory import Trajectory


class Alignment(NamedTuple):
    """Angles in radians at the saved times; NaN where one of the two vectors is 0.

    Fields:
        ts: (time,).
        own: between w_j and sign(a_j) D_j, on the neuron's own pattern, (time, neurons).
        plus, minus: between w_j and D_+, -D_-, (time, neurons).
    """

    ts: np.ndarray
    own: np.ndarray
    plus: np.ndarray
    minus: np.ndarray


def alignment(sol: Solution, data: Dataset) -> Alignment:
    """The angle of each neuron to where its log-norm grows the fastest.

        own:   to sign(a_j) D_j,  D_j = 1/n sum_k alpha_jk r_k x_k  (2022, eq. 9 and 10),
        plus:  to D_+ = 1/n sum_{y_k > 0} y_k x_k  (Lemma 2, for neurons of S_{+,1}),
        minus: to -D_-,  D_- = 1/n sum_{y_k < 0} y_k x_k  (for those of S_{-,1}).

    Angles keep their relative accuracy down to the rounding of the weights, 1e-16. Of a neuron
    of any size only the direction enters.

    Raises:
        ValueError: several trajectories at once, or saves that are no networks.
    """
    traj = Trajectory.of(sol, data)
    plus, minus = np.asarray(D_plus(data)), np.asarray(D_minus(data))
    toward = np.sign(traj.output)[..., None] * traj.force
    hidden = traj.hidden
    return Alignment(traj.ts, angle(hidden, toward), angle(hidden, plus), angle(hidden, -minus))


def angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Between vectors along the last axis: 2 atan(|u - v| / |u + v|), of unit vectors u and v.

    An arc cosine would lose every angle below 1e-8.
    """
    u, v = unit(first), unit(second)
    apart = np.linalg.norm(u - v, axis=-1)
    return np.asarray(2.0 * np.arctan2(apart, np.linalg.norm(u + v, axis=-1)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Directions along the last axis; NaN for the vector 0."""
    largest = np.max(np.abs(vectors), axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        vectors = vectors / largest  # first, since squares may underflow
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
