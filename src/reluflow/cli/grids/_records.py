"""What can be measured at a point of a grid, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from . import _quantities
from ._measured import Measured

_NEAR = 0.01  # of the minimal norm: what counts as having come to it


@dataclass(frozen=True)
class Record:
    """One of the names. `of` is what has to be computed for it: the start alone, the process of
    lambda -> 0, the flow, or the flow with what it passes through. symbol: on an axis of a picture.
    orthogonal: whether it is defined for orthogonal inputs alone."""

    described: str
    measure: Callable[[Measured], Any]
    of: Literal["start", "limit", "flow", "path"]
    symbol: str
    orthogonal: bool = False
    units: str = "1"
    dims: tuple[str, ...] = ()

    @property
    def flows(self) -> bool:
        return self.of in ("flow", "path")


RECORDS: Mapping[str, Record] = {
    # of the start
    "assumption_3": Record(
        "whether S_{+,1} and S_{-,1} are not empty (2022, Assumption 3)",
        _quantities.assumption_3,
        "start",
        "Assumption 3 holds",
    ),
    "assumption_4i": Record(
        "whether every sample and neuron has a partner, and no two neurons the same samples (2026)",
        _quantities.assumption_4i,
        "start",
        "Assumption 4(i) holds",
        orthogonal=True,
    ),
    "assumption_4i_bound": Record(
        "the union bound below that probability, for these labels (2026, Prop. 2)",
        _quantities.assumption_4i_bound,
        "start",
        "union bound",
        orthogonal=True,
    ),
    "minimal_squared_norm": Record(
        "|theta|^2 of the smallest interpolator (2022, Prop. 1)",
        lambda here: here.minimum,
        "start",
        r"minimum of $|\theta|^2$",
        orthogonal=True,
    ),
    # of the process that the flow tends to
    "limit_squared_norm": Record(
        "|theta|^2 at the end of the limit process (2026, eq. 15)",
        lambda here: here.process.final_squared_norm,
        "limit",
        r"$|\theta|^2$, limit $\lambda \to 0$",
        orthogonal=True,
    ),
    "limit_norm_ratio": Record(
        "limit_squared_norm over minimal_squared_norm",
        lambda here: here.process.final_squared_norm / here.minimum,
        "limit",
        r"$|\theta|^2$ over its minimum, limit $\lambda \to 0$",
        orthogonal=True,
    ),
    "limit_jumps": Record(
        "how many neurons jump in the limit process",
        lambda here: here.process.num_jumps,
        "limit",
        "jumps of the limit process",
        orthogonal=True,
    ),
    "limit_jump_times": Record(
        "when they do, s = t / ln(1/lambda); the first `times` of them",
        _quantities.limit_jump_times,
        "limit",
        r"jump times $s = t \,/\, \ln(1/\lambda)$",
        orthogonal=True,
        dims=("jump",),
    ),
    "limit_interpolates": Record(
        "whether the limit process fits every sample",
        lambda here: here.process.interpolates,
        "limit",
        "the limit process fits every sample",
        orthogonal=True,
    ),
    # of the flow
    "result": Record(
        "how the flow ended, a code of rf.RESULTS", lambda here: here.sol.result, "flow", "result"
    ),
    "loss_final": Record("L at the end", _quantities.stat("loss_final"), "flow", "loss at the end"),
    "t_final": Record(
        "flow time at the end", _quantities.stat("t_final"), "flow", "$t$ at the end"
    ),
    "squared_norm": Record(
        "|theta|^2 at the end",
        lambda here: here.sol.final.squared_norm(),
        "flow",
        r"$|\theta|^2$ at the end",
    ),
    "norm_ratio": Record(
        "|theta|^2 at the end over that of the smallest interpolator (2022, Theorem 1)",
        lambda here: here.sol.final.squared_norm() / here.minimum,
        "flow",
        r"$|\theta|^2$ over its minimum",
        orthogonal=True,
    ),
    "norm_distance": Record(
        "the distance of norm_ratio from 1",
        lambda here: jnp.abs(here.sol.final.squared_norm() / here.minimum - 1.0),
        "flow",
        r"distance of $|\theta|^2$ over its minimum from 1",
        orthogonal=True,
    ),
    "near_minimal": Record(
        "whether |theta|^2 is within 1% of the smallest of all interpolators",
        lambda here: jnp.abs(here.sol.final.squared_norm() / here.minimum - 1.0) <= _NEAR,
        "flow",
        r"$|\theta|^2$ within 1% of its minimum",
        orthogonal=True,
    ),
    "alignment": Record(
        "mean cosine of w_j to D_+ (a_j > 0) or -D_- (a_j < 0), weighted by |a_j| |w_j|",
        _quantities.alignment,
        "flow",
        r"alignment with $D_+$, $-D_-$",
    ),
    "grown": Record(
        "neurons that hold more than 1e-6 of |theta|^2 at the end",
        _quantities.grown,
        "flow",
        "neurons that have grown",
    ),
    "events": Record(
        "how many units changed their mode", lambda here: here.sol.events.count, "flow", "events"
    ),
    "event_times": Record(
        "when they did; the first `times` of them",
        _quantities.event_times,
        "flow",
        "event times $t$",
        dims=("event",),
    ),
    "steps": Record("attempted steps", _quantities.stat("num_steps"), "flow", "attempted steps"),
    "drops": Record(
        "how often the loss falls after it stood still",
        _quantities.number_of_drops,
        "path",
        "drops of the loss",
    ),
    "intermediate_saddle": Record(
        "whether the loss stands still between two drops",
        lambda here: _quantities.number_of_drops(here) >= 2,
        "path",
        "intermediate saddle",
    ),
}
