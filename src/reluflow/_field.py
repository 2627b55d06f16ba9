"""The gradient flow on one activation pattern: a smooth vector field.

With r the residual, alpha the pattern and beta_jk = alpha_jk r_k,

    a_j' = 1/n sum_k beta_jk p_jk,      w_j' = (a_j / n) sum_k beta_jk x_k,
    p_jk = <w_j, x_k>,                  p_jk' = (a_j / n) sum_l beta_jl <x_l, x_k>.

The state of the solver is (a, c): c_jk is the coefficient of x_k gained by w_j since the
beginning of the step. The preactivations follow from it, p = p(start) + c G, rather than from w:
this makes an inactive preactivation of orthogonal inputs *exactly* constant, so that rounding can
never switch a dead neuron on (2022, Lemma 6), and it costs one product with the Gram matrix
instead of two with the inputs.

All quantities of a neuron are over its own e^{log_scale}: the ODE is linear in the neuron, only
the predictions see the scale, h_k = sum_j e^{2 s_j} a_j relu(p_jk).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from . import _modes
from ._arrangement import Arrangement
from ._dataset import Dataset
from ._rays import Geometry
from ._shapes import Gram, Inputs, Labels, PerNeuron, PerSample, Scalar, UnitModes, Units

_ROUNDINGS = 64.0 * float(np.finfo(np.float64).eps)  # of a residual, in its largest terms


class Problem(eqx.Module):
    """What stays fixed along a trajectory: the data as the flow sees it."""

    arrangement: Arrangement
    labels: Labels

    @classmethod
    def of(cls, data: Dataset, geometry: Geometry | None = None) -> "Problem":
        geometry = Geometry.of(data) if geometry is None else geometry
        return cls(Arrangement.of(data, geometry), data.y)

    @property
    def inputs(self) -> Inputs:
        return self.arrangement.inputs

    @property
    def gram(self) -> Gram:
        return self.arrangement.gram

    @property
    def length(self) -> PerSample:
        return self.arrangement.length


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

    mode: (neurons, samples), see `_modes`.
    slots: (neurons, max_sliding), the samples along whose boundaries a neuron slides; `samples`
        where a slot is empty.
    response: (neurons, max_sliding, samples). On the sliding units S of a neuron,
        beta_S = -response @ r with response = G_SS^{-1} G_SA over the active units A: the alpha
        that keeps p_S = 0. It changes only when a mode of the neuron does.
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
        neurons, samples = preactivation.shape
        return cls(
            jnp.where(preactivation > 0.0, _modes.ACTIVE, _modes.INACTIVE).astype(jnp.int8),
            jnp.full((neurons, max_sliding), samples, jnp.int32),
            jnp.zeros((neurons, max_sliding, samples)),
            jnp.zeros((neurons, rays), bool),
        )

    def sliding_coefficients(self, residual: PerSample | Units) -> jax.Array:
        """beta = alpha r on the slots, shape (neurons, max_sliding)."""
        each = "jk" if residual.ndim == 2 else "k"
        return -jnp.einsum(f"jsk,{each}->js", self.response, residual)

    def amplification(self) -> tuple[jax.Array, jax.Array]:
        """By how much an error of the residual shows in alpha r and in (1 - alpha) r of each slot,
        both (neurons, max_sliding). Inputs that are nearly orthogonal hold their units by a tiny
        part of the residual, which is known as much better."""
        low = jnp.sum(jnp.abs(self.response), axis=2)
        return low, 1.0 + low


def predictions(neurons: Neurons, pattern: Pattern, weight: PerNeuron) -> PerSample:
    """h_k = sum_j weight_j a_j relu(p_jk), weight = e^{2 log_scale}."""
    active = jnp.where(pattern.mode == _modes.ACTIVE, neurons.preactivation, 0.0)
    return (weight * neurons.output) @ active


def residual_rounding(
    problem: Problem, neurons: Neurons, pattern: Pattern, weight: PerNeuron
) -> Scalar:
    """What rounding may make of the residual: of the labels, and of the terms that h is a sum of,
    which may be much larger than h is. After convergence alpha = 0 / 0 is made of it."""
    terms = Neurons(jnp.abs(neurons.output), neurons.combination, neurons.preactivation)
    largest = jnp.max(jnp.abs(problem.labels) + predictions(terms, pattern, weight))
    return jax.lax.stop_gradient(_ROUNDINGS * largest)


def coefficients(residual: PerSample | Units, pattern: Pattern) -> Units:
    """beta_jk = alpha_jk r_k, with one residual for all neurons or one for each."""
    beta = jnp.where(pattern.mode == _modes.ACTIVE, residual, 0.0)
    if pattern.slots.shape[1] > 0:
        rows = jnp.arange(beta.shape[0])[:, None]
        held = pattern.sliding_coefficients(residual)
        beta = beta.at[rows, pattern.slots].add(held, mode="drop")
    return beta


def velocity(neurons: Neurons, pattern: Pattern, weight: PerNeuron, problem: Problem) -> Neurons:
    """The field (a', c', p') of the module's equations on one pattern."""
    samples = problem.labels.shape[0]
    residual = problem.labels - predictions(neurons, pattern, weight)
    beta = coefficients(residual, pattern) / samples
    combination = neurons.output[:, None] * beta
    preactivation = combination @ problem.gram
    if pattern.slots.shape[1] > 0:  # zero up to rounding: made exact
        preactivation = jnp.where(pattern.mode == _modes.SLIDING, 0.0, preactivation)
    return Neurons(jnp.sum(beta * neurons.preactivation, axis=1), combination, preactivation)


def kernel_trace(neurons: Neurons, pattern: Pattern, weight: PerNeuron, problem: Problem) -> Scalar:
    """A bound of the tangent kernel's eigenvalues, K = dh dh^T / n: its trace,

    1/n sum_jk weight_j (alpha_jk a_j^2 |x_k|^2 + relu(p_jk)^2), with alpha = 1 where it slides.
    """
    touched = (pattern.mode == _modes.ACTIVE) | (pattern.mode == _modes.SLIDING)
    outer = (neurons.output**2)[:, None] * problem.length**2
    diagonal = jnp.where(touched, outer + neurons.preactivation**2, 0.0)
    return jnp.sum(weight[:, None] * diagonal) / problem.labels.shape[0]


def square_loss(residual: PerSample) -> Scalar:
    """L = 1/(2n) sum_k r_k^2."""
    return jnp.mean(residual**2) / 2.0
