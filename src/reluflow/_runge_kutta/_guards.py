"""The functions whose first zero ends a step.

    unit (j, b), not sliding    sigma_jb p_jb,  sigma = +1 where active, -1 where not
    slot of a sliding unit      alpha |F^+ - F^-| and (1 - alpha) |F^+ - F^-|: it leaves at
                                alpha = 0 or 1
    neuron with sliding units   |a_j|: beyond its zero the boundaries repel
    sign of a_j, ray u          -sign(a_j) E(u), of neurons at rest at w = 0: where it is negative,
                                a way leads out
    the loss                    L - stop_loss

All are positive inside a pattern. They are laid out in one vector, in this order.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import Neurons, Pattern, Problem
from .._events import Fired
from .._model import _modes
from .._model._shapes import PerNeuron, PerSample, Scalar, UnitFlags, Units
from ._taylor import Expansion


class Guards(eqx.Module):
    """The guards of one pattern; fixed during a step.

    sign: of a_j. Only a unit with a_j (F^+ - F^-) < 0 slides, so -sign(a_j) is the sign of that.
    residual_noise: the rounding of a residual.
    slack: (neurons, boundaries), added to the guard of a unit: what is on its boundary to rounding,
        since it has just been switched or only tends to it, does not fire.
    """

    problem: Problem
    pattern: Pattern
    weight: PerNeuron
    sign: PerNeuron
    slack: Units
    residual_noise: Scalar
    stop_loss: Scalar

    def values(self, neurons: Neurons, h: PerSample) -> Float[Array, " guards"]:
        """The guards in one state on this pattern, with these predictions."""
        mode, slots = self.pattern.mode, self.pattern.slots
        # Below the rounding of a residual, alpha means nothing: a slot fires beyond it.
        noise = [self.residual_noise * part for part in self._amplification()]
        low, high = (jnp.where(slots >= mode.shape[1], 1.0, part).ravel() for part in noise)
        constant = [
            jnp.where(self._moves(), self.slack, 1.0).ravel(),
            low,
            high,
            1.0 - self._slides(),
            jnp.where(self._watches(), self.residual_noise, 1.0).ravel(),
            jnp.zeros((1,)),
        ]
        linear = self._linear(neurons, self.problem.residual(h))
        # A stop_loss below 0 asks for none; the loss of extreme data may then overflow unheeded.
        left = self.problem.mean_loss(h) - self.stop_loss
        remaining = jnp.where(self.stop_loss < 0.0, 1.0, left)
        return jnp.concatenate([*linear, remaining[None]]) + jnp.concatenate(constant)

    def expansion(self, around: Expansion) -> Float[Array, "orders guards"]:
        """Taylor coefficients of the guards from those of the state."""
        neurons = around.neurons
        linear = jax.vmap(lambda *of: jnp.concatenate(self._linear(*of)))(neurons, around.residual)
        loss = jnp.where(self.stop_loss < 0.0, 0.0, around.loss(self.problem))
        terms = jnp.concatenate([linear, loss[:, None]], axis=1)
        here = jax.tree.map(lambda leaf: leaf[0], neurons)
        return terms.at[0].set(self.values(here, around.h[0]))

    def _linear(self, neurons: Neurons, residual: PerSample) -> list:
        """The part of the guards, but the last, that is linear in the state."""
        mode = self.pattern.mode
        side = jnp.where(mode == _modes.ACTIVE, 1.0, -1.0)
        units = jnp.where(self._moves(), side * neurons.preactivation, 0.0)
        toward = -self.sign[:, None]
        pulls = self.problem.pulls(residual)
        low, high = (toward * part for part in self.pattern.sliding_guards(pulls))
        outer = self._slides() * self.sign * neurons.output
        rises = -jnp.array(SIGNS)[:, None] * self.problem.arrangement.rises(pulls)
        appear = jnp.where(self._watches(), rises, 0.0)
        return [units.ravel(), low.ravel(), high.ravel(), outer, appear.ravel()]

    def _amplification(self):
        return self.pattern.amplification(self.problem.arrangement)

    def _moves(self) -> UnitFlags:
        """The units that may meet their boundaries."""
        return (self.pattern.mode != _modes.SLIDING) & self.problem.arrangement.switches()

    def _slides(self):
        slots = self.pattern.slots
        return jnp.any(slots < self.pattern.mode.shape[1], axis=1).astype(jnp.float64)

    def _watches(self) -> Bool[Array, "signs rays"]:
        """For each sign of a_j, 1 and -1, the rays that some neuron at rest at w = 0 waits for."""
        return jnp.stack([jnp.any(watches(self.pattern, self.sign, s), axis=0) for s in SIGNS])


SIGNS = (1.0, -1.0)


def watches(pattern: Pattern, sign: PerNeuron, which) -> Bool[Array, "neurons rays"]:
    """The rays that neurons with this sign of a_j wait for."""
    return pattern.watched & (sign == which)[:, None]


class Which(eqx.Module):
    """The guard that fired, read off its place in the vector: of which neuron, and what it is.

    fired.boundary is the number of boundaries, where it is not of a unit.
    """

    neuron: Int[Array, ""]
    fired: Fired
    loss_reached: Bool[Array, ""]

    @classmethod
    def at(cls, index: Int[Array, ""], guards: Guards, starts: Bool[Array, ""]) -> "Which":
        pattern = guards.pattern
        neurons, boundaries = pattern.mode.shape
        width, rays = pattern.slots.shape[1], pattern.watched.shape[1]
        lengths = (neurons * boundaries, neurons * width, neurons * width, neurons, 2 * rays)
        ends = np.cumsum(lengths)
        place = [index - begin for begin in (0, *ends)]
        of_kind = [(p >= 0) & (p < n) & ~starts for p, n in zip(place, lengths, strict=False)]
        arrives, low, high, vanishes, appears = of_kind
        slot = jnp.where(low, place[1], place[2])
        leaves = low | high
        # (Not `//` and `%`, which ask for the signs of numbers that have none.)
        div, rem = jax.lax.div, jax.lax.rem
        wide, several = (jnp.array(max(n, 1), index.dtype) for n in (width, rays))
        unit = jnp.array(boundaries, index.dtype)
        neuron = jnp.where(arrives, div(index, unit), place[3])
        neuron = jnp.where(leaves, div(slot, wide), neuron)
        boundary = jnp.where(arrives, rem(index, unit), boundaries)
        if width > 0:
            slot = jnp.clip(slot, 0, neurons * width - 1)
            held = pattern.slots[div(slot, wide), rem(slot, wide)].astype(boundary.dtype)
            boundary = jnp.where(leaves, held, boundary)
        ray = rem(jnp.clip(place[4], 0, max(2 * rays - 1, 0)), several)
        if rays > 0:
            sign = jnp.where(place[4] < rays, *SIGNS)
            waits = watches(pattern, guards.sign, sign)[:, ray]
            neuron = jnp.where(appears, jnp.argmax(waits), neuron)
        fired = Fired(boundary, ray, arrives, low, high, vanishes, starts, appears)
        return cls(jnp.clip(neuron, 0, neurons - 1), fired, (place[5] >= 0) & ~starts)
