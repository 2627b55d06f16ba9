"""The sliding units F of a neuron: G_FF^-1 applied, by one of two ways.

From the Gram matrix, by elimination: cheap where many units may slide. The squares of small
angles between inputs are lost in it, so that two boundaries less than 1e-8 apart are one.

From the inputs, by Gram and Schmidt: q_i = sum_j T_ij x_j orthonormal, so that G_FF^-1 = T' T,
which keeps angles down to rounding. For few boundaries, or where some inputs are nearly parallel.
"""

import jax
import jax.numpy as jnp

from ._thresholds import DEPENDENT, REGULARISATION


def eliminated(gram, free, matrices: list) -> list:
    """G_FF^-1 applied to the rows F of each matrix; the other rows become 0.

    By Gauss-Jordan elimination, which a positive definite system allows without pivoting; only
    the rows `free` differ from the identity. (They are a few of many places: as fast as LAPACK.)
    """
    pair = free[:, None] & free[None, :]
    diagonal = jnp.where(free, REGULARISATION * jnp.diag(gram), 1.0)
    system = jnp.where(pair, gram, 0.0) + jnp.diag(diagonal)

    def eliminate(carry):
        (system, *right), left = carry
        i = jnp.argmax(left)
        pivot, column = system[i, i], system[:, i][:, None]
        this = jnp.arange(len(left)) == i

        def without(matrix):
            row = matrix[i] / pivot
            return jnp.where(this[:, None], row, matrix - column * row)

        return [without(matrix) for matrix in (system, *right)], left & ~this

    right = [jnp.where(free[:, None], matrix, 0.0) for matrix in matrices]
    done, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]), eliminate, ([system, *right], free)
    )
    return done[1:]


def orthonormalised(inputs, free, matrices: list) -> list:
    """The same, from the inputs.

    An input in the span of those before it is left out: its row is 0 too. Each vector is made
    orthogonal twice, without which rounding would show again where inputs are nearly dependent.
    """
    size = inputs.shape[0]

    def orthonormalise(carry):
        q, t, left = carry
        i = jnp.argmax(left)
        this = jnp.arange(size) == i
        vector, weights = inputs[i], this.astype(jnp.float64)
        length = jnp.linalg.norm(vector)
        for _ in range(2):
            onto = q @ vector
            vector, weights = vector - onto @ q, weights - onto @ t
        rest = jnp.linalg.norm(vector)
        scale = jnp.where(rest > DEPENDENT * length, 1.0 / jnp.where(rest > 0.0, rest, 1.0), 0.0)
        q, t = (
            jnp.where(this[:, None], scale * new, old) for new, old in ((vector, q), (weights, t))
        )
        return q, t, left & ~this

    begin = (jnp.zeros_like(inputs), jnp.zeros((size, size)), free)
    _, t, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[2]), orthonormalise, begin)
    return [t.T @ (t @ matrix) for matrix in matrices]
