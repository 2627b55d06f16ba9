"""What a progress meter can be shown beside the fraction that diffrax shows it."""

import abc
from collections.abc import Callable
from typing import Any

import diffrax
from jaxtyping import Array, Int

from .._model._shapes import Scalar


class AbstractFlowMeter(diffrax.AbstractProgressMeter):
    """A meter that sees time, steps, saves and loss; `rf.flow` then calls `show`, not `step`.

    A fraction of t1 says little of a flow: most of its work can lie at one drop of the loss.
    """

    @abc.abstractmethod
    def show(
        self,
        state: Any,
        time: Scalar,
        num_steps: Int[Array, ""],
        num_saved: Int[Array, ""],
        loss: Callable[[], Scalar],
    ) -> Any:
        """Called after every step and every save, in the compiled loop; returns the new state.

        Arguments:
            state: of the meter.
            time: the flow time that is reached.
            num_steps, num_saved: accepted and saved until then. Saves inside a step are written
                behind it, each at the price of a step.
            loss: L there, which costs an evaluation of the network: call it under a `cond`.
        """
