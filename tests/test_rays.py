"""The extreme rays about w = 0, and how they move with the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

from reluflow._model._rays import rays

SHAPES = [(5, 3, 3), (4, 2, 2), (3, 1, 1), (4, 3, None), (6, 3, 3)]


def inputs(samples, dim):
    return np.random.default_rng(samples).normal(size=(2, samples, dim))


@pytest.mark.parametrize(("samples", "dim", "rank"), SHAPES)
def test_all_but_one_of_the_independent_boundaries_vanish(samples, dim, rank):
    x, _ = inputs(samples, dim)
    found = np.asarray(rays(jnp.asarray(x), rank))
    found = found[np.max(np.abs(found), axis=1) > 0.0]
    assert len(found) >= 2
    u = found @ np.linalg.pinv(x).T
    assert_close(u @ x.T, found, atol=1e-12)  # they are <u, x_k>
    for on in found == 0.0:
        assert np.linalg.matrix_rank(x[on]) == dim - 1 if dim > 1 else not np.any(on)
    reach = np.sum(np.maximum(found, 0.0), axis=1)
    assert_close(reach[reach > 0.0], 1.0, rtol=1e-12)


@pytest.mark.parametrize(("samples", "dim", "rank"), SHAPES)
def test_their_derivative(samples, dim, rank):
    """By the inputs, against central differences. Where nothing is active, no length is fixed."""
    x, direction = inputs(samples, dim)
    run = jax.jit(lambda s: rays(jnp.asarray(x + s * direction), rank))
    found, slope = map(np.asarray, jax.jvp(run, (0.0,), (1.0,)))
    step = 1e-6
    expected = (np.asarray(run(step)) - np.asarray(run(-step))) / (2.0 * step)
    active = np.max(found, axis=1) > 0.0
    size = 1.0 + np.max(np.abs(expected[active]), axis=1, keepdims=True)
    assert_close(slope[active] / size, expected[active] / size, atol=1e-6)
    with pytest.raises(AssertionError):  # the control: rays that stay
        assert_close(0.0 * slope[active], expected[active] / size, atol=1e-6)
