"""Factorisations under `jax.vmap`: right, and never two batches of LAPACK calls at once."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

import reluflow as rf
from reluflow._support._factorisations import eigh, eigvalsh, lu, lu_solve, qr, solve, svd

LANES, SIZE = 20, 33
SQUARES = np.random.default_rng(0).normal(size=(LANES, SIZE, SIZE))
SYMMETRIC = SQUARES + np.swapaxes(SQUARES, 1, 2)
RIGHT = np.random.default_rng(1).normal(size=(LANES, SIZE, 2))


def solved(matrix, right):
    factors, rows = lu(matrix)
    return lu_solve(factors, right[rows])


def test_against_numpy():
    assert_close(jax.vmap(solve)(SQUARES, RIGHT), np.linalg.solve(SQUARES, RIGHT), atol=1e-10)
    assert_close(jax.vmap(solved)(SQUARES, RIGHT), np.linalg.solve(SQUARES, RIGHT), atol=1e-10)
    values, vectors = jax.vmap(eigh)(SYMMETRIC)
    assert_close(values, np.linalg.eigvalsh(SYMMETRIC), atol=1e-12)
    assert_close(jax.vmap(eigvalsh)(SYMMETRIC), np.linalg.eigvalsh(SYMMETRIC), atol=1e-12)
    q, r = jax.vmap(qr)(SQUARES)
    assert_close(q @ r, SQUARES, atol=1e-12)
    _, sizes, rows = jax.vmap(svd)(SQUARES)
    assert_close(sizes, np.linalg.svd(SQUARES, compute_uv=False), atol=1e-12)
    assert_close(np.linalg.norm(SQUARES @ np.swapaxes(rows, 1, 2), axis=1), sizes, atol=1e-11)
    assert_close(SYMMETRIC @ vectors, vectors * values[:, None], atol=1e-11)


def test_derivatives_of_lanes():
    """Where the matrix, the other side, or both have a lane each."""

    def moved(matrix, right, by):
        return jax.jvp(solved, (matrix, right), (by, 0.0 * right))[1]

    by = np.random.default_rng(2).normal(size=SQUARES.shape)
    inverse = np.linalg.inv(SQUARES)
    expected = -inverse @ by @ inverse @ RIGHT
    assert_close(jax.vmap(moved)(SQUARES, RIGHT, by), expected, rtol=1e-8, atol=1e-9)
    one = jax.vmap(moved, in_axes=(None, None, 0))(SQUARES[0], RIGHT[0], by)
    expected = -inverse[0] @ by @ inverse[0] @ RIGHT[0]
    assert_close(one, expected, rtol=1e-8, atol=1e-9)


def batched_calls(function, *shapes):
    """LAPACK calls of the program whose matrices have more than two axes."""
    text = jax.jit(function).lower(*shapes).as_text()
    calls = [line for line in text.splitlines() if "lapack_d" in line]
    assert calls
    return [line for line in calls if re.search(r"tensor<(\d+x){3,}f64>", line)]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere a batch is one call")
def test_no_call_is_of_a_batch():
    """Such calls wait for each other where there are no more threads than calls."""
    both = (SQUARES, RIGHT)
    assert not batched_calls(jax.vmap(solved), *both)
    assert not batched_calls(jax.vmap(jax.vmap(solve)), *(each[None] for each in both))
    for function in (eigh, eigvalsh, qr, svd):
        assert not batched_calls(jax.vmap(function), SYMMETRIC)
    assert batched_calls(jax.vmap(jnp.linalg.eigh), SYMMETRIC)  # the control


@pytest.mark.slow  # compiles for a minute
def test_many_lanes_of_many_samples_end():
    """Of 32 samples, on two cores, these lanes stood still, all their threads waiting."""
    data = rf.Dataset(np.eye(32), np.where(np.arange(32) % 3 == 0, -1.0, 1.0))

    def run(key):
        net = rf.balanced(key, 24, 32, -14.0)
        sol = rf.flow(net, data, 300.0, throw=False, max_steps=20_000)
        return sol.result, sol.stats["loss_final"]

    lanes = jax.random.split(jax.random.key(0), 20)
    results, losses = jax.jit(jax.vmap(run), compiler_options=rf.compiler_options())(lanes)
    assert np.all(results == rf.RESULTS.successful) and np.all(losses < 0.5)
