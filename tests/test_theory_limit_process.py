"""The limit process against a plain loop of its own, what it reports and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from limits import NEURONS, SAMPLES, SEEDS, assert_same, labelled, plain, start
from tolerance import assert_close

import reluflow as rf
from reluflow.theory import (
    limit_process,
    limit_process_of_masks,
    masks,
    minimal_squared_norm,
)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lengths", [False, True])
def test_against_a_plain_loop(seed, lengths):
    data, net = labelled(lengths), start(seed)
    assert_same(limit_process(net, data), plain(net, data))
    exponents = -1.0 - np.random.default_rng(seed).random(NEURONS)
    process = limit_process(net, data, initial_exponents=exponents)
    assert_same(process, plain(net, data, exponents))
    # Controls: signs of labels that do not matter, and, of other lengths, lengths that do not.
    with pytest.raises(AssertionError):
        assert_same(limit_process(net, data), plain(net, data, signs=False))
    if lengths:
        with pytest.raises(AssertionError):
            assert_same(limit_process(net, data), plain(net, data, lengths=False))


@pytest.mark.parametrize("seed", range(4))
def test_from_masks_alone(seed):
    """Without inputs: as with the identity, and as the plain loop of sets, which shares nothing."""
    label_key = jax.random.key(seed)
    data = rf.Dataset(np.eye(SAMPLES), jax.random.normal(label_key, (SAMPLES,)))
    net, exponents = start(seed), -1.0 - np.random.default_rng(seed).random(NEURONS)
    mask = masks(net, data)
    process = limit_process_of_masks(mask, data.y)
    assert_same(process, plain(net, data))
    assert_same(
        limit_process_of_masks(mask, data.y, initial_exponents=exponents),
        plain(net, data, exponents),
    )
    assert bool(process.interpolates) == bool(jnp.all(jnp.any(mask, axis=0)))
    limit = limit_process(net, data)
    for one, other in zip(jax.tree.leaves(process), jax.tree.leaves(limit), strict=True):
        assert_close(one, other, rtol=1e-13)
    # Control: the masks of neurons with other signs.
    other = masks(net, rf.Dataset(data.x, -data.y))
    with pytest.raises(AssertionError):
        assert_same(limit_process_of_masks(other, -data.y), plain(net, data))


def test_a_neuron_for_each_sign_ends_at_the_minimal_norm():
    data = labelled()
    signs = np.stack([data.y > 0.0, data.y < 0.0])
    least = minimal_squared_norm(data)
    assert_close(limit_process_of_masks(signs, data.y).final_squared_norm, least, rtol=1e-13)
    # Control: with two for each sign, which share its samples, it is larger.
    even = np.arange(SAMPLES) % 2 == 0
    shared = np.concatenate([signs & even, signs & ~even])
    assert limit_process_of_masks(shared, data.y).final_squared_norm > 1.1 * least


def test_what_it_cannot_say_is_reported():
    """A tie of different masks, samples that nobody can fit, neurons with nothing to fit."""
    data = rf.Dataset(np.eye(4), [1.0, 1.0, 1.0, -1.0])
    w = np.array([[1.0, -1.0, -1.0, 1.0], [-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, -1.0, 1.0]])
    process = limit_process(rf.Network(np.zeros(3), np.full(3, 2.0), w), data)
    assert np.asarray(process.tied).tolist() == [True, False, False]
    assert np.asarray(process.gaps).tolist() == [0.0, np.inf, np.inf]
    assert np.asarray(process.unfittable).tolist() == [False, False, True, True]
    assert np.asarray(process.idle).tolist() == [False, False, True]
    assert not process.interpolates
    assert_close(process.losses, [0.5, 0.375, 0.25, 0.25], rtol=1e-15)
    assert_close(process.times(-1000.0)[:2], 4000.0, rtol=1e-15)
    text = str(process)
    assert "(tied)" in text and "[2, 3]" in text
    # Control: labels that differ by 1e-9 are no tie, and everything else is as before.
    apart = rf.Dataset(np.eye(4), [1.0, 1.0 + 1e-9, 1.0, -1.0])
    process = limit_process(rf.Network(np.zeros(3), np.full(3, 2.0), w), apart)
    assert not np.any(process.tied) and int(process.neuron[0]) == 1


def test_one_compilation_for_all_seeds():
    data, traces = labelled(), []

    @jax.jit
    @jax.vmap
    def sweep(seed):
        traces.append(seed)
        return limit_process(rf.balanced(jax.random.key(seed), NEURONS, SAMPLES, -1.0), data)

    batch = sweep(jnp.arange(10_000))
    assert len(traces) == 1 and batch.final_squared_norm.shape == (10_000,)
    for seed in (0, 17, 9_999):
        alone = limit_process(rf.balanced(jax.random.key(seed), NEURONS, SAMPLES, -1.0), data)
        lane = jax.tree.map(lambda leaf, seed=seed: leaf[seed], batch)
        for one, other in zip(jax.tree.leaves(lane), jax.tree.leaves(alone), strict=True):
            assert_close(one, other, rtol=1e-12)


def test_derivatives():
    """Forward mode, of the last jump time and of all exponents, against differences."""
    data, net = labelled(), start(SEEDS[0])
    direction = np.random.default_rng(0).normal(size=SAMPLES)

    def values(y):
        process = limit_process(net, rf.Dataset(data.x, y))
        last = process.jump_times[process.num_jumps - 1]
        return jnp.append(process.exponents(8.0), last)

    _, slope = jax.jvp(values, (data.y,), (direction,))
    h = 1e-6
    difference = (values(data.y + h * direction) - values(data.y - h * direction)) / (2.0 * h)
    assert np.all(np.abs(slope[:-1])[np.asarray(values(data.y)[:-1]) < 0.0] > 0.0)
    assert_close(slope, difference, rtol=1e-6, atol=1e-8)


def test_bad_arguments():
    data, net = labelled(), start(0)
    with pytest.raises(ValueError, match="`data` must have orthogonal"):
        limit_process(rf.balanced(jax.random.key(0), 3, 2, -1.0), rf.datasets.five_points())
    with pytest.raises(ValueError, match="`net` must have"):
        limit_process(rf.unbalanced(jax.random.key(0), NEURONS, SAMPLES, -1.0), data)
    with pytest.raises(ValueError, match="`initial_exponents` must have shape"):
        limit_process(net, data, initial_exponents=[-1.0])
    with pytest.raises(ValueError, match="`initial_exponents` must be negative"):
        limit_process(net, data, initial_exponents=np.zeros(NEURONS))
    mask, y = np.asarray(masks(net, data)), np.asarray(data.y)
    with pytest.raises(ValueError, match="`labels` must have shape"):
        limit_process_of_masks(mask, y[1:])
    with pytest.raises(ValueError, match="`mask` must give each neuron samples whose labels"):
        limit_process_of_masks(np.ones_like(mask), y)
    with pytest.raises(ValueError, match="`labels` must be finite"):
        limit_process_of_masks(mask, y * np.nan)
    with pytest.raises(ValueError, match=r"use `jax\.vmap`"):
        limit_process(jax.tree.map(lambda leaf: leaf[None], net), data)
