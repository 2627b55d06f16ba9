"""How fast the loss must fall: |grad L|^2 over L, at one network (2022, Lemma 5)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from .._model._shapes import Scalar
from .._support._factorisations import eigvalsh
from ._alignment import D_minus, D_plus
from ._kernel import active_units, neural_tangent_kernel
from ._orthogonal import lengths, require_orthogonal

# With J = dh/dtheta (samples, weights) and K = J J^T / n: grad L = -J^T r / n, L = |r|^2 / 2n, so
#     |grad L|^2 / L = 2 r^T K r / |r|^2 >= 2 lambda_min(K),
# which is attained where the residual is an eigenvector.


def pl_ratio(net: Network, data: Dataset) -> Scalar:
    """|grad L|^2 / L = 2 r^T K r / |r|^2, the rate at which ln(1/L) grows; NaN at L = 0."""
    check_paper_pair(net, data)
    residual = data.y - net(data.x)
    size = jnp.max(jnp.abs(residual))
    unit = residual / jnp.where(size > 0.0, size, jnp.nan)
    kernel = neural_tangent_kernel(net, data)
    return 2.0 * (unit @ kernel @ unit) / (unit @ unit)


def pl_constant(net: Network, data: Dataset) -> Scalar:
    """inf |grad L|^2 / L over all labels, at this network: 2 lambda_min(K).

    The largest c with |grad L|^2 >= c L here whatever the residual is; near an interpolator it
    is the local constant for the labels at hand, up to the distance from it. For any inputs.
    """
    return 2.0 * eigvalsh(neural_tangent_kernel(net, data))[0]


def pl_lower_bound(net: Network, data: Dataset) -> Scalar:
    """(2/n) min_k |x_k|^2 sum_j alpha_jk a_j^2 <= |grad L|^2 / L, for orthogonal inputs.

    It leaves out the part of K that the outer weights contribute, which is positive
    semidefinite; the rest is diagonal. Compare the proof of 2022, Lemma 14.
    """
    check_paper_pair(net, data)
    require_orthogonal(data, "this lower bound")
    active = active_units(net, data).astype(net.hidden.dtype)
    squares = jnp.exp(2.0 * net.log_scale) * net.output**2
    return 2.0 / data.samples * jnp.min(lengths(data) ** 2 * (squares @ active))


def pl_lemma_5(data: Dataset) -> Float[Array, ""]:
    """min(|D_+|, |D_-|), of those that are not 0: the constant of 2022, Lemma 5 and 15.

    Valid near minimal-norm interpolators of orthonormal data. At the interpolator itself
    `pl_constant` is at least twice that.
    """
    norms = jnp.stack([jnp.linalg.norm(D_plus(data)), jnp.linalg.norm(D_minus(data))])
    return jnp.min(jnp.where(norms > 0.0, norms, jnp.inf))
