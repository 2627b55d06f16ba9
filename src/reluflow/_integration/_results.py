"""How a run ended: the codes, and what each advises."""

import inspect
import textwrap

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool


class RESULTS(eqx.Enumeration):
    """How an integration ended, and what to try where it did not end well.

    `sol.result == rf.RESULTS.successful` compares, `rf.RESULTS[sol.result]` is the message. The
    members, with their messages:
    """

    successful = ""
    loss_reached = "The loss fell to `stop_loss`, and the integration stopped there."
    rest_reached = "The flow came to rest, and the integration stopped there."
    max_steps_reached = (
        "The maximum number of attempted steps was reached before t1. Increase `max_steps`, "
        "loosen `rtol`, or use a solver of higher order."
    )
    event_buffer_full = (
        "More units changed their mode than the event buffer holds. Increase `max_events`."
    )
    sliding_buffer_full = (
        "A neuron reached more boundaries at once than the integrator has room for. Increase "
        "`max_sliding` of the integrator (at most min(samples, dim) are independent)."
    )
    step_collapsed = (
        "The step size fell to rounding without meeting the tolerance. Loosen `rtol`: float64 "
        "cannot resolve this flow any further."
    )
    chattering = (
        "A neuron kept switching without time moving on: its modes at this boundary are not "
        "determined to rounding. Perturb the initialisation or the data slightly, and see "
        "whether the flow is unique there (a repulsive boundary is not)."
    )
    invalid_argument = (
        "An argument that was traced, so that only the compiled program could look at it, is not "
        "one that rf.flow takes. With throw=True the error names it."
    )
    not_finite = "NaN or infinity appeared in the flow. Look for data or weights of extreme size."
    diverged = (
        "The loss became infinite or NaN, or the weights moved further than the fall of the loss "
        "allows: the step of the descent is too large. Reduce it."
    )


# Members are no attributes that `help` would show: they stand in the docstring.
RESULTS.__doc__ = f"{inspect.cleandoc(RESULTS.__doc__ or '')}\n\n" + "\n".join(
    textwrap.fill(
        f"{name}: {RESULTS[item] or 'The flow came to t1.'}", 92, subsequent_indent="    "
    )
    for name, item in RESULTS._name_to_item.items()
)


def tally_of(result: RESULTS) -> dict[str, int]:
    """How many lanes ended in which way, by the names of those ways; of concrete results."""
    counts = {name: int(np.sum(result == item)) for name, item in RESULTS._name_to_item.items()}
    return {name: count for name, count in counts.items() if count}


def ended_well(result: RESULTS) -> Bool[Array, "*#batch"]:
    """Whether a run came to an end that it was asked for."""
    good = (RESULTS.successful, RESULTS.loss_reached, RESULTS.rest_reached)
    return (result == good[0]) | (result == good[1]) | (result == good[2])
