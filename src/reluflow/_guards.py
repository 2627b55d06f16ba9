"""The functions whose first zero ends a step.

    unit (j, k), not sliding    sigma_jk p_jk,  sigma = +1 where active, -1 where not
    slot of a sliding unit      alpha_jk |r_k| and (1 - alpha_jk) |r_k|: it leaves at alpha = 0 or 1
    neuron with sliding units   |a_j|: beyond its zero the boundaries repel
    the loss                    L - stop_loss

All are positive inside a pattern. They are laid out in one vector, in this order.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from . import _modes
from ._field import Neurons, Pattern, square_loss
from ._shapes import PerNeuron, PerSample, Scalar, Units


class Guards(eqx.Module):
    """The guards of one pattern; fixed during a step.

    sign: of a_j. Only a unit with a_j r_k < 0 slides, so -sign(a_j) is the sign of r_k there.
    residual_noise: the rounding of a residual.
    slack: (neurons, samples), added to the guard of a unit that has just been switched and is
        not clear of its boundary yet: zero up to rounding must not fire again.
    """

    pattern: Pattern
    weight: PerNeuron
    sign: PerNeuron
    slack: Units
    residual_noise: Scalar
    stop_loss: Scalar

    def values(self, neurons: Neurons, residual: PerSample) -> Float[Array, " guards"]:
        """The guards in one state on this pattern."""
        mode, slots = self.pattern.mode, self.pattern.slots
        # Below the rounding of a residual, alpha means nothing: a slot fires beyond it.
        slot = jnp.where(slots >= mode.shape[1], 1.0, self.residual_noise).ravel()
        constant = [
            jnp.where(mode == _modes.SLIDING, 1.0, self.slack).ravel(),
            slot,
            slot,
            1.0 - self._slides(),
            jnp.zeros((1,)),
        ]
        linear = self._linear(neurons, residual)
        # A stop_loss below 0 asks for none; the loss of extreme data may then overflow unheeded.
        remaining = jnp.where(self.stop_loss < 0.0, 1.0, square_loss(residual) - self.stop_loss)
        return jnp.concatenate([*linear, remaining[None]]) + jnp.concatenate(constant)

    def expansion(self, neurons: Neurons, residual) -> Float[Array, "orders guards"]:
        """Taylor coefficients of the guards from those of the state and of the residual."""
        linear = jax.vmap(lambda *of: jnp.concatenate(self._linear(*of)))(neurons, residual)
        orders = residual.shape[0]
        loss = [
            sum(jnp.mean(residual[k] * residual[i - k]) for k in range(i + 1)) / 2.0
            for i in range(orders)
        ]
        loss = jnp.where(self.stop_loss < 0.0, 0.0, jnp.stack(loss))
        terms = jnp.concatenate([linear, loss[:, None]], axis=1)
        here = jax.tree.map(lambda leaf: leaf[0], neurons)
        return terms.at[0].set(self.values(here, residual[0]))

    def _linear(self, neurons: Neurons, residual: PerSample) -> list:
        """The part of the first four kinds of guards that is linear in the state."""
        mode = self.pattern.mode
        side = jnp.where(mode == _modes.ACTIVE, 1.0, -1.0)
        units = jnp.where(mode == _modes.SLIDING, 0.0, side * neurons.preactivation)
        toward = -self.sign[:, None]
        low = toward * self.pattern.sliding_coefficients(residual)
        slots = self.pattern.slots
        high = toward * residual.at[slots].get(mode="fill", fill_value=0.0) - low
        outer = self._slides() * self.sign * neurons.output
        return [units.ravel(), low.ravel(), high.ravel(), outer]

    def _slides(self):
        slots = self.pattern.slots
        return jnp.any(slots < self.pattern.mode.shape[1], axis=1).astype(jnp.float64)


class Fired(eqx.Module):
    """Which guard fired, read off its place in the vector.

    neuron; sample (n where it is not of a unit); and what it is.
    """

    neuron: Int[Array, ""]
    sample: Int[Array, ""]
    arrives: Bool[Array, ""]
    leaves_low: Bool[Array, ""]
    leaves_high: Bool[Array, ""]
    outer_vanishes: Bool[Array, ""]
    loss_reached: Bool[Array, ""]

    @classmethod
    def at(cls, index: Int[Array, ""], pattern: Pattern) -> "Fired":
        neurons, samples = pattern.mode.shape
        width = pattern.slots.shape[1]
        units, slots = neurons * samples, neurons * width
        low, high, outer = index - units, index - units - slots, index - units - 2 * slots
        arrives = index < units
        leaves_low = (low >= 0) & (low < slots)
        leaves_high = (high >= 0) & (high < slots)
        outer_vanishes = (outer >= 0) & (outer < neurons)
        slot = jnp.where(leaves_low, low, high)
        leaves = leaves_low | leaves_high
        neuron = jnp.where(
            arrives, index // samples, jnp.where(leaves, slot // max(width, 1), outer)
        )
        sample = jnp.where(arrives, index % samples, samples)
        if width > 0:
            slot = jnp.clip(slot, 0, slots - 1)
            held = pattern.slots[slot // width, slot % width].astype(sample.dtype)
            sample = jnp.where(leaves, held, sample)
        return cls(
            jnp.clip(neuron, 0, neurons - 1),
            sample,
            arrives,
            leaves_low,
            leaves_high,
            outer_vanishes,
            outer >= neurons,
        )
