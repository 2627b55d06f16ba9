"""Writes the files of a run, all of them or none."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._integration._solution import saved
from .._json import json_text
from ..analysis import plateaus
from ..plot import loss_curve, states
from ..plot._style import figure_of
from ._files import FILES, together
from ._run import LATE, Outcome


def write(outcome: Outcome, numbers: dict[str, Any]) -> list[Path]:
    """summary.json, trajectory.npz, loss.png and states.png in the directory of the settings.

    summary.json alone where no state was saved, as of a run that failed at its start: then the
    other files of an earlier run are removed, which nobody is to take for this one's.
    """
    out = outcome.settings.out
    with together(out, FILES) as draft:
        (draft / "summary.json").write_text(json_text(numbers, indent=2) + "\n")
        if saved(outcome.flow.solution).any():
            _write_trajectory(outcome, draft / "trajectory.npz")
            _draw_loss(outcome, draft / "loss.png")
            _draw_states(outcome, draft / "states.png")
        names = sorted(path.name for path in draft.iterdir())
    return [out / name for name in names]


def _write_trajectory(outcome: Outcome, path: Path) -> None:
    solution, events = outcome.flow.solution, outcome.flow.solution.events
    kept, count = saved(solution), min(int(events.count), events.time.shape[0])
    np.savez(
        path,
        ts=np.asarray(solution.ts)[kept],
        losses=np.asarray(solution.losses)[kept],
        log_scale=np.asarray(solution.networks.log_scale)[kept],
        output=np.asarray(solution.networks.output)[kept],
        hidden=np.asarray(solution.networks.hidden)[kept],
        x=np.asarray(outcome.data.x),
        y=np.asarray(outcome.data.y),
        event_time=np.asarray(events.time)[:count],
        event_neuron=np.asarray(events.neuron)[:count],
        event_sample=np.asarray(events.sample)[:count],
        event_before=np.asarray(events.before)[:count],
        event_after=np.asarray(events.after)[:count],
    )


def _draw_loss(outcome: Outcome, path: Path) -> None:
    solution = outcome.flow.solution
    beside = outcome.beside
    label = None if beside is None else "gradient flow"
    algebraic = outcome.settings.loss != "square"  # the loss falls as 1/t: all of it can be shown
    decades = 300.0 if algebraic else 2.0
    ax = loss_curve(solution, label=label, plateaus=plateaus(solution), decades=decades)
    if algebraic and outcome.settings.end > LATE * outcome.forecast.t1:
        ax.set_xscale("log")
    if beside is not None:
        step = outcome.settings.descent_step
        loss_curve(
            beside.descent.solution,
            ax,
            label=f"gradient descent, step {step:g}",
            color="#D55E00",
            linestyle="--",
        )
    if not outcome.settings.as_in_papers:
        ax.set_title(outcome.settings.heading, fontsize=10)
    figure_of(ax).savefig(path, dpi=160)


def _draw_states(outcome: Outcome, path: Path) -> None:
    solution = outcome.flow.solution
    ts = np.asarray(solution.ts)[saved(solution)]
    chosen = np.array([int(np.argmin(np.abs(ts - stage))) for stage in _stages(outcome, ts)])
    networks = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], solution.networks)
    axes = states(networks, outcome.data, times=ts[chosen], loss=solution.loss)
    figure = figure_of(axes[0])
    if not outcome.settings.as_in_papers:
        figure.suptitle(outcome.settings.heading, fontsize=10)
    figure.savefig(path, dpi=160)


def _stages(outcome: Outcome, ts: np.ndarray) -> tuple[float, ...]:
    """Start, end of the alignment, second plateau, end: the paper's times where it has them."""
    given = outcome.settings.experiment.stages
    if given is not None and outcome.settings.is_the_papers and given[-1] <= ts[-1]:
        return given
    found, end = plateaus(outcome.flow.solution), ts[-1]
    first = found[0].end if found else outcome.forecast.first_growth
    if not first < end:  # nothing has happened yet
        return (ts[0], end / 3.0, 2.0 * end / 3.0, end)
    middle = 0.5 * (first + end)
    if len(found) > 1:
        middle = 0.5 * (found[1].start + min(found[1].end, end))
    # Two thirds of the way to the first drop the neurons are aligned, and still small.
    return (ts[0], 2.0 / 3.0 * first, middle, end)
