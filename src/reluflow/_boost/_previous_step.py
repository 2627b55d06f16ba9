"""The last accepted step: its residual continued beyond its end, and the step taken again."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dynamics._field import Problem
from .._dynamics._rest import Rest
from .._integration._results import RESULTS
from .._model._network import Network
from .._model._shapes import Hidden, PerSample, Scalar
from ._collocation import NODES, POINTS, TO_MODES
from ._collocation_problem import NodalValues, placed
from ._generator import Uncertainty
from ._interpolation import lagrange, lagrange_of_points
from ._neurons import Start, arrived
from ._predictor import DecayPredictor
from ._propagator import legendre
from ._record import Truncation
from ._small import small_product
from ._sweep import sweep

# The last polynomial is continued by at most so many of its lengths, and only where at the end of
# that its terms of this degree and above are at most this part of the residual.
_NEAR, _HIGH, _SMOOTH = 2.0, 4, 0.3


class PreviousStep(eqx.Module):
    """The neurons at the beginning of a step, and what they moved under."""

    begin: Scalar
    start: Start
    hidden: Hidden
    nodal_values: NodalValues
    uncertainty: Uncertainty
    rest: Rest  # where the flow is known to stand, there was no step
    decay: DecayPredictor  # by the kernel at the end

    def guess(self, length: Scalar, residual: PerSample) -> Float[Array, "nodes samples"]:
        """The residual at the nodes of the next step, of this length, at whose beginning it is
        `residual`: as the polynomial of the last step goes on, or, where its terms of high degree
        have a part in that, as it decays by the last kernel."""
        last = self.nodal_values.length
        ratio = length / jnp.where(last > 0.0, last, 1.0)
        times = length * jnp.asarray(NODES)
        modes = small_product(TO_MODES, self.nodal_values.nodes)
        terms = legendre(1.0 + ratio)[:, None] * modes
        high = jnp.sum(jnp.linalg.norm(terms[_HIGH:], axis=1))
        smooth = (last > 0.0) & (ratio <= _NEAR) & (high <= _SMOOTH * jnp.linalg.norm(residual))
        places = 1.0 + jnp.where(smooth, ratio, 0.0) * jnp.asarray(NODES)
        continued = jnp.where(smooth, small_product(legendre(places).T, modes), 0.0)
        # The residual of the neurons is not quite that of the polynomial: a unit that has left a
        # slide by the one would be driven back by the other, however short the step. In a long
        # step the difference decays.
        apart = residual - jnp.where(smooth, self.nodal_values.nodes[-1], 0.0)
        return jax.lax.stop_gradient(continued + self.decay.after(times, apart))

    def until(self, time: Scalar) -> NodalValues:
        """The same residual, as the unknowns of a step that ends at this time inside the step."""
        under = self.nodal_values
        length = jnp.where(under.length > 0.0, under.length, 1.0)
        share = (time - self.begin) / length
        # (At its bounds `jnp.clip` has half a derivative.)
        share = jnp.where((share >= 0.0) & (share <= 1.0), share, jnp.clip(share, 0.0, 1.0))
        nodes = small_product(lagrange(share * jnp.asarray(NODES)).T, under.nodes)
        fine = small_product(lagrange_of_points(share * jnp.asarray(POINTS)).T, under.fine)
        return NodalValues(nodes, fine, share * under.length)

    def standing(self, time: Scalar) -> Network:
        """At rest: the neurons are where they are, but for those that shrink."""
        scale = self.start.log_scale + self.rest.rates * (time - self.begin)
        return Network(scale, self.start.output, self.hidden)


def network_inside(problem: Problem, previous: PreviousStep, time: Scalar) -> Network:
    """The network at a time inside the step, as exact as its end, by another sweep."""
    under = previous.until(time)
    generator = under.generator(problem, previous.start.log_scale)
    given = (previous.uncertainty, placed(previous.start), jnp.array(False), Truncation.always())
    swept = sweep(problem, generator, previous.start, *given)
    start, hidden = arrived(problem, previous.start, previous.hidden, swept.end)
    net, result = Network(start.log_scale, start.output, hidden), swept.result
    stands = previous.rest.known
    net = jax.tree.map(lambda a, b: jnp.where(stands, a, b), previous.standing(time), net)
    # The step itself was fine: should they not get there this time, nobody else would tell.
    return result.error_if(net, (result != RESULTS.successful) & ~stands)
