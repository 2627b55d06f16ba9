"""What the reference says about the problems of the search, and how well it can be said.

    python tests/search_solutions.py            # writes search_solutions.npz; goes on where it was
    python tests/search_solutions.py --fresh    # from the beginning; an hour and a half

A problem's condition is measured on the reference itself: how far each neuron, over its size, and
the predictions, over the largest label, move when all numbers of the problem move by 1e-12 and by
1e-10 of themselves, over that. Where they jump, the flow is not determined.
"""

import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reference import reference_flow
from search_problems import KINDS, SEEDS, arrays, perturbed

FILE = Path(__file__).with_suffix(".npz")
MOVES = [(1e-12, 0), (1e-12, 1), (1e-12, 2), (1e-10, 3), (1e-10, 4)]  # sizes and seeds
FEWER = {"long": [MOVES[0], MOVES[3]], "longer": [MOVES[0], MOVES[3]]}  # which take long
JUMP = 1e-6  # a larger change of the end by a change of 1e-12 is a jump
PARTS = "in two parts"  # whose second part begins with bare weights
APART = "inputs nearly parallel"  # whose difference float64 holds to rounding over the angle


class Solved(NamedTuple):
    """The end of a problem's flow.

    output, hidden, log_scale: of its weights. predictions: at the samples.
    condition: of each neuron. condition_predictions. rounding: how far float64 can hold each neuron
    where inputs are nearly parallel, else 0. jumps: the reference saw several motions, or jumps.
    events: how many. check: of the problem, so that no other is compared with this.
    """

    output: np.ndarray
    hidden: np.ndarray
    log_scale: np.ndarray
    predictions: np.ndarray
    condition: np.ndarray
    condition_predictions: np.ndarray
    rounding: np.ndarray
    jumps: np.ndarray
    events: np.ndarray
    check: np.ndarray


def label_size(case):
    """max|y|, or where all labels are zero, the largest prediction at the start."""
    size = np.exp(2.0 * case.log_scale)
    start = size * case.output @ case.phi(case.hidden @ case.x.T)
    return np.max(np.abs(case.y)) or np.max(np.abs(start))


def distance(one, other):
    """Of two sets of weights (output, hidden, log_scale), neuron by neuron over its size."""
    factor = np.exp(other[2] - one[2])
    first = np.column_stack([one[0], one[1]])
    second = factor[:, None] * np.column_stack([other[0], other[1]])
    size = np.linalg.norm(first, axis=1)
    return np.linalg.norm(first - second, axis=1) / np.where(size > 0.0, size, 1.0)


def checksum(case):
    """Of numbers in single precision: the last bits of a power depend on the processor."""
    parts = case[:7] if case.model is None else (*case[:7], case.model.slopes, case.model.weights)
    return zlib.crc32(b"".join(np.ascontiguousarray(part, np.float32).tobytes() for part in parts))


def _flow(case):
    model = {} if case.model is None else case.model._asdict()
    return reference_flow(*case[:5], case.t1, **model)


def _moved(kind, case, found, size, seed, apart=False):
    """(of each neuron, of the predictions): the change, and whether several motions were seen."""
    other = _flow(perturbed(kind, case, size, seed, apart))
    far = np.max(np.abs(found.predictions - other.predictions)) / label_size(case)
    return distance(found.final, other.final), far, len(other.ambiguous) > 0


def _branches_at_the_split(case, found):
    """Whether the end jumps when the weights between two parts move by 1e-12, to either side: a
    neuron that rests on a boundary which now repels it goes on from bare weights either way."""
    first = reference_flow(*case[:5], case.split * case.t1).final
    sizes = MOVES[0][0] * np.linalg.norm(first.w, axis=1, keepdims=True)
    away = sizes * np.random.default_rng(0).normal(size=first.w.shape)
    rest = (1.0 - case.split) * case.t1
    ends = [
        reference_flow(case.x, case.y, first.a, first.w + move, first.log_scale, rest).final
        for move in (away, -away)
    ]
    return max(np.max(distance(found.final, end)) for end in ends) > JUMP


def solve(kind, seed) -> Solved:
    """The problem's flow by the reference, and its condition."""
    case = arrays(kind, seed)
    found = _flow(case)
    condition, predictions, jumps = np.ones(len(case.output)), 1.0, len(found.ambiguous) > 0
    for size, move in FEWER.get(kind, MOVES):
        neurons, far, several = _moved(kind, case, found, size, move)
        if size == MOVES[0][0]:
            jumps = jumps or several or max(np.max(neurons), far) > JUMP
        elif max(np.max(neurons), far) > JUMP * size / MOVES[0][0]:
            continue  # a jump between 1e-12 and 1e-10
        condition = np.maximum(condition, neurons / size)
        predictions = max(predictions, far / size)
    if kind == PARTS:
        jumps = jumps or _branches_at_the_split(case, found)
    rounding = np.zeros_like(condition)
    if kind == APART:
        rounding = _moved(kind, case, found, 1e-12, 5, apart=True)[0] / 1e-12
        rounding = rounding * np.finfo(float).eps
    return Solved(
        *found.final,
        found.predictions,
        condition,
        np.array(predictions),
        rounding,
        np.array(jumps),
        np.array(len(found.times)),
        np.array(checksum(case)),
    )


def _shapes(case):
    """Of the fields of `Solved`."""
    m, n = len(case.output), len(case.y)
    return [(m,), case.hidden.shape, (m,), (n,), (m,), (), (m,), (), (), ()]


def load():
    """{(kind, seed): Solved} of the file; a problem that is not the one solved is left out."""
    found = {}
    if not FILE.exists():
        return found
    with np.load(FILE) as file:
        stored = dict(file)
    for kind in KINDS:
        values, place = stored.get(f"{kind}: values", ()), 0
        for seed in stored.get(f"{kind}: seeds", ()):
            case, parts = arrays(kind, int(seed)), []
            for shape in _shapes(case):
                size = int(np.prod(shape))
                parts.append(values[place : place + size].reshape(shape))
                place += size
            if int(parts[-1]) == checksum(case):
                found[kind, int(seed)] = Solved(*parts)
    return found


def save(solved):
    stored = {}
    for kind in KINDS:
        seeds = sorted(seed for other, seed in solved if other == kind)
        flat = [np.ravel(part) for seed in seeds for part in solved[kind, seed]]
        stored[f"{kind}: seeds"] = np.array(seeds, np.int32)
        stored[f"{kind}: values"] = np.concatenate([*flat, np.zeros(0)])
    np.savez_compressed(FILE, **stored)


def main():
    solved = {} if "--fresh" in sys.argv else load()
    for kind in KINDS:
        for seed in SEEDS[kind]:
            if (kind, seed) not in solved:
                solved[kind, seed] = solve(kind, seed)
                if seed % 10 == 9 or seed == SEEDS[kind][-1]:
                    save(solved)
                    print(kind, seed, flush=True)


if __name__ == "__main__":
    main()
