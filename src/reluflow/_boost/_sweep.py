"""A sweep: all neurons through one step under a given residual, and the residual they leave."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._branch import run_if
from .._field import Problem
from .._results import RESULTS
from .._tangent_kernel import Here, kernels, predictions
from ._collocation import NUM_NODES, POINTS
from ._event_pass import Lane, PointValues, event_pass
from ._generator import Generator, Uncertainty
from ._moving_neurons import MovingNeurons, StepEnd
from ._neurons import Start
from ._propagator import weight_of
from ._record import Record, Truncation
from ._smooth_pass import smooth_pass, undisturbed_end

_INTERVALS = len(POINTS) - 1


class Swept(eqx.Module):
    """h, residual: of the neurons at all points after the first, shape (points - 1, samples);
    kernels: at the nodes, (nodes, samples, samples); end: the neurons at the end."""

    h: Float[Array, "points samples"]
    residual: Float[Array, "points samples"]
    kernels: Float[Array, "nodes samples samples"]
    end: StepEnd
    record: Record

    @classmethod
    def none(cls, problem: Problem, start: Start, places: int) -> "Swept":
        """Of the shapes of a sweep from here."""
        record = Record.empty(1, places, problem.arrangement.boundaries)
        nothing = jnp.zeros((_INTERVALS, problem.samples))
        return cls(
            nothing,
            nothing,
            jnp.zeros((NUM_NODES, problem.samples, problem.samples)),
            StepEnd.at_start(start),
            jax.tree.map(lambda leaf: leaf[0], record),
        )

    @property
    def result(self) -> RESULTS:
        record = self.record
        result = RESULTS.where(record.chatters, RESULTS.chattering, RESULTS.successful)
        return RESULTS.where(record.overflows, RESULTS.sliding_buffer_full, result)


def sweep(
    problem: Problem,
    generator: Generator,
    start: Start,
    uncertainty: Uncertainty,
    places: int,
    wants_kernels: Bool[Array, ""],
    truncation: Truncation,
    compacted: bool = True,
) -> Swept:
    """Propagates the neurons through the step: those that meet no boundary all together, and the
    others each with its own events.

    places: for events. truncation: at which kinks to stop; behind that the residual, the kernels
        and the end are none. compacted: under `jax.vmap`, the neurons of all lanes go through their
        events together; otherwise, as in a derivative, each lane waits for all others.
    """
    moving = MovingNeurons.at_start(generator, start)
    smooth = smooth_pass(generator, moving, uncertainty)
    growth, output = smooth.growth(), smooth.propagations.end.output
    here = Here(weight_of(start.log_scale + growth), output, smooth.preactivation)
    point_values, undisturbed = (
        PointValues.of(here, start.pattern.mode),
        undisturbed_end(generator, moving, smooth),
    )
    lane = Lane(undisturbed, start.log_scale, generator, point_values, uncertainty, truncation)
    end, record, point_values = event_pass(lane, places, compacted)
    here, arrangement = point_values.here(), problem.arrangement

    def at_nodes(_):
        nodes = jax.tree.map(lambda leaf: leaf[::2], here)
        return kernels(arrangement, end.pattern, point_values.mode[::2], nodes)

    useful, samples = jnp.isinf(record.useless_from), problem.samples
    none = jnp.zeros((NUM_NODES, samples, samples))
    of_nodes = run_if(wants_kernels & useful, at_nodes, none)
    h = predictions(arrangement, point_values.mode, here)
    return Swept(h, problem.residual(h), of_nodes, end, record)
