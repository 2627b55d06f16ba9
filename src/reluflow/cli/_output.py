"""Writes the files of a run, all of them or none; tries before it that they can be."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._json import json_text
from .._solution import saved
from ..analysis import plateaus
from ..plot import loss_curve, states
from ..plot._style import figure_of
from ._run import Outcome
from ._settings import wrong

FILES = ("summary.json", "trajectory.npz", "loss.png", "states.png")


def check(out: Path, names: tuple[str, ...]) -> None:
    """Raises typer.BadParameter where files of these names could not be written to `out`.

    By trying: rights alone do not tell of a disk that is full, or only read. Leaves nothing behind.
    """
    missing = []
    try:
        if out.exists() and not out.is_dir():
            raise wrong("--out", f"must be a directory, but {out} is a file.")
        missing = [path for path in (out, *out.absolute().parents) if not path.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"x")
        for name in names:
            if (out / name).is_dir():
                raise wrong("--out", f"cannot be written to: {out / name} is a directory.")
    except OSError as error:
        raise wrong("--out", f"cannot be written to: {error.strerror} ({out}).") from None
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


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


@contextlib.contextmanager
def together(out: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """A directory to write in, whose files are moved into `out` once all are complete.

    They take the place of all files of these names that are there already; others stay. Where
    writing raises, `out` stays as it was.
    """
    out = out.absolute()
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))  # on the same disk
    try:
        yield draft
        for name in names:
            (out / name).unlink(missing_ok=True)
        for path in sorted(draft.iterdir()):
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()  # where nothing was moved into it


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
    ax = loss_curve(solution, label=label, plateaus=plateaus(solution))
    if beside is not None:
        step = outcome.settings.descent_step
        loss_curve(
            beside.descent.solution,
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
