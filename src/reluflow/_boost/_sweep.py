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
from ._course import Course, Uncertainty
from ._flight import fly, land
from ._neurons import Start
from ._path import weight_of
from ._pool import Lane, Track, through_events
from ._record import Record, Worth
from ._walk import Ended, Walk

_INTERVALS = len(POINTS) - 1


class Swept(eqx.Module):
    """h, residual: of the neurons at all points after the first, shape (points - 1, samples);
    kernels: at the nodes, (nodes, samples, samples); end: the neurons at the end."""

    h: Float[Array, "points samples"]
    residual: Float[Array, "points samples"]
    kernels: Float[Array, "nodes samples samples"]
    end: Ended
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
            Ended.departing(start),
            jax.tree.map(lambda leaf: leaf[0], record),
        )

    @property
    def result(self) -> RESULTS:
        record = self.record
        result = RESULTS.where(record.chatters, RESULTS.chattering, RESULTS.successful)
        return RESULTS.where(record.overflows, RESULTS.sliding_buffer_full, result)


def sweep(
    problem: Problem,
    course: Course,
    start: Start,
    uncertainty: Uncertainty,
    places: int,
    wants_kernels: Bool[Array, ""],
    of_use: Worth,
    pooled: bool = True,
) -> Swept:
    """Takes the neurons through the step: all together those that meet nothing, and the others
    each with its own events.

    places: for events. of_use: how far, if there are kinks; behind that the residual, the kernels
    and the end are none. pooled: under `jax.vmap`, the neurons of all lanes go through their events
        together; where that is not to be, as in a derivative, each lane waits for all others.
    """
    walk = Walk.depart(course, start)
    flight = fly(course, walk, uncertainty)
    growth, output = flight.growth(), flight.moves.end.output
    here = Here(weight_of(start.log_scale + growth), output, flight.preactivation)
    track, landed = Track.of(here, start.pattern.mode), land(course, walk, flight)
    lane = Lane(landed, start.log_scale, course, track, uncertainty, of_use)
    end, record, track = through_events(lane, places, pooled)
    here, arrangement = track.here(), problem.arrangement

    def at_nodes(_):
        nodes = jax.tree.map(lambda leaf: leaf[::2], here)
        return kernels(arrangement, end.pattern, track.mode[::2], nodes)

    useful, samples = jnp.isinf(record.useless_from), problem.samples
    none = jnp.zeros((NUM_NODES, samples, samples))
    of_nodes = run_if(wants_kernels & useful, at_nodes, none)
    h = predictions(arrangement, track.mode, here)
    return Swept(h, problem.residual(h), of_nodes, end, record)
