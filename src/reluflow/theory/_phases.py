"""When each phase of the training is over, as the 2022 paper bounds it (Fig. 1, Lemmas 2-4)."""

import equinox as eqx
import jax.numpy as jnp

from .._model._dataset import Dataset
from .._model._shapes import Scalar
from .._support._checks import as_float64, check_ndim, is_concrete
from ._alignment import D_minus, D_plus
from ._orthogonal import lengths, require_orthogonal


class Phases(eqx.Module):
    """Times in the papers' t. 'First' is the sign whose |D| is the larger; the paper's D_+.

    epsilon: the margin, in (0, 1).
    first_sign: 1.0 or -1.0.
    alignment: t_1 = -eps ln(lambda) / |D_second|. All norms are below 2 c lambda^(1 - r eps)
        here, r = |D_first| / |D_second| (Lemma 2).
    first_drop: -ln(lambda) / |D_first|, about which the labels of the first sign are
        fitted; the jump time of the limit process.
    first_fitted: t_2 <= -(1 + 3 eps) ln(lambda) / |D_first| (Lemma 3), where the saddle
        begins (Fact 1).
    saddle_left: -(1 - eps) ln(lambda) / |D_second|, where it ends (Fact 1).
    second_drop: -ln(lambda) / |D_second|.
    second_fitted: t_3 <= -(1 + 3 r eps) ln(lambda) / |D_second| (Lemma 4).
    rate: the loss falls at least as e^{-rate t} from there (Lemma 5): |D_second|.
    """

    epsilon: Scalar
    first_sign: Scalar
    alignment: Scalar
    first_drop: Scalar
    first_fitted: Scalar
    saddle_left: Scalar
    second_drop: Scalar
    second_fitted: Scalar
    rate: Scalar


def largest_epsilon(data: Dataset) -> Scalar:
    """The largest eps that the proof admits (2022, appendix B.1), for orthogonal inputs:

        (1 + 3 eps) max(1 - alpha, 1 / r) <= 1 - eps,    (1 + 3 r eps) (1 - beta) <= 1 - eps,
        alpha = min_{first} (y_k |x_k|)^2 / (2 n^2 |D_first|^2), beta the same for the second.

    alpha and beta are how much slower a neuron grows that misses one sample of its sign:
    (|D|^2 - (y_k |x_k| / n)^2)^(1/2) <= (1 - alpha) |D|. The paper prints them without n^2,
    with which they would not be below 1.
    """
    first, second, sign = _norms(data)
    return _largest_epsilon(data, first, second, sign)


def phases(data: Dataset, log_lambda, *, epsilon=None) -> Phases:
    """The timeline of 2022, Fig. 1, for lambda given by its natural logarithm.

    Its claims are about lambda <= lambda*, which the paper does not give; `Phases` says what is
    claimed. Needs Assumptions 1 to 3 (see `assumptions`).

    Arguments:
        data: orthogonal inputs and labels of both signs.
        log_lambda: ln(lambda), negative.
        epsilon: in (0, 1); the largest that the proof admits where not given.
    """
    log_lambda = as_float64("log_lambda", log_lambda)
    if is_concrete(log_lambda) and not bool(jnp.all(log_lambda < 0.0)):
        raise ValueError(f"Argument `log_lambda` must be negative, but it is {log_lambda}.")
    first, second, sign = _norms(data)
    if epsilon is None:
        epsilon = _largest_epsilon(data, first, second, sign)
    else:
        epsilon = as_float64("epsilon", epsilon)
        check_ndim("epsilon", epsilon, ())
        if is_concrete(epsilon) and not bool((epsilon > 0.0) & (epsilon < 1.0)):
            raise ValueError(f"Argument `epsilon` must be in (0, 1), but it is {epsilon}.")
    size, r = -log_lambda, first / second
    return Phases(
        epsilon=epsilon,
        first_sign=sign,
        alignment=epsilon * size / second,
        first_drop=size / first,
        first_fitted=(1.0 + 3.0 * epsilon) * size / first,
        saddle_left=(1.0 - epsilon) * size / second,
        second_drop=size / second,
        second_fitted=(1.0 + 3.0 * r * epsilon) * size / second,
        rate=second,
    )


def _norms(data: Dataset) -> tuple[Scalar, Scalar, Scalar]:
    """The larger and the smaller of |D_+|, |D_-|, and the sign of the larger."""
    require_orthogonal(data, "the timeline of the phases")
    if is_concrete(data.y) and not (bool(jnp.any(data.y > 0.0)) and bool(jnp.any(data.y < 0.0))):
        raise ValueError("Argument `data` must have labels of both signs, but it does not.")
    plus, minus = jnp.linalg.norm(D_plus(data)), jnp.linalg.norm(D_minus(data))
    sign = jnp.where(plus >= minus, 1.0, -1.0)
    return jnp.maximum(plus, minus), jnp.minimum(plus, minus), sign


def _largest_epsilon(data: Dataset, first: Scalar, second: Scalar, sign: Scalar) -> Scalar:
    pull = (data.y * lengths(data) / data.samples) ** 2

    def slower(norm, which):
        return jnp.min(jnp.where(which, pull, jnp.inf)) / (2.0 * norm**2)

    alpha = slower(first, sign * data.y > 0.0)
    beta = slower(second, sign * data.y < 0.0)
    r = first / second
    slowest = jnp.maximum(1.0 - alpha, 1.0 / r)
    by_first = (1.0 - slowest) / (1.0 + 3.0 * slowest)
    by_second = beta / (1.0 + 3.0 * r * (1.0 - beta))
    return jnp.minimum(by_first, by_second)
