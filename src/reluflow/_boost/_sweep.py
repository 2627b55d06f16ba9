"""A sweep: all neurons through one step under a given residual, and the residual they leave."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._branch import run_if
from .._field import Problem
from .._results import RESULTS
from .._tangent_kernel import Here, kernels, predictions
from ._collocation import POINTS
from ._flight import fly, land
from ._neurons import Start
from ._path import weight_of
from ._pool import Lane, through_events
from ._record import Record, Worth
from ._walk import Course, Uncertainty, Walk

_INTERVALS = len(POINTS) - 1


class Swept(eqx.Module):
    """residual: y - h at all points after the first, shape (points - 1, samples);
    kernels: at the nodes, (nodes, samples, samples); end: the neurons at the end."""

    residual: Float[Array, "points samples"]
    kernels: Float[Array, "nodes samples samples"]
    end: Walk
    record: Record

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
    walk = land(course, walk, flight)
    meets = flight.safe < _INTERVALS
    growth, output = flight.growth(), flight.moves.end.output
    here = Here(weight_of(start.log_scale + growth), output, flight.preactivation)
    calm = eqx.tree_at(lambda h: h.weight, here, jnp.where(meets, 0.0, here.weight))
    lane = Lane(walk, start.log_scale, course, here, meets, uncertainty, of_use, wants_kernels)
    walk, record, added, theirs = through_events(lane, places, pooled)
    added = added + predictions(problem.arrangement, start.pattern.mode, calm)

    def with_kernels(theirs):
        at_nodes = jax.tree.map(lambda leaf: leaf[::2], calm)
        return theirs + kernels(
            problem.arrangement, start.pattern, start.pattern.mode[None], at_nodes
        )

    useful = jnp.isinf(record.useless_from)
    theirs = run_if(wants_kernels & useful, with_kernels, theirs)
    return Swept(problem.labels - added, theirs, walk, record)
