"""Factorisations of matrices, one at a time under `jax.vmap` on a CPU.

There jaxlib spreads a batch of LAPACK calls over XLA's threads, and waits for them on one of these
threads. Two such calls at once, of one program or of two devices of the host, wait for each other
for ever (seen with jax 0.10.2: two threads, 20 lanes, 32 samples). One matrix is not spread.

A derivative whose point has no lanes is the exception: there an outer `jax.vmap` makes a batch.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    alone = jax.custom_batching.custom_vmap(function)

    @alone.def_vmap
    def _mapped(_, batched, *matrices):
        if not any(batched):  # a derivative has lanes and its point none; `alone` would recur
            found = function(*matrices)
            return found, jax.tree.map(lambda _: False, found)

        def one(chosen):
            each = iter(chosen)
            pairs = zip(matrices, batched, strict=True)
            return alone(*[next(each) if many else matrix for matrix, many in pairs])

        chosen = [matrix for matrix, many in zip(matrices, batched, strict=True) if many]
        found = jax.lax.map(one, chosen)
        return found, jax.tree.map(lambda _: True, found)

    @functools.partial(jax.jit, inline=True)  # so that none is compiled anew outside of programs
    def call(*matrices):
        return jax.lax.platform_dependent(*matrices, cpu=alone, default=function)

    return call


_eigh = _one_at_a_time(lambda matrix: tuple(jnp.linalg.eigh(matrix)))
_eigvalsh = _one_at_a_time(lambda matrix: jnp.linalg.eigvalsh(matrix))
_qr = _one_at_a_time(lambda matrix: tuple(jnp.linalg.qr(matrix)))
_svd = _one_at_a_time(lambda matrix: tuple(jnp.linalg.svd(matrix, full_matrices=False)))


@_one_at_a_time
def _lu(matrix):
    """JAX makes the order of the rows from LAPACK's exchanges in a loop of n turns, which takes as
    long as the factorisation. A column that numbers the rows tells it at once: where P A = L U, the
    factorisation turns the column v into L^{-1} P v, and L times that is P v."""
    size = len(matrix)
    numbers = jnp.arange(size, dtype=matrix.dtype)
    factors = jax.lax.linalg.lu(jnp.concatenate([matrix, numbers[:, None]], axis=1))[0]
    factors, ordered = factors[:, :size], factors[:, size]
    ordered = ordered + jnp.tril(factors, -1) @ ordered
    rows = jnp.clip(jnp.round(jax.lax.stop_gradient(ordered)), 0, size - 1)
    return factors, rows.astype(jnp.int32)


@_one_at_a_time
def _lu_solve(factors, right):
    for lower in (True, False):
        right = jax.lax.linalg.triangular_solve(
            factors, right, left_side=True, lower=lower, unit_diagonal=lower
        )
    return right


def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues, increasing, and eigenvectors of a symmetric matrix."""
    return _eigh(matrix)


def eigvalsh(matrix: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Eigenvalues, increasing, of a symmetric matrix."""
    return _eigvalsh(matrix)


def solve(matrix: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """matrix^{-1} right."""
    factors, rows = lu(matrix)
    return lu_solve(factors, right[rows])


def lu(matrix: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Int[Array, " n"]]:
    """L and U in one matrix, and the order of the rows that it is the factors of."""
    return _lu(matrix)


def lu_solve(factors: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """U^{-1} L^{-1} right, whose rows are in the order that `lu` returned."""
    return _lu_solve(factors, right)


def qr(matrix: Float[Array, "n m"]) -> tuple[Float[Array, "n k"], Float[Array, "k m"]]:
    """Q and R of the matrix, k = min(n, m)."""
    return _qr(matrix)


def svd(
    matrix: Float[Array, "n m"],
) -> tuple[Float[Array, "n k"], Float[Array, " k"], Float[Array, "k m"]]:
    """U, the singular values, decreasing, and V', k = min(n, m)."""
    return _svd(matrix)
