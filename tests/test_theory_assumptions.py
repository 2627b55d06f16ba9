"""Which assumptions hold, who is in the way of the others, and how often (2026, Prop. 2)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reluflow as rf
from reluflow import theory


def orthonormal(seed=1, samples=6, dim=9):
    return rf.datasets.orthonormal(jax.random.key(seed), samples, dim)


def test_assumptions_that_hold():
    """Of the 2026 paper for a narrow network, of the 2022 paper for a wide one; not conversely."""
    data = orthonormal()
    for seed in range(100):
        report = theory.assumptions(rf.balanced(jax.random.key(seed), 6, 9, -5.0), data)
        if report.theorem_2 and not report.theorem_1:
            break
    assert report.theorem_2 and not report.theorem_1
    assert str(report).count("FAILS") == 1
    wide = theory.assumptions(rf.balanced(jax.random.key(0), 200, 9, -5.0), data)
    assert wide.theorem_1 and not wide[2026, "4i"].holds


def _problem(y, w, x=None, a=None):
    w = np.asarray(w, float)
    size = np.linalg.norm(w, axis=1)
    a = size if a is None else np.asarray(a, float) * size
    x = np.eye(len(y)) if x is None else np.asarray(x, float)
    return rf.Network(np.full(len(w), -5.0), a, w), rf.Dataset(x, y)


GOOD = [[1.0, 2.0, 1.0], [1.0, -1.0, 2.0]]


@pytest.mark.parametrize(
    ("key", "problem", "samples", "neurons", "words"),
    [
        (
            (2022, "1"),
            _problem([1, 2, -1], GOOD, [[1, 0, 0], [0, 1, 1e-6], [0, 0, 1]], [1, -1]),
            (1, 2),
            (),
            "not orthogonal",
        ),
        ((2022, "1"), _problem([1, 2, -1], GOOD, 2.0 * np.eye(3), [1, -1]), (0, 1, 2), (), "|x_0|"),
        ((2022, "2"), _problem([1, 0, -2], GOOD, a=[1, -1]), (1,), (), "sample 1"),
        ((2022, "2"), _problem([3, 4, -5], GOOD, a=[1, -1]), (), (), "both signs"),
        (
            (2022, "3"),
            _problem([1, 2, -1], [[1, -1, 1], [1, -1, 2]], a=[1, -1]),
            (1,),
            (),
            "neuron 0, misses sample 1",
        ),
        ((2022, "3"), _problem([1, 2, -1], GOOD), (), (), "no neuron has a_j < 0"),
        ((2022, "4"), _problem([1, 2, -1], GOOD, a=[1, -1.5]), (), (1,), "1.5"),
        ((2026, "3"), _problem([1, 2, -1], GOOD, a=[1.5, -1]), (), (0,), "1.5"),
        ((2026, "4i"), _problem([1, 2, -1], GOOD), (2,), (), "no neuron can fit sample 2"),
        (
            (2026, "4i"),
            _problem([1, 2, -1], [*GOOD, [1, 1, -1]], a=[1, -1, -1]),
            (),
            (2,),
            "nothing to fit: 2",
        ),
        ((2026, "4i"), _problem([1, 2, -1], [*GOOD, [2, 1, 1]], a=[1, -1, 1]), (), (0, 2), "share"),
        ((2026, "4ii"), _problem([1, 0, -2], GOOD, a=[1, -1]), (1,), (), "labels"),
        ((2026, "4ii"), _problem([3, 4, -5], GOOD, a=[1, -1]), (), (0,), "ties"),
        (
            (2026, "4ii"),
            _problem([1, 2, -1], GOOD, [[1, 0, 0], [0, 1, 1], [0, 0, 1]], [1, -1]),
            (),
            (),
            "not known",
        ),
    ],
)
def test_assumptions_that_fail(key, problem, samples, neurons, words):
    """Each says who is in the way; the same problem without the fault passes that check."""
    check = theory.assumptions(*problem)[key]
    assert not check.holds and words in check.why
    assert (check.samples, check.neurons) == (samples, neurons)
    assert words in str(theory.assumptions(*problem))
    good = theory.assumptions(*_problem([1, 2, -1], GOOD, a=[1, -1]))
    assert good[key].holds and good.theorem_1 and good.theorem_2


# The union bound


def _frequencies(neurons, positive, negative, draws=20_000):
    """Of the three events, from random masks; unfittable samples are exact in the same model."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-1, 1], (draws, neurons, 1))
    label = np.r_[np.ones(positive), -np.ones(negative)]
    mask = (rng.random((draws, neurons, positive + negative)) < 0.5) & (sign == label)
    some = mask.any(axis=2)
    alike = np.zeros(draws, bool)
    for i, j in itertools.combinations(range(neurons), 2):
        alike |= some[:, i] & np.all(mask[:, i] == mask[:, j], axis=1)
    events = ~mask.any(axis=1).all(axis=1), ~some.all(axis=1), alike
    return [np.mean(e) for e in events] + [np.mean(np.any(events, axis=0))]


@pytest.mark.parametrize(("neurons", "positive", "negative"), [(20, 8, 8), (12, 10, 5), (3, 4, 4)])
def test_union_bound(neurons, positive, negative):
    """Above each frequency, and near it where the events are rare."""
    bound = theory.union_bound(neurons, positive, negative)
    for limit, found in zip(bound, _frequencies(neurons, positive, negative), strict=True):
        error = 4.0 * np.sqrt(found * (1.0 - found) / 20_000) + 1e-12
        assert found <= limit + error
        if limit < 0.1:
            assert found > 0.8 * limit - error
    # Control: half of the bound is none.
    rare = theory.union_bound(neurons, positive, negative)
    assert _frequencies(neurons, positive, negative)[3] > 0.2 * rare.total


def test_union_bound_of_random_networks():
    """The same events through `limit_process` and `assumptions`."""
    data, draws = orthonormal(1, 6, 6), 4000
    positive = int(np.sum(data.y > 0.0))

    def one(key):
        process = theory.limit_process(rf.balanced(key, 10, 6, -1.0), data)
        return jnp.any(process.unfittable), jnp.any(process.idle)

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), draws))
    unfittable, idle = map(float, map(np.mean, found))
    bound = theory.union_bound(10, positive, 6 - positive)
    # The exact probability of every sample having a neuron, by the number of positive neurons.
    choose = [len(list(itertools.combinations(range(10), p))) / 2.0**10 for p in range(11)]
    exact = 1.0 - sum(
        c * (1.0 - 0.5**p) ** positive * (1.0 - 0.5 ** (10 - p)) ** (6 - positive)
        for p, c in enumerate(choose)
    )
    assert abs(unfittable - exact) < 4.0 * np.sqrt(exact * (1.0 - exact) / draws)
    exact_idle = 1.0 - (1.0 - bound.idle / 10) ** 10
    assert abs(idle - exact_idle) < 4.0 * np.sqrt(exact_idle * (1.0 - exact_idle) / draws)
    assert exact <= bound.unfittable and exact_idle <= bound.idle
    with pytest.raises(ValueError, match="`neurons`"):
        theory.union_bound(-1, 2, 2)
