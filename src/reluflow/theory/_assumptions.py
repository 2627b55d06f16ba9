"""Which assumptions of the papers a problem satisfies, and what is in the way of the others."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from ._alignment import D_minus, D_plus, S_minus_1, S_plus_1
from ._jumps import limit_process
from ._orthogonal import UNIT_LENGTH, masks

_BALANCED = 1e-12  # relative: rounding of a norm
_EQUAL = 1e-13  # relative: rounding of |D|


class _Check(NamedTuple):
    """What it demands, whether that holds; why not, and the samples and neurons in the way."""

    demand: str
    holds: bool
    why: str = ""
    samples: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()


class Assumption(NamedTuple):
    """One check.

    Fields: the paper's year and its number in it; what it demands; whether it holds; why not,
    and the samples and neurons that are in the way.
    """

    paper: int
    number: str
    demand: str
    holds: bool
    why: str = ""
    samples: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()

    def __str__(self) -> str:
        mark = "holds" if self.holds else "FAILS"
        text = f"{self.paper} {self.number:<4} {mark}  {self.demand}"
        return text if self.holds else f"{text}\n                 {self.why}"


@dataclass(frozen=True)
class Assumptions:
    """All checks; printed, one a line.

    `theorem_1` says whether those of the 2022 paper hold, `theorem_2` those of the 2026 paper.
    """

    checks: tuple[Assumption, ...]

    @property
    def theorem_1(self) -> bool:
        """Convergence to the minimal norm as lambda goes to 0 (2022, Theorem 1)."""
        return all(check.holds for check in self.checks if check.paper == 2022)

    @property
    def theorem_2(self) -> bool:
        """Convergence to the limit process as lambda goes to 0 (2026, Theorem 2)."""
        return all(check.holds for check in self.checks if check.paper == 2026)

    def __getitem__(self, key) -> Assumption:
        """By paper and number: `report[2022, "3"]`."""
        found = {(check.paper, check.number): check for check in self.checks}
        if key not in found:
            raise KeyError(
                f"There is no assumption {key!r}, but only {', '.join(map(str, found))}."
            )
        return found[key]

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))


def assumptions(net: Network, data: Dataset) -> Assumptions:
    """Checks the papers' assumptions on this initialisation and data, with concrete values.

        2022  1   the inputs are orthonormal
              2   y_k != 0, and |D_+| != |D_-|
              3   S_{+,1} and S_{-,1} are not empty
              4   |a_j| = |w_j| > 0 (its eq. 4)
        2026  1   the inputs are orthonormal
              3   |a_j| = |w_j| > 0
              4i  every sample has a neuron that can fit it, every neuron a sample, and no two
                  neurons the same samples
              4ii y_k != 0, and no two neurons are due at the same time in the limit process

    Equal means equal to rounding. Of the 2026 paper, Assumption 2 demands of the flow that
    inactive units stay inactive: `rf.flow` does so for orthogonal inputs.
    """
    check_paper_pair(net, data)
    orthogonal, first = _orthonormal(data)
    balanced = _balanced(net)
    return Assumptions(
        (
            Assumption(2022, "1", *first),
            Assumption(2022, "2", *_labels(data)),
            Assumption(2022, "3", *_covered(net, data)),
            Assumption(2022, "4", *balanced),
            Assumption(2026, "1", *first),
            Assumption(2026, "3", *balanced),
            Assumption(2026, "4i", *_mask(net, data)),
            Assumption(2026, "4ii", *_unique(net, data, orthogonal and balanced.holds)),
        )
    )


def _orthonormal(data: Dataset) -> tuple[bool, _Check]:
    demand = "<x_k, x_l> = 1 for k = l, 0 otherwise"
    gram = np.array(data.gram())
    pairs = np.argwhere(np.triu(gram, k=1) != 0.0)
    if len(pairs):
        i, k = map(int, pairs[np.argmax(np.abs(gram[tuple(pairs.T)]))])
        why = f"{len(pairs)} pairs are not orthogonal, the most <x_{i}, x_{k}> = {gram[i, k]:.4g}"
        return False, _Check(demand, False, why, tuple(sorted(set(pairs.ravel().tolist()))))
    off = np.flatnonzero(np.abs(np.sqrt(np.diag(gram)) - 1.0) > UNIT_LENGTH)
    if len(off):
        why = (
            f"orthogonal, but |x_{off[0]}| = {np.sqrt(gram[off[0], off[0]]):.6g}, {_some(off)}; "
            "the limit process and the minimal norm hold for any lengths"
        )
        return True, _Check(demand, False, why, tuple(off.tolist()))
    return True, _Check(demand, True)


def _labels(data: Dataset) -> _Check:
    demand = "y_k != 0, |D_+| != |D_-|"
    zero = np.flatnonzero(np.asarray(data.y) == 0.0)
    if len(zero):
        return _Check(demand, False, f"labels that are 0: {_some(zero)}", tuple(zero.tolist()))
    plus, minus = (float(np.linalg.norm(D)) for D in (D_plus(data), D_minus(data)))
    if abs(plus - minus) <= _EQUAL * max(plus, minus):
        return _Check(demand, False, f"|D_+| = |D_-| = {plus:.6g}: both signs are fitted at once")
    return _Check(demand, True)


def _covered(net: Network, data: Dataset) -> _Check:
    demand = "S_+,1 and S_-,1 are not empty"
    y, active = np.asarray(data.y), np.asarray(net.preactivations(data.x)) > 0.0
    missing, samples = [], set()
    for name, sign, found in (("+", 1.0, S_plus_1), ("-", -1.0, S_minus_1)):
        if np.any(found(net, data)):
            continue
        own = np.flatnonzero(sign * np.asarray(net.output) > 0.0)
        if not len(own):
            missing.append(f"S_{name},1: no neuron has a_j {'>' if sign > 0 else '<'} 0")
            continue
        lacks = (sign * y > 0.0) & ~active[own]
        best = int(np.argmin(lacks.sum(axis=1)))
        left = np.flatnonzero(lacks[best])
        samples |= set(left.tolist())
        missing.append(f"S_{name},1: the nearest, neuron {own[best]}, misses {_some(left)}")
    if missing:
        return _Check(demand, False, "; ".join(missing), tuple(sorted(samples)))
    return _Check(demand, True)


def _balanced(net: Network) -> _Check:
    demand = "|a_j| = |w_j| > 0"
    a, size = np.abs(np.asarray(net.output)), np.linalg.norm(np.asarray(net.hidden), axis=1)
    off = np.flatnonzero((np.abs(a - size) > _BALANCED * size) | (size == 0.0))
    if len(off):
        j = off[0]
        ratio = _ratio(float(a[j]), float(size[j]))
        why = f"neurons {_list(off)}; of neuron {j}, |a| / |w| = {ratio}"
        return _Check(demand, False, why, (), tuple(off.tolist()))
    return _Check(demand, True)


def _mask(net: Network, data: Dataset) -> _Check:
    demand = "every sample and neuron has a partner, no two neurons the same samples"
    mask = np.asarray(masks(net, data))
    alone, idle = np.flatnonzero(~mask.any(axis=0)), np.flatnonzero(~mask.any(axis=1))
    _, index, count = np.unique(mask, axis=0, return_inverse=True, return_counts=True)
    same = np.flatnonzero((count[index.ravel()] > 1) & mask.any(axis=1))
    found = []
    if len(alone):
        found.append(f"no neuron can fit {_some(alone)}")
    if len(idle):
        found.append(f"neurons with nothing to fit: {_list(idle)}")
    if len(same):
        found.append(f"neurons that share their samples with another: {_list(same)}")
    if found:
        neurons = tuple(sorted(set(idle.tolist()) | set(same.tolist())))
        return _Check(demand, False, "; ".join(found), tuple(alone.tolist()), neurons)
    return _Check(demand, True)


def _unique(net: Network, data: Dataset, applies: bool) -> _Check:
    demand = "y_k != 0, the next neuron of the limit process is unique"
    zero = np.flatnonzero(np.asarray(data.y) == 0.0)
    if len(zero):
        return _Check(demand, False, f"labels that are 0: {_some(zero)}", tuple(zero.tolist()))
    if not applies:
        why = "not known: the limit process needs orthogonal inputs, |a_j| = |w_j|"
        return _Check(demand, False, why)
    process = limit_process(net, data)
    tied = np.flatnonzero(process.tied)
    if len(tied):
        neurons = tuple(np.asarray(process.neuron)[tied].tolist())
        why = f"ties at s = {_list(np.asarray(process.jump_times)[tied])}"
        return _Check(demand, False, f"{why}, where neurons {_list(neurons)} jump", (), neurons)
    return _Check(demand, True)


def _ratio(a: float, size: float) -> str:
    return f"{a / size:.6g}" if size > 0.0 else f"{a:.3g} / 0"


def _some(samples) -> str:
    word = "sample" if len(samples) == 1 else "samples"
    return f"{word} {_list(samples)}"


def _list(values, most: int = 8) -> str:
    shown = ", ".join(f"{value:.6g}" for value in list(values)[:most])
    return shown + (f", ... ({len(values)})" if len(values) > most else "")
