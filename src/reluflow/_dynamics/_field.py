"""The gradient flow on one activation pattern: a smooth vector field.

With alpha the pattern, F the pulls of the boundaries (see `_arrangement`) and
beta_jb = alpha_jb F_b^+ + (1 - alpha_jb) F_b^-,

    a_j' = 1/n sum_b beta_jb p_jb,      w_j' = (a_j / n) sum_b beta_jb u_b,
    p_jb = <w_j, u_b>,                  p_jb' = (a_j / n) sum_c beta_jc <u_c, u_b>.

The state of the solver is (a, c): c_jb is the coefficient of u_b gained by w_j since the
beginning of the step. The preactivations follow from it, p = p(start) + c G, rather than from w:
this makes an inactive preactivation of orthogonal inputs *exactly* constant, so that rounding can
never switch a dead neuron on (2022, Lemma 6), and it costs one product with the Gram matrix
instead of two with the inputs.

All quantities of a neuron are over its own e^{log_scale}: the ODE is linear in the neuron, only
the predictions see the scale, h_k = sum_j e^{2 s_j} a_j phi(c_k p_jb), b the boundary of k.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._model import _modes
from .._model._activation import AbstractActivation
from .._model._arrangement import Arrangement, Pulls
from .._model._dataset import Dataset
from .._model._losses import AbstractLoss, derivatives, square
from .._model._rays import Geometry
from .._model._shapes import (
    Gram,
    Labels,
    PerBoundary,
    PerNeuron,
    PerSample,
    Scalar,
    UnitModes,
    Units,
)

_ROUNDINGS = 64.0 * float(np.finfo(np.float64).eps)  # of a residual, in its largest terms


class Problem(eqx.Module):
    """What stays fixed along a trajectory: the data as the flow sees it, and the loss."""

    arrangement: Arrangement
    labels: Labels
    weights: Labels | None
    activation: AbstractActivation
    loss: AbstractLoss

    @classmethod
    def of(
        cls,
        data: Dataset,
        activation: AbstractActivation,
        loss: AbstractLoss = square,
        geometry: Geometry | None = None,
    ) -> "Problem":
        geometry = Geometry.of(data, activation) if geometry is None else geometry
        arrangement = Arrangement.of(data, geometry, activation)
        return cls(arrangement, data.y, data.weights, activation, loss)

    @property
    def plain(self) -> bool:
        """Whether the curvature of the loss is 1 for every sample, so that r' = -h'."""
        return self.loss.quadratic and self.weights is None

    def residual(self, h: PerSample) -> PerSample:
        """r_k = -omega_k dl/dh, with which a sample pulls; of the square loss, y_k - h_k."""
        return self._weighted(self.loss.residual(h, self._labels(h)))

    def curvature(self, h: PerSample) -> PerSample:
        """gamma_k = omega_k d2l/dh2: r' = -gamma h'."""
        return self._weighted(self.loss.curvature(h, self._labels(h)))

    def derivatives(self, h: PerSample, count: int) -> list[PerSample]:
        """The residual and its derivatives by h."""
        return derivatives(self.residual, h, count)

    def mean_loss(self, h: PerSample) -> Float[Array, "*#batch"]:
        """L."""
        return jnp.mean(self._weighted(self.loss(h, self._labels(h))), axis=-1)

    def _labels(self, h):
        return jnp.broadcast_to(self.labels, h.shape)

    def _weighted(self, values):
        return values if self.weights is None else self.weights * values

    @property
    def samples(self) -> int:
        return self.labels.shape[0]

    @property
    def normals(self) -> Float[Array, "boundaries dim"]:
        return self.arrangement.normals

    @property
    def gram(self) -> Gram:
        return self.arrangement.gram

    @property
    def length(self) -> PerBoundary:
        return self.arrangement.length

    def pulls(self, residual: PerSample) -> Pulls:
        return self.arrangement.pulls(residual)


class Neurons(eqx.Module):
    """Neurons on their way through a step: (a, c, p), in scaled coordinates."""

    output: PerNeuron
    combination: Units
    preactivation: Units


class Gain(eqx.Module):
    """The state of the solver: a, and the coefficients c gained since the step began.

    The preactivations follow, p = p(start) + c G; integrating them too would cost more than that
    product does.
    """

    output: PerNeuron
    combination: Units

    def on(self, start: "Neurons", pattern: "Pattern", problem: Problem) -> "Neurons":
        preactivation = start.preactivation + self.combination @ problem.gram
        if pattern.slots.shape[1] > 0:  # zero up to rounding: made exact
            preactivation = jnp.where(pattern.mode == _modes.SLIDING, 0.0, preactivation)
        return Neurons(self.output, self.combination, preactivation)


class Pattern(eqx.Module):
    """Which units are active, and what holds the sliding ones on their boundaries.

    mode: (neurons, boundaries), see `_modes`.
    slots: (neurons, max_sliding), the boundaries along which a neuron slides; their number where a
        slot is empty.
    response: (neurons, max_sliding, boundaries). On the sliding units S of a neuron,
        beta_S = -response @ F with response = G_SS^{-1} G_SA over the units A that something pulls
        at: the alpha that keeps p_S = 0. It changes only when a mode of the neuron does.
    watched: (neurons, rays), of a neuron at rest at w = 0: the rays along which no way leads out
        yet. It is asked again when one does.
    """

    mode: UnitModes
    slots: jax.Array
    response: jax.Array
    watched: Bool[Array, "neurons rays"]

    @classmethod
    def of(cls, preactivation: Units, max_sliding: int, rays: int) -> "Pattern":
        """Where no unit slides."""
        neurons, boundaries = preactivation.shape
        return cls(
            jnp.where(preactivation > 0.0, _modes.ACTIVE, _modes.INACTIVE).astype(jnp.int8),
            jnp.full((neurons, max_sliding), boundaries, jnp.int32),
            jnp.zeros((neurons, max_sliding, boundaries)),
            jnp.zeros((neurons, rays), bool),
        )

    def sliding_coefficients(self, pulls: Pulls) -> jax.Array:
        """beta on the slots, shape (neurons, max_sliding)."""
        if pulls.minus is None:
            each = "jk" if pulls.plus.ndim == 2 else "k"
            return -jnp.einsum(f"jsk,{each}->js", self.response, pulls.plus)
        return -jnp.einsum("jsk,jk->js", self.response, pulls.on(self.mode))

    def sliding_guards(self, pulls: Pulls) -> tuple[jax.Array, jax.Array]:
        """alpha (F^+ - F^-) and (1 - alpha) (F^+ - F^-) on the slots, both (neurons, max_sliding);
        0 where one is empty."""
        held = self.sliding_coefficients(pulls)
        low = held
        if pulls.minus is not None:
            low = held - self.in_slots(pulls.minus)
        return low, self.in_slots(pulls.jump) - low

    def in_slots(self, values: Array) -> Array:
        """Of values over boundaries, the same for all neurons or for each, those of the slots."""
        if values.ndim == 1:
            return values.at[self.slots].get(mode="fill", fill_value=0.0)
        rows = jnp.arange(values.shape[0])[:, None]
        return values.at[rows, self.slots].get(mode="fill", fill_value=0.0)

    def amplification(self, arrangement: Arrangement) -> tuple[jax.Array, jax.Array]:
        """By how much an error of the residual shows in the two guards of each slot, both (neurons,
        max_sliding). Inputs that are nearly orthogonal hold their units by a tiny part of the
        residual, which is known as much better."""
        size = jnp.abs(self.response)
        if arrangement.incidence is None:
            low = jnp.sum(size, axis=2)
            return low, 1.0 + low
        low = jnp.sum(size * arrangement.weight(), axis=2)
        return low, self.in_slots(arrangement.weight()) + low


def predictions(
    arrangement: Arrangement, neurons: Neurons, pattern: Pattern, weight: PerNeuron
) -> PerSample:
    """h_k = sum_j weight_j a_j phi(c_k p_jb), weight = e^{2 log_scale}."""
    return arrangement.predictions(*_sides(arrangement, neurons, pattern, weight))


def _sides(arrangement: Arrangement, neurons: Neurons, pattern: Pattern, weight: PerNeuron):
    """sum_j weight_j a_j p_jb of the neurons on the positive side of each boundary, and of those
    on the negative side, where something pulls there."""
    each, p = weight * neurons.output, neurons.preactivation
    positive = each @ jnp.where(pattern.mode == _modes.ACTIVE, p, 0.0)
    if arrangement.incidence is None:
        return positive, positive
    return positive, each @ jnp.where(pattern.mode == _modes.INACTIVE, p, 0.0)


def rounding_of(
    problem: Problem, neurons: Neurons, pattern: Pattern, weight: PerNeuron
) -> "Rounding":
    arrangement = problem.arrangement
    output, preactivation = jnp.abs(neurons.output), jnp.abs(neurons.preactivation)
    terms = Neurons(output, neurons.combination, preactivation)
    sizes = arrangement.magnitudes(*_sides(arrangement, terms, pattern, weight))
    if problem.plain:
        both = _ROUNDINGS * jnp.max(jnp.abs(problem.labels) + sizes)
        return jax.lax.stop_gradient(Rounding(both, both))
    h = predictions(arrangement, neurons, pattern, weight)
    of_residuals = problem.curvature(h) * sizes + jnp.abs(problem.residual(h))
    both = _ROUNDINGS * jnp.max(sizes), _ROUNDINGS * jnp.max(of_residuals)
    return jax.lax.stop_gradient(Rounding(*both))


class Rounding(eqx.Module):
    """What rounding may make of h, and of the residual: of the terms that h is a sum of, which may
    be much larger than h is, and of the labels. After convergence alpha = 0 / 0 is made of it."""

    of_predictions: Scalar
    of_residuals: Scalar


def coefficients(pulls: Pulls, pattern: Pattern) -> Units:
    """beta_jb, with the same pulls for all neurons or some for each."""
    beta = pulls.on(pattern.mode)
    if pattern.slots.shape[1] > 0:
        rows = jnp.arange(beta.shape[0])[:, None]
        held = pattern.sliding_coefficients(pulls)
        beta = beta.at[rows, pattern.slots].add(held, mode="drop")
    return beta


def velocity(neurons: Neurons, pattern: Pattern, weight: PerNeuron, problem: Problem) -> Neurons:
    """The field (a', c', p') of the module's equations on one pattern."""
    h = predictions(problem.arrangement, neurons, pattern, weight)
    beta = coefficients(problem.pulls(problem.residual(h)), pattern) / problem.samples
    combination = neurons.output[:, None] * beta
    preactivation = combination @ problem.gram
    if pattern.slots.shape[1] > 0:  # zero up to rounding: made exact
        preactivation = jnp.where(pattern.mode == _modes.SLIDING, 0.0, preactivation)
    return Neurons(jnp.sum(beta * neurons.preactivation, axis=1), combination, preactivation)


def kernel_trace(neurons: Neurons, pattern: Pattern, weight: PerNeuron, problem: Problem) -> Scalar:
    """A bound of the tangent kernel's eigenvalues, K = dh dh^T / n: its trace,

    1/n sum_jk weight_j (s_jk^2 a_j^2 |x_k|^2 + phi(<w_j, x_k>)^2), with s the larger slope where it
    slides.
    """
    arrangement, slides = problem.arrangement, pattern.mode == _modes.SLIDING
    values, slope = arrangement.at_samples(
        neurons.preactivation,
        (pattern.mode == _modes.ACTIVE) | slides,
        (pattern.mode == _modes.INACTIVE) | slides,
    )
    square = jnp.diag(arrangement.sample_gram())
    diagonal = slope**2 * (neurons.output**2)[:, None] * square + values**2
    return jnp.sum(weight[:, None] * diagonal) / problem.samples
