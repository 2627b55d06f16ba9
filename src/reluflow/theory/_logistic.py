"""One cluster of aligned neurons grows logistically (2022, section 4.2)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._model._dataset import Dataset
from .._support._checks import as_float64, is_concrete
from ._alignment import D_minus, D_plus
from ._orthogonal import require_orthonormal


def logistic_law(t, log_u0, data: Dataset, *, sign: int = 1) -> Float[Array, "*times"]:
    """u(t), see `log_logistic_law`; 0 where that is below -745."""
    return jnp.exp(log_logistic_law(t, log_u0, data, sign=sign))


def log_logistic_law(t, log_u0, data: Dataset, *, sign: int = 1) -> Float[Array, "*times"]:
    """ln u(t) with u' = 2 |D| (1 - u / (n |D|)) u, u(0) = e^{log_u0}, and D = D_+ or D_-:

        u = n |D| / (1 + (n |D| / u(0) - 1) e^{-2 |D| t}).

    u is the sum of |w_j|^2 over balanced neurons aligned with D_+ (or -D_-), the others at zero,
    for orthonormal inputs: exact for the flow from there, and what the flow from a small
    initialisation follows in its second (third) phase.

    Arguments:
        t: times, any shape.
        log_u0: ln u(0), below ln(n |D|); its own logarithm, as u(0) = lambda^2 may underflow.
        sign: 1 for D_+, -1 for D_-.

    Source: 2022 paper, section 4.2, 'Fitting positive labels'.
    """
    require_orthonormal(data, "the logistic law")
    if not np.isscalar(sign) or sign not in (1, -1):
        raise ValueError(f"Argument `sign` must be 1 or -1, but it is {sign!r}.")
    t, log_u0 = as_float64("t", t), as_float64("log_u0", log_u0)
    rate = jnp.linalg.norm(D_plus(data) if sign == 1 else D_minus(data))
    log_limit = jnp.log(data.samples * rate)
    below = log_u0 - log_limit
    if is_concrete(below) and not bool(jnp.all(below < 0.0)):
        raise ValueError(
            f"Argument `log_u0` must be below ln(n |D|) = {float(log_limit):.6g}, but it is "
            f"{float(jnp.max(log_u0)):.6g}: u does not grow from there."
        )
    # ln(u / (limit - u)) is linear in t.
    logit = below - jnp.log1p(-jnp.exp(below))
    return log_limit + jax.nn.log_sigmoid(logit + 2.0 * rate * t)
