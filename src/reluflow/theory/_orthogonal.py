"""What orthogonal inputs have in common: the checks for them, and who can fit what."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._model._dataset import Dataset
from .._model._network import Network, check_as_in_papers, check_paper_pair
from .._model._shapes import PerSample, UnitFlags
from .._support._checks import check_type, is_concrete

# Lengths of inputs that are normalised up to the rounding of a QR factor.
UNIT_LENGTH = 1e-12


def require_orthogonal(data: Dataset, what: str) -> None:
    """Raises unless the inputs are orthogonal to rounding; silent where they are traced."""
    check_type("data", data, Dataset)
    check_as_in_papers(data=data)
    if is_concrete(data.x) and not data.is_orthogonal():
        raise ValueError(
            f"Argument `data` must have orthogonal inputs, but it does not: {what} holds for "
            "these alone."
        )


def require_orthonormal(data: Dataset, what: str) -> None:
    """Raises unless the inputs are orthonormal to rounding; silent where they are traced."""
    require_orthogonal(data, what)
    if not is_concrete(data.x):
        return
    with jax.ensure_compile_time_eval():
        length = np.asarray(lengths(data))
    off = np.flatnonzero(np.abs(length - 1.0) > UNIT_LENGTH)
    if len(off):
        raise ValueError(
            f"Argument `data` must have inputs of length 1, but |x[{off[0]}]| is "
            f"{length[off[0]]}: {what} holds for these alone."
        )


def masks(net: Network, data: Dataset) -> UnitFlags:
    """M_jk: <w_j, x_k> > 0 and a_j y_k > 0, that is, neuron j can fit sample k.

    A unit exactly on its boundary is False: with sigma'(0) = 0 and orthogonal inputs its
    preactivation has velocity 0, and it never becomes active (2022, Lemma 6).

    Source: 2026 paper, Assumption 4 (there with samples as rows).
    """
    check_paper_pair(net, data)
    return (net.preactivations(data.x) > 0.0) & (net.output[:, None] * data.y > 0.0)


def is_one_to_one(mask: UnitFlags, counted: Bool[Array, " neurons"]) -> Bool[Array, ""]:
    """2026, Assumption 4(i), of a mask: every sample and every neuron has a partner, and no two
    neurons the same samples; of the neurons that are counted."""
    mask = (mask & counted[:, None]).astype(jnp.float64)
    common, own = mask @ mask.T, jnp.sum(mask, axis=1)
    same = (common == own) & (common == own[:, None]) & ~jnp.eye(len(own), dtype=bool)
    pairs = counted[:, None] & counted
    alone, idle = jnp.sum(mask, axis=0) == 0.0, counted & (own == 0.0)
    return ~(jnp.any(alone) | jnp.any(idle) | jnp.any(same & pairs))


def lengths(data: Dataset) -> PerSample:
    """|x_k|."""
    return jnp.linalg.norm(data.x, axis=1)
