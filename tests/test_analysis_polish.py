"""The active-set method of rf.analysis.saddles, from random states."""

import numpy as np
import pytest
from tolerance import assert_close

from reluflow._model import _modes
from reluflow.analysis._polish import State, polish
from reluflow.analysis._saddles import _check


def random_state(rng, samples, dim, neurons):
    """(x, y, balanced neurons)"""
    x, y = rng.normal(size=(samples, dim)), rng.normal(size=samples)
    w = rng.normal(size=(neurons, dim))
    a = rng.choice([-1.0, 1.0], neurons) * np.linalg.norm(w, axis=1)
    return x, y, State(a, w, np.where(w @ x.T > 0.0, _modes.ACTIVE, _modes.INACTIVE))


@pytest.mark.parametrize("seed", range(8))
def test_polishing_only_descends(seed):
    """From any state: a point of smaller loss, near which no weights lower it to first order."""
    rng = np.random.default_rng(seed)
    x, y, state = random_state(rng, 6, 3, 5)
    before = np.mean((y - state.a @ np.maximum(state.w @ x.T, 0.0)) ** 2) / 2.0
    found, r = polish(x, y, state)
    assert _check(x, y, found, 1.0)[1]
    outputs = found.a @ np.maximum(found.w @ x.T, 0.0)
    assert_close(y - outputs, r, atol=1e-12)
    assert np.mean(r**2) / 2.0 < before
    size = 1e-5  # what is of second order is 1e-10, of first order up to 1e-5
    for _ in range(20):
        da, dw = size * rng.normal(size=5), size * rng.normal(size=(5, 3))
        alive = found.a != 0.0
        moved = (found.a + da * alive) @ np.maximum((found.w + dw * alive[:, None]) @ x.T, 0.0)
        assert np.mean((y - moved) ** 2) / 2.0 > np.mean(r**2) / 2.0 - 1e-8


@pytest.mark.parametrize("few", range(4))
def test_polishing_ends(few):
    """Of 100 random states of all shapes, among them many whose neurons come to 0."""
    ended, died = [], 0
    for seed in range(100 * few, 100 * (few + 1)):
        rng = np.random.default_rng(seed)
        x, y, state = random_state(rng, *rng.integers((2, 1, 1), (9, 5, 8)))
        found, _ = polish(x, y, state)
        ended.append(_check(x, y, found, 1.0)[1])
        died += np.any(found.a == 0.0)
    assert all(ended) and died > 20
