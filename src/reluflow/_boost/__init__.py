"""Integrator B: collocation of the residual, with exact propagation of the neurons under it.

A step is, in the order of `_integrator`:

    predictor                       `_previous_step`, `_predictor`
    -> [ sweep                      `_sweep`
           smooth pass              `_smooth_pass`: neurons that meet no boundary
           event pass               `_event_pass`, `_advance`: the others, from event to event
         -> quasi-Newton correction `_quasi_newton`, `_iterate`
       ] until it is small
    -> error estimate               `_error_estimate`
    -> accepted, shortened, or ended at a kink of the residual; next step size  `_step_size`

The equations of a neuron are in `_propagator`, the nodes in `_collocation`. A generator is what
neurons move under, a basis the vectors in which their motion is written, a lane one of the flows
that `jax.vmap` integrates together.
"""

from ._integrator import BoostIntegrator as BoostIntegrator
from ._solver import Boost as Boost
from ._solver import field as field
