"""The root finder of implicit solvers: diffrax's, which takes rounding for divergence.

`diffrax.VeryChord` judges its iteration by the rate at which two updates in a row shrink: at a
rate above 2 it has diverged, and above 1 it never converges. Where the guess is the root to
rounding, both updates are rounding, and so is their rate. That happens at every step that is
short enough: of length 0, which ends at a time of `SaveAt(ts=...)` that is t0, or of a few ulp
between an event and a time to be saved. No shorter step helps, so that the run would end as
`step_collapsed`.
"""

import diffrax
import jax
import optimistix


class Chord(diffrax.VeryChord):
    """`diffrax.VeryChord`, for which an update below the tolerance is the last one.

    An update below `kappa` of the tolerance is what VeryChord itself asks for where it can tell
    the rate: a root that is a hundredth of the tolerance away.
    """

    # Wider than diffrax declares them: a traced tolerance of the flow.
    rtol: float | jax.Array  # pyright: ignore[reportIncompatibleVariableOverride]
    atol: float | jax.Array  # pyright: ignore[reportIncompatibleVariableOverride]

    def terminate(self, fn, y, args, options, state, tags):
        done, result = super().terminate(fn, y, args, options, state, tags)
        solved = state.result == optimistix.RESULTS.successful  # the linear system
        settled = (state.step >= 2) & solved & (state.diffsize <= self.kappa)
        successful = optimistix.RESULTS.successful
        return done | settled, optimistix.RESULTS.where(settled, successful, result)


def chord(finder: optimistix.AbstractRootFinder) -> optimistix.AbstractRootFinder:
    """`finder`, or a `Chord` in place of a VeryChord with the same settings."""
    if type(finder) is not diffrax.VeryChord:
        return finder
    return Chord(finder.rtol, finder.atol, finder.norm, finder.kappa, finder.linear_solver)
