"""The command line: `reluflow run two-points`, or `python -m reluflow run two-points`."""

from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console
except ImportError as error:
    raise SystemExit(
        f"The command line needs {error.name}, which is not installed: pip install 'reluflow[cli]'"
    ) from None

from ._solution import saved
from .cli import _output, _report, _run, _settings
from .cli._experiments import EXPERIMENTS, Integrator, Labels, Name, Shape
from .cli._settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Exact gradient flow of one-hidden-layer ReLU networks.",
)


@app.callback()
def _commands() -> None:
    """Exact gradient flow of one-hidden-layer ReLU networks."""


@app.command()
def run(
    experiment: Annotated[Name, typer.Argument(help="What to integrate.")],
    neurons: Annotated[int | None, typer.Option(min=1, help="Width m.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="lambda = scale / sqrt(m d); any size, 1e-1000 say."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random data and weights.")] = 0,
    t1: Annotated[float | None, typer.Option(help="Flow time at the end.")] = None,
    rtol: Annotated[float, typer.Option(help="Relative tolerance of a step.")] = 1e-8,
    integrator: Annotated[
        Integrator | None,
        typer.Option(help="boost; dopri8, which compiles faster, for the small experiments."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write to; out/EXPERIMENT if not given.")
    ] = None,
    compare_descent: Annotated[
        float | None,
        typer.Option(metavar="STEP", help="Run gradient descent with this step beside the flow."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="n, of orthonormal or gaussian-teacher.")
    ] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="d, of orthonormal or gaussian-teacher.")
    ] = None,
    labels: Annotated[Labels | None, typer.Option(help="Labels of orthonormal.")] = None,
) -> None:
    """Integrate one of the papers' experiments; write its numbers, trajectory and pictures."""
    defaults = EXPERIMENTS[experiment]
    settings = Settings(
        name=experiment,
        neurons=defaults.neurons if neurons is None else neurons,
        scale=defaults.scale if scale is None else scale,
        seed=seed,
        t1=defaults.t1 if t1 is None else t1,
        rtol=rtol,
        integrator=defaults.integrator if integrator is None else integrator,
        out=Path("out") / experiment.value if out is None else out,
        descent_step=compare_descent,
        shape=Shape(samples, dim, labels),
    )
    _settings.enable_float64()
    _settings.check(settings)
    console = Console()
    try:
        net, data = settings.problem()
        outcome = _run.compute(settings, net, data, console)
    except ValueError as error:
        # What the library refuses: it names the argument and says what it must be.
        raise typer.BadParameter(str(error)) from error
    numbers = _report.summary(outcome)
    # A run that fails on its way has something to show, and says that it failed; one that fails
    # at its start has not.
    written = _output.write(outcome, numbers) if saved(outcome.flow.solution).any() else []
    _report.show(numbers, console)
    if written:
        console.print("wrote " + ", ".join(str(path) for path in written), soft_wrap=True)
    if not numbers["result"]["successful"]:
        raise typer.Exit(1)


@app.command()
def claims(
    claim: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="This one only; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller problems.")] = False,
    out: Annotated[Path, typer.Option(help="Directory to write to.")] = Path("out/claims"),
) -> None:
    """Run the papers' claims one by one, with controls that must fail; write claims.json, .md.

    Ends with code 1 where a control holds although it must not. A claim that fails is a result.
    """
    from .cli import _claims  # a second that only it has to wait for

    _settings.enable_float64()
    _settings.check_out(out)
    console = Console()
    outcomes = _claims.run(_claims.chosen(claim), quick, console)
    _claims.show(outcomes, console)
    written = _claims.write(outcomes, quick, out)
    console.print("wrote " + ", ".join(map(str, written)), soft_wrap=True)
    if any(outcome.blind for outcome in outcomes):
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the program `reluflow`."""
    app()


if __name__ == "__main__":
    main()
