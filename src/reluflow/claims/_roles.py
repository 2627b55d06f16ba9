"""Which neurons fit which labels: the paper's S_{+,1} and S_{-,1}, D_+ and D_-."""

from typing import NamedTuple

import numpy as np

from .. import theory
from .._dataset import Dataset
from .._network import Network


class Roles(NamedTuple):
    """With the sign of the larger |D| called 'first', the paper's +, and the other 'second'.

    first, second: masks of the neurons of S_{+,1} and S_{-,1}; others: the rest.
    toward_first, toward_second: D_+ and -D_-, where these turn to.
    D_first, D_second: their norms, |D_+| > |D_-|.
    """

    sign: float
    first: np.ndarray
    second: np.ndarray
    toward_first: np.ndarray
    toward_second: np.ndarray

    @classmethod
    def of(cls, net: Network, data: Dataset) -> "Roles":
        plus, minus = np.asarray(theory.D_plus(data)), -np.asarray(theory.D_minus(data))
        covers = [np.asarray(found(net, data)) for found in (theory.S_plus_1, theory.S_minus_1)]
        if np.linalg.norm(plus) > np.linalg.norm(minus):
            return cls(1.0, *covers, plus, minus)
        return cls(-1.0, *reversed(covers), minus, plus)

    @property
    def others(self) -> np.ndarray:
        return ~(self.first | self.second)

    @property
    def D_first(self) -> float:
        return float(np.linalg.norm(self.toward_first))

    @property
    def D_second(self) -> float:
        return float(np.linalg.norm(self.toward_second))
