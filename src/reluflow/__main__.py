"""The command line: `reluflow run two-points`, or `python -m reluflow run two-points`."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console
except ImportError as error:
    raise SystemExit(
        f"The command line needs {error.name}, which is not installed: pip install 'reluflow[cli]'"
    ) from None

from .cli import _files, _settings, _sweep_commands
from .cli._choices import ActivationName, LossName, activation_of, loss_of
from .cli._compilation_cache import NoCache, keep_compiled
from .cli._experiments import EXPERIMENTS, Integrator, Labels, Shape
from .cli._progress import LOADING, Display, loading
from .cli._settings import Settings
from .cli._waiting import ending_on_interrupt, in_background

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Exact gradient flow of one-hidden-layer ReLU networks.",
)


@app.callback()
def _commands() -> None:
    """Exact gradient flow of one-hidden-layer ReLU networks."""
    # Of LAPACK, read when scipy is imported. Beside other work its threads wait for each other 50
    # times as long as one of them takes for matrices of this size.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@app.command(no_args_is_help=True)
def run(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="two-points, five-points, orthonormal or gaussian-teacher; or a file of data, "
            "as .csv (columns of inputs, and y) or .npz (x and y).",
        ),
    ],
    neurons: Annotated[int | None, typer.Option(metavar="M", min=1, help="Width m.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="lambda = NUMBER / sqrt(m d), the size of the start; 1e-1000 is fine.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of random data and weights.")] = 0,
    t1: Annotated[
        float | None,
        typer.Option(
            metavar="T", help="Flow time at the end; by default after the last predicted drop."
        ),
    ] = None,
    until_rest: Annotated[
        bool, typer.Option("--until-rest", help="End where the flow comes to rest, as --t1 inf.")
    ] = False,
    rtol: Annotated[
        float, typer.Option(metavar="NUMBER", help="Relative tolerance of a step.")
    ] = 1e-8,
    integrator: Annotated[
        Integrator | None,
        typer.Option(
            metavar="NAME",
            help="boost, dopri8, tsit5, dopri5 or kvaerno5; by default boost or, where compiling "
            "takes longer than all else, dopri8.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write; out/EXPERIMENT by default."),
    ] = None,
    compare_descent: Annotated[
        float | None,
        typer.Option(metavar="STEP", help="Run gradient descent with this step beside the flow."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="n, of orthonormal or gaussian-teacher."),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(metavar="D", min=1, help="d, of orthonormal or gaussian-teacher."),
    ] = None,
    labels: Annotated[
        Labels | None, typer.Option(metavar="KIND", help="normal or positive, of orthonormal.")
    ] = None,
    loss: LossName = "square",
    activation: ActivationName = "relu",
    no_cache: NoCache = False,
) -> None:
    """Integrate one of the papers' experiments, or data of one's own.

    Prints a table of events and plateaus, and writes summary.json,
    trajectory.npz, loss.png and states.png.

    Ends with code 1 where the integration failed on its way.
    """
    name, own = _settings.named(experiment)
    defaults = EXPERIMENTS[_settings.Name(name)] if own is None else own
    if until_rest and t1 is not None:
        raise _settings.wrong("--until-rest", f"ends where --t1 {t1:g} may not: give one of them.")
    settings = Settings(
        name=name,
        neurons=defaults.neurons if neurons is None else neurons,
        scale=defaults.scale if scale is None else scale,
        seed=seed,
        t1=math.inf if until_rest else t1,
        rtol=rtol,
        integrator=integrator,
        out=Path("out") / name if out is None else out,
        descent_step=compare_descent,
        shape=Shape(samples, dim, labels),
        own=own,
        loss=loss_of(loss),
        activation=activation_of(activation),
    )
    _settings.check(settings)
    _files.check(settings.out, _files.FILES)
    _integrate(settings, not no_cache)


def _integrate(settings: Settings, keep: bool) -> None:
    console, progress = Console(), Console(stderr=True)
    display = Display(progress)

    def kept() -> str:
        where = "" if display.last is None else f"The run was at {display.last.described()}. "
        return (
            f"{where}Nothing was written, and {settings.out} is as it was. A run "
            "cannot go on from there: start it again, with a smaller --t1 or a larger --rtol if it "
            "took too long."
        )

    with ending_on_interrupt(progress, kept):
        outcome = _computed(settings, display, keep)
        from .cli import _output, _report

        numbers = _report.summary(outcome)
        _report.show(numbers, settings.heading, console)
        # A run that fails on its way has something to show, and says that it failed.
        with _ending_where_a_disk_is_full(settings.out, progress):
            written = _output.write(outcome, numbers)
    console.print("wrote " + ", ".join(map(str, written)), soft_wrap=True, markup=False)
    if not numbers["result"]["successful"]:
        raise typer.Exit(1)


def _computed(settings: Settings, display: Display, keep: bool):
    def work():
        from .cli import _run

        _settings.enable_float64()
        keep_compiled(keep)
        return _run.compute(settings, display)

    try:
        with display:
            display.begin(LOADING)
            return in_background(work, display.tick)
    except ValueError as error:
        # What the library refuses: it names the argument and says what it must be.
        raise typer.BadParameter(str(error)) from error
    except (MemoryError, RuntimeError) as error:  # JAX's own is a RuntimeError
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            message = "There is not enough memory for this: take fewer neurons, samples or dim."
            raise typer.BadParameter(message) from error
        raise


@contextlib.contextmanager
def _ending_where_a_disk_is_full(out: Path, console: Console) -> Iterator[None]:
    """Or where something else keeps files from being written that could be when it was tried."""
    try:
        yield
    except OSError as error:
        console.print(
            f"Nothing more can be written to {out}: {error.strerror}. What was there is as it was.",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(1) from error


@app.command()
def claims(
    claim: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="This one only; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller problems.")] = False,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where results are kept, and looked for.")
    ] = Path("out/claims"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what is kept there, and replace it.")
    ] = False,
    no_cache: NoCache = False,
) -> None:
    """Measure the papers' claims one by one, with controls that must fail.

    Each result is kept in claims.json and claims.md as soon as it is known,
    and a second call goes on where the first ended.

    Ends with code 1 where a control holds although it must not, or a claim
    broke off; with 3 where what a claim needs is not installed. A claim that
    fails is a result.
    """
    with loading(Console(stderr=True)):
        from .cli import _claims, _claims_store

        _settings.enable_float64()
        keep_compiled(not no_cache)
    wanted = _claims.chosen(claim)
    _files.check(out, _claims_store.FILES)
    store = _claims_store.Store(out, quick, [one.id for one in wanted] if fresh else [])
    lacking = _claims.without_what_they_need(wanted)
    store.unmeasured |= lacking
    errors, blind = _measure(wanted, quick, store, lacking)
    if errors or blind:
        raise typer.Exit(1)
    if lacking:
        raise typer.Exit(3)


def _measure(wanted, quick: bool, store, lacking: dict[str, str]) -> tuple[bool, bool]:
    """Measures and shows the claims; whether one broke off, and whether a control is blind."""
    from .cli import _claims, _claims_table

    out = store.path.parent
    able = [one for one in wanted if one.id not in lacking]
    console, progress = Console(), Console(stderr=True)
    for name, why in lacking.items():
        progress.print(f"{name} {why}", soft_wrap=True, markup=False, highlight=False)

    def kept() -> str:
        count = sum(one.id in store.outcomes for one in wanted)
        return (
            f"{count} of {len(wanted)} claims are kept in {store.path}; the same command goes on "
            "with the others."
        )

    with ending_on_interrupt(progress, kept):
        with Display(progress) as display, _ending_where_a_disk_is_full(out, progress):
            errors = _claims.measure(able, quick, store, display)
            store.write()
        outcomes = [store.outcomes[one.id] for one in wanted if one.id in store.outcomes]
        _claims_table.show(outcomes, console)
    for name, why in lacking.items():
        console.print(f"{name} was not measured: it {why}", soft_wrap=True, markup=False)
    for name in errors:
        console.print(f"{name} could not be measured; see above.", soft_wrap=True, markup=False)
    console.print(f"wrote {out / 'claims.json'}, {out / 'claims.md'}", soft_wrap=True, markup=False)
    return bool(errors), any(outcome.blind for outcome in outcomes)


app.command(no_args_is_help=True)(_sweep_commands.sweep)
app.command(no_args_is_help=True)(_sweep_commands.show)


def main() -> None:
    """Entry point of the program `reluflow`."""
    app()


if __name__ == "__main__":
    main()
