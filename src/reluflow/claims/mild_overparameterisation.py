"""Many limit processes: how often they interpolate, and how large (2026, Prop. 2, Theorem 3)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import theory
from .._model._dataset import Dataset
from .._model._initialisation import balanced
from ..theory._orthogonal import is_one_to_one
from ._claim import Claim
from ._finding import Finding

FAILURE = 0.01  # n (3/4)^m is this at the width that is called logarithmic
_OFTEN = 0.95
# Each neuron fits half of what is left (appendix E): the sum of 2^{-i/2} over i >= 1 is 1 + 2^{1/2}
_HALVING = 1.0 + np.sqrt(2.0)
_SLOPE = 0.03  # what Fig. 5 can be read to
_MANY = tuple(2**k for k in range(12, 18))  # samples, by masks alone
_ENTRIES = 2**22  # neurons x samples in one batch: memory


def width(samples: int) -> int:
    """m of order ln n: 31 at n = 64, 45 at n = 4096."""
    return int(np.ceil(np.log(samples / FAILURE) / np.log(4.0 / 3.0)))


def _assumption_4(quick: bool) -> list[Finding]:
    return _frequencies(quick, width, small_n=not quick)


def _half_the_width(quick: bool) -> list[Finding]:
    return _frequencies(quick, lambda samples: width(samples) // 2, small_n=False)


def _frequencies(quick: bool, of_width: Callable[[int], int], small_n: bool) -> list[Finding]:
    seeds = 500 if quick else 5000
    found = []
    for samples in (64,) if quick else (64, 128, 256):
        neurons = of_width(samples)
        held = 1.0 - _failures(samples, neurons, seeds)
        found.append(
            Finding(
                f"frequency of Assumption 4(i), n = {samples}, m = {neurons}", held, ">=", _OFTEN
            )
        )
    for samples in (16, 64) if small_n else (64,):
        for neurons in (width(samples) // 2, width(samples)):
            failed = _failures(samples, neurons, seeds)
            half = samples // 2
            bound = theory.union_bound(neurons, half, samples - half).total
            error = 3.0 * np.sqrt(bound * (1.0 - bound) / seeds)
            found.append(
                Finding(
                    f"frequency of its failure, below the union bound and three standard "
                    f"errors, n = {samples}, m = {neurons}",
                    failed,
                    "<=",
                    bound + error,
                )
            )
    return found


@functools.cache
def _failures(samples: int, neurons: int, seeds: int) -> float:
    keys = jr.split(jr.key(1000 * samples + neurons), seeds)
    return float(np.mean(_fails(keys, samples, neurons)))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _fails(keys, samples: int, neurons: int):
    """Whether Assumption 4(i) does; half of the labels are positive."""
    data = Dataset(jnp.eye(samples), jnp.where(jnp.arange(samples) % 2 == 0, 1.0, -1.0))

    def one(key):
        mask = theory.masks(balanced(key, neurons, samples, -1.0), data)
        return ~is_one_to_one(mask, jnp.ones(neurons, bool))

    return jax.lax.map(one, keys, batch_size=250)


def _norms(quick: bool) -> list[Finding]:
    """The constant of the O is not readable in the text: halving gives 2 (2 + 2^{1/2})."""
    sizes, rows = _growth(quick)
    over = max(
        float(np.max(row[0] / (np.sqrt(n) * row[2]))) for n, row in zip(sizes, rows, strict=True)
    )
    ratio = [float(np.mean(row[0] / row[1])) for row in rows]
    where = f"n = {sizes[0]} to {sizes[-1]}, m of order ln n"
    return [
        Finding(
            f"largest |theta|^2 / (n^(1/2) max|y|), {where}",
            over,
            "<=",
            2.0 * np.sqrt(2.0) * _HALVING,
        ),
        Finding(f"largest mean of |theta|^2 over its minimum, {where}", max(ratio), "<=", _HALVING),
    ]


def _one_each(quick: bool) -> list[Finding]:
    """A neuron for each sample: w_j is along x_j, and the masks do not overlap."""
    samples = 1024
    y = np.random.default_rng(0).normal(size=samples)
    norm, least = 2.0 * np.sum(np.abs(y)), float(_least(y))
    largest = np.sqrt(samples) * np.abs(y).max()
    return [
        Finding(
            f"|theta|^2 / (n^(1/2) max|y|), n = {samples}",
            norm / largest,
            "<=",
            2.0 * np.sqrt(2.0) * _HALVING,
        ),
        Finding(f"|theta|^2 over its minimum, n = {samples}", norm / least, "<=", _HALVING),
    ]


def _least(y: np.ndarray) -> float:
    return float(theory.minimal_squared_norm(Dataset(np.eye(len(y)), y)))


def _lines(quick: bool) -> list[Finding]:
    """Up to n = 4096 the line is steeper: the ratio to the minimum still grows towards 1 + 2^{1/2}.
    From there on it is what was claimed."""
    sizes, rows = _growth(quick)
    norms, least = ([float(np.mean(row[i])) for row in rows] for i in (0, 1))
    name, where = "slope of ln|theta|^2 over ln n", f"n = {sizes[0]} to {sizes[-1]}"
    many, far = _MANY[: 3 if quick else None], []
    for samples in many:
        ends = random_ends(samples, width(samples), 5 if quick else 20)
        far.append(float(np.mean([end.squared_norm for end in ends if end.interpolates])))
    beyond = f"{name}, n = {many[0]} to {many[-1]}"
    return [
        Finding(f"{name}, {where}", _slope(sizes, norms), "==", 0.5, _SLOPE),
        Finding(f"the same of the minimum, {where}", _slope(sizes, least), "==", 0.5, _SLOPE),
        Finding(beyond, _slope(many, far), "==", 0.5, _SLOPE),
    ]


class End(NamedTuple):
    """|theta_inf|^2 (2026, eq. 15), its minimum (2022, Prop. 1), whether all are fitted, and after
    how many jumps."""

    squared_norm: float
    minimum: float
    interpolates: bool
    jumps: int


def random_ends(samples: int, neurons: int, seeds: int) -> list[End]:
    """Labels N(0, 1), neurons of random directions and signs: their masks are coin tosses."""
    random = np.random.default_rng(samples)
    ends = []
    for _ in range(seeds):
        labels, sign = random.standard_normal(samples), random.choice([-1.0, 1.0], neurons)
        active = random.integers(0, 2, (neurons, samples), dtype=np.int8) == 1
        norm, fits, jumps = _end(active & (sign[:, None] * labels > 0.0), labels)
        each = (np.linalg.norm(labels[way * labels > 0.0]) for way in (1.0, -1.0))
        ends.append(End(float(norm), float(2.0 * sum(each)), bool(fits), int(jumps)))
    return ends


@jax.jit
def _end(mask, labels):
    process = theory.limit_process_of_masks(mask, labels)
    return process.final_squared_norm, process.interpolates, process.num_jumps


def _slope(sizes, values) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _lines_one_each(quick: bool) -> list[Finding]:
    """A neuron for each sample: slope 1."""
    sizes, rows = _growth(quick)
    sums = [float(np.mean(row[3])) for row in rows]
    name = "slope of ln(2 sum |y_k|) over ln n"
    return [Finding(name, _slope(sizes, sums), "==", 0.5, _SLOPE)]


@functools.cache
def _growth(quick: bool) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Of each n: |theta_inf|^2, its minimum, max|y| and 2 sum|y|, over the seeds that fit all."""
    sizes = (16, 256) if quick else (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    rows = []
    for samples in sizes:
        keys = jr.split(jr.key(samples), 20 if quick else 100)
        found = np.array(_limits(keys, width(samples), samples))
        rows.append(found[:-1, found[-1] > 0.0])
    return sizes, rows


@functools.partial(jax.jit, static_argnums=(1, 2))
def _limits(keys, neurons: int, samples: int):
    """Identity data and y ~ N(0, 1) as in Fig. 5, new labels for every seed."""

    def one(key):
        net_key, label_key = jr.split(key)
        data = Dataset(jnp.eye(samples), jr.normal(label_key, (samples,)))
        process = theory.limit_process(balanced(net_key, neurons, samples, -1.0), data)
        size = jnp.abs(data.y)
        return (
            process.final_squared_norm,
            theory.minimal_squared_norm(data),
            jnp.max(size),
            2.0 * jnp.sum(size),
            process.interpolates.astype(jnp.float64),
        )

    batch = max(1, min(len(keys), _ENTRIES // (neurons * samples)))
    return jax.lax.map(one, keys, batch_size=batch)


CLAIMS = (
    Claim(
        "2026-prop-2",
        "2026, Prop. 2",
        "Assumption 4(i) holds with high probability at m of order ln n, as the union bound says",
        _assumption_4,
        {"half of that width": _half_the_width},
    ),
    Claim(
        "2026-theorem-3",
        "2026, Theorem 3 and eq. 15",
        "|theta_inf|^2 = O(n^(1/2) max|y|), within a constant factor of the minimum",
        _norms,
        {"a neuron for each sample": _one_each},
    ),
    Claim(
        "2026-figure-5",
        "2026, Fig. 5",
        "on logarithmic axes |theta_inf|^2 and its minimum are lines of slope 1/2 over n",
        _lines,
        {"a neuron for each sample": _lines_one_each},
    ),
)
