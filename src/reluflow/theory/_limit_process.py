"""What the flow tends to as lambda goes to 0: the jumps, and what follows from them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._model._network import Network
from .._support._checks import as_float64, is_concrete


class LimitProcess(eqx.Module):
    """The jumps of Algorithm 1 (2026), in their order, padded to min(samples, neurons).

    Times are in the accelerated clock s = t / ln(1/lambda); `times` converts them. Fields, with
    (jumps,) the padded length and any leading axes of a vmap in front:

        num_jumps: how many there are.
        jump_times: (jumps,) s at which each happens; inf for padding.
        neuron: (jumps,) the neuron that jumps, the first of its group; -1 for padding.
        group: (jumps, neurons) the neurons of equal masks and exponents, which act as one.
        fits: (jumps, samples) the samples it fits, I in Algorithm 1.
        squared_norms: (jumps,) a^2 + |w|^2 of the neuron, or of its group, after the jump; 0.
        gaps: (jumps,) by how much the first candidate from another group would have come later;
            inf where there is none. Where gaps * ln(1/lambda) is O(1), a flow of that lambda
            may jump in another order, or both at once.
        tied: (jumps,) whether that gap is rounding: the process is not unique here, and the
            neuron of the lower index was taken.
        losses: (jumps + 1,) L on the plateau before each jump, and after the last.
        unfittable: (samples,) y_k != 0, and no neuron can ever fit it: the loss stays positive.
        idle: (neurons,) no sample to fit: the neuron never grows. Its exponent is given as
            constant. One whose every component is along a sample and active there shrinks as
            long as |a_j| = |w_j| exactly, which is unstable: where |a_j| < |w_j| by a rounding,
            its a_j changes its sign in the end. (Possible with labels of one sign only.)
    """

    # the jumps
    num_jumps: Int[Array, "*#batch"]
    jump_times: Float[Array, "*#batch jumps"]
    neuron: Int[Array, "*#batch jumps"]
    group: Bool[Array, "*#batch jumps neurons"]
    fits: Bool[Array, "*#batch jumps samples"]
    squared_norms: Float[Array, "*#batch jumps"]
    losses: Float[Array, "*#batch plateaus"]
    # what it cannot say
    gaps: Float[Array, "*#batch jumps"]
    tied: Bool[Array, "*#batch jumps"]
    unfittable: Bool[Array, "*#batch samples"]
    idle: Bool[Array, "*#batch neurons"]
    # what the methods need: of the neuron that jumps, and of all on each plateau
    output: Float[Array, "*#batch jumps"]
    hidden: Float[Array, "*#batch jumps dim"]
    plateau_exponents: Float[Array, "*#batch plateaus neurons"]
    plateau_rates: Float[Array, "*#batch plateaus neurons"]

    @property
    def final_squared_norm(self) -> Float[Array, "*#batch"]:
        """|theta_inf|^2 = 2 sum_jumps |e| (2026, eq. 15)."""
        return jnp.sum(self.squared_norms, axis=-1)

    @property
    def interpolates(self) -> Bool[Array, "*#batch"]:
        """Whether the last loss is 0: every sample can be fitted by some neuron."""
        return ~jnp.any(self.unfittable, axis=-1)

    def times(self, log_lambda) -> Float[Array, "*#batch jumps"]:
        """The jump times in t = s ln(1/lambda), for lambda given by its natural logarithm.

        A flow is O(1) away from them, whatever its lambda: neurons start at lambda times
        factors of O(1), and turn to their directions within a time of O(1).
        """
        log_lambda = as_float64("log_lambda", log_lambda)
        if is_concrete(log_lambda) and not bool(jnp.all(log_lambda < 0.0)):
            raise ValueError(
                "Argument `log_lambda` must be negative, the logarithm of lambda < 1, but it is "
                f"{log_lambda}."
            )
        return -log_lambda * self.jump_times

    def exponents(self, s) -> Float[Array, "*times neurons"]:
        """q_j(s) = lim ln|w_j| / ln(1/lambda) (2026, eq. 11), piecewise linear, of one process.

        s: a scalar or shape (times,), not negative. After its jump a neuron has q_j = 0, and so
        has its group.
        """
        s = as_float64("s", s)
        if is_concrete(s) and not bool(jnp.all(s >= 0.0)):
            raise ValueError(f"Argument `s` must not be negative, but it is {s}.")
        plateau = jnp.searchsorted(self.jump_times, s, side="right")
        start = jnp.concatenate([jnp.zeros(1), self.jump_times])[plateau]
        return (
            self.plateau_exponents[plateau] + self.plateau_rates[plateau] * (s - start)[..., None]
        )

    def saddles(self) -> Network:
        """The networks on the plateaus, leading axis (jumps + 1,): 0, and after each jump.

        Everything that a group gains is put on `neuron`: how its members share it depends on
        how each turned, which the limit does not know (the function is the same; 2022, Lemma
        12). The padding repeats the last.
        """
        jumps, neurons = self.group.shape
        one = jnp.arange(neurons) == self.neuron[:, None]
        happened = jnp.tril(jnp.ones((jumps + 1, jumps)), -1)
        output = happened @ jnp.where(one, self.output[:, None], 0.0)
        hidden = jnp.where(one[..., None], self.hidden[:, None, :], 0.0)
        hidden = jnp.tensordot(happened, hidden, 1)
        return Network(jnp.zeros_like(output), output, hidden)

    def __str__(self) -> str:
        if self.jump_times.ndim > 1:
            return f"LimitProcess: leading axes {self.jump_times.shape[:-1]}"
        if not is_concrete(self.jump_times):
            return f"LimitProcess: traced, up to {self.jump_times.shape[-1]} jumps"
        count = int(self.num_jumps)
        lines = [f"LimitProcess: {count} jumps, |theta|^2 -> {float(self.final_squared_norm):.6g}"]
        for i in range(count):
            note = " (tied)" if self.tied[i] else ""
            lines.append(
                f"  s = {float(self.jump_times[i]):.6g}: neuron {int(self.neuron[i])} "
                f"({int(self.group[i].sum())} alike) fits {int(self.fits[i].sum())} samples, "
                f"loss {float(self.losses[i]):.4g} -> {float(self.losses[i + 1]):.4g}, "
                f"next candidate {float(self.gaps[i]):.3g} later{note}"
            )
        if self.unfittable.any():
            lines.append(f"  samples no neuron can fit: {np.flatnonzero(self.unfittable).tolist()}")
        return "\n".join(lines)
