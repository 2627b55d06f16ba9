"""Where a flow stands: all that it needs to go on."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._dynamics._field import Pattern, Problem
from .._events import on_boundary
from .._model import _modes
from .._model._arrangement import Arrangement
from .._model._network import Network
from .._model._shapes import PerNeuron, Scalar, UnitFlags, Units
from ._state import initial_balance

_PROJECTIONS = 3


class FlowState(eqx.Module):
    """A network and what its weights do not tell. `rf.flow(solution, t1=later)` goes on from it.

    Fields:
        time: the clock.
        net: the network.
        preactivation: <w_j, u_b>, over e^{log_scale}; 0 exactly on a boundary.
        balance: a_j^2 - |w_j|^2, likewise; the flow conserves it (2022, Lemma 1).
        pattern: the mode of every unit, and what holds those that slide.
        armed: which units have been clear of their boundaries since they last stood on them.
        pending: which neurons stand on boundaries and have not been told yet how to go on.
        step_size: of the next step, as the integrator wished it; inf where it is to choose.
    """

    time: Scalar
    net: Network
    preactivation: Units
    balance: PerNeuron
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]
    step_size: Scalar

    @classmethod
    def of(cls, problem: Problem, net: Network, time: Scalar, max_sliding: int) -> "FlowState":
        """Of bare weights: a unit within rounding of its boundary stands on it."""
        preactivation = net.hidden @ problem.normals.T
        size = jnp.sqrt(net.output**2 + jnp.sum(net.hidden**2, axis=1))
        exists, switches = problem.arrangement.exists(), problem.arrangement.switches()
        near = on_boundary(preactivation, size, problem.length) & switches
        pattern = Pattern.of(
            jnp.where(near, 0.0, preactivation), max_sliding, problem.arrangement.rays.shape[0]
        )
        # A neuron that is zero stays so: nothing is to be decided, and nothing happens to it.
        zero = size == 0.0
        mode = jnp.where(exists & ~switches, jnp.int8(_modes.ACTIVE), pattern.mode)
        mode = jnp.where(zero[:, None] | ~exists, jnp.int8(_modes.RESTING), mode)
        return cls(
            time=time,
            net=net,
            preactivation=preactivation,
            balance=initial_balance(net.output, net.hidden),
            pattern=eqx.tree_at(lambda p: p.mode, pattern, mode),
            armed=~near,
            pending=jnp.any(near, axis=1) & ~zero,
            step_size=jnp.array(jnp.inf),
        )

    def on(self, arrangement: Arrangement) -> "FlowState":
        """With the boundaries and rays of this arrangement, which is of the same inputs: where they
        are traced, there is room for more of both.

        Which rays a neuron at rest at w = 0 waits for is then asked again.
        """
        state, watched = self, self.pattern.watched
        if watched.shape[1] != arrangement.rays.shape[0]:
            pending = self.pending | jnp.any(watched, axis=1)
            none = jnp.zeros((watched.shape[0], arrangement.rays.shape[0]), bool)
            fields = (none, pending)
            state = eqx.tree_at(lambda s: (s.pattern.watched, s.pending), state, fields)
        old, new = self.pattern.mode.shape[1], arrangement.boundaries
        if old == new:
            return state

        def resized(leaf, fill):
            more = jnp.full((*leaf.shape[:-1], max(new - old, 0)), fill, leaf.dtype)
            return jnp.concatenate([leaf[..., :new], more], axis=-1)

        slots = self.pattern.slots
        return eqx.tree_at(
            lambda s: (
                s.preactivation,
                s.armed,
                s.pattern.mode,
                s.pattern.response,
                s.pattern.slots,
            ),
            state,
            (
                resized(self.preactivation, 0.0),
                resized(self.armed, True),
                resized(self.pattern.mode, _modes.RESTING),
                resized(self.pattern.response, 0.0),
                jnp.where(slots >= old, new, slots),
            ),
        )

    def held(self, problem: Problem) -> "FlowState":
        """With weights that tell, too, which units are on their boundaries.

        A step leaves some rounding of <w_j, u_b> there, which bare weights would take for a side.
        It is projected away, from all boundaries of a neuron at once; divided by the sums of the
        rows of their Gram matrix, no correction is larger than what it corrects.
        """
        # A unit that rested may have been pulled away since, by inputs that are not orthogonal to
        # its own: then it is clear of the boundary.
        mode = self.pattern.mode
        on = (mode == _modes.SLIDING) | ((mode == _modes.RESTING) & ~self.armed)
        along = jnp.where(on, 1.0, 0.0) @ jnp.abs(problem.gram)

        def project(_, hidden):
            left = jnp.where(on, hidden @ problem.normals.T, 0.0)
            return hidden - (left / jnp.maximum(along, problem.length**2)) @ problem.normals

        hidden = jax.lax.fori_loop(0, _PROJECTIONS, project, self.net.hidden)
        return eqx.tree_at(lambda s: s.net.hidden, self, hidden)
