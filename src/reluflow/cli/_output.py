"""Writes the files of a run, all of them or none."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._solution import saved
from ..analysis import plateaus
from ..plot import loss_curve, states
from ..plot._style import figure_of
from ._run import Outcome


def write(outcome: Outcome, numbers: dict[str, Any]) -> list[Path]:
    """summary.json, trajectory.npz, loss.png and states.png in the directory of the settings."""
    with together(outcome.settings.out) as draft:
        (draft / "summary.json").write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n")
        _write_trajectory(outcome, draft / "trajectory.npz")
        _draw_loss(outcome, draft / "loss.png")
        _draw_states(outcome, draft / "states.png")
        names = sorted(path.name for path in draft.iterdir())
    return [outcome.settings.out / name for name in names]


@contextlib.contextmanager
def together(out: Path) -> Iterator[Path]:
    """A directory to write in, whose files are moved into `out` once all are complete.

    Other files that are there already stay; where writing raises, nothing is moved.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield draft
        out.mkdir(exist_ok=True)
        for path in sorted(draft.iterdir()):
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
    beside = outcome.descent
    label = None if beside is None else "gradient flow"
    ax = loss_curve(solution, label=label, plateaus=plateaus(solution))
    if beside is not None:
        step = outcome.settings.descent_step
        loss_curve(
            beside.solution,
            ax,
            label=f"gradient descent, step {step:g}",
            color="#D55E00",
            linestyle="--",
        )
    figure_of(ax).savefig(path, dpi=160)


def _draw_states(outcome: Outcome, path: Path) -> None:
    solution = outcome.flow.solution
    ts = np.asarray(solution.ts)[saved(solution)]
    chosen = np.array([int(np.argmin(np.abs(ts - stage))) for stage in _stages(outcome, ts)])
    networks = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], solution.networks)
    axes = states(networks, outcome.data, times=ts[chosen])
    figure_of(axes[0]).savefig(path, dpi=160)


def _stages(outcome: Outcome, ts: np.ndarray) -> tuple[float, ...]:
    """Start, end of the alignment, second plateau, end: at the paper's times where it has them."""
    given = outcome.settings.experiment.stages
    if given is not None and given[-1] <= ts[-1]:
        return given
    found = plateaus(outcome.flow.solution)
    first = found[0].end if found and np.isfinite(found[0].end) else ts[-1]
    middle = 0.5 * (first + ts[-1])
    if len(found) > 1:
        middle = 0.5 * (found[1].start + min(found[1].end, ts[-1]))
    # Two thirds of the way to the first drop the neurons are aligned, and still small.
    return (ts[0], 2.0 / 3.0 * first, middle, ts[-1])
