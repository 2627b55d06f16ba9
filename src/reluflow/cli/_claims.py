"""`reluflow claims`: the catalogue as a table, claims.json and claims.md."""

import json
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..claims import CATALOGUE, Claim, Finding, Outcome, Verdict, check
from ._output import together
from ._settings import wrong

_COLOURS = {Verdict.holds: "green", Verdict.fails: "red", Verdict.outside: "yellow"}
_HEADER = ("source", "measured", "value", "predicted", "margin", "verdict")


def chosen(ids: list[str] | None) -> tuple[Claim, ...]:
    """The claims of these ids, all of them where none is given."""
    if not ids:
        return CATALOGUE
    known = {claim.id: claim for claim in CATALOGUE}
    for name in ids:
        if name not in known:
            raise wrong("--claim", f"there is no {name!r}; there are {', '.join(known)}.")
    return tuple(known[name] for name in dict.fromkeys(ids))


def run(claims: tuple[Claim, ...], quick: bool, console: Console) -> list[Outcome]:
    """Two at a time: while one compiles, which takes one core most of the time, another runs.

    One goes on from the front and one from the back, since neighbours share what is compiled.
    """
    waiting, done = deque(claims), dict[str, Outcome]()

    def work(take: Callable[[], Claim]) -> None:
        while True:
            try:
                claim = take()
            except IndexError:  # asked for first, there might be one that the other then takes
                return
            done[claim.id] = check(claim, quick)
            status.update(f"{len(done)} of {len(claims)} done; {claim.id} was the last")

    with console.status(f"{len(claims)} claims") as status, ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(work, take) for take in (waiting.popleft, waiting.pop)]
        try:
            for worker in as_completed(workers):
                worker.result()
        finally:
            waiting.clear()  # or an error of one would wait for all that the other has to do
    return [done[claim.id] for claim in claims]


def show(outcomes: list[Outcome], console: Console) -> None:
    table = Table(title="the papers' claims, measured")
    for name in _HEADER:
        table.add_column(name, ratio=3 if name == "measured" else None, overflow="fold")
    for outcome in outcomes:
        for index, finding in enumerate(outcome.findings):
            source = "" if index else f"{outcome.claim.source} ({outcome.claim.id})"
            table.add_row(source, *_row(finding), style=_COLOURS[finding.verdict])
        table.add_section()
    console.print(table)
    for outcome in outcomes:
        for name in outcome.blind:
            console.print(f"[bold red]{outcome.claim.id} is blind[/]: it holds although {name}.")


def write(outcomes: list[Outcome], quick: bool, out: Path) -> list[Path]:
    """claims.json and claims.md."""
    with together(out) as draft:
        text = json.dumps(_summary(outcomes, quick), indent=2, allow_nan=False)
        (draft / "claims.json").write_text(text + "\n")
        (draft / "claims.md").write_text(_markdown(outcomes))
    return [out / "claims.json", out / "claims.md"]


def _summary(outcomes: list[Outcome], quick: bool) -> dict[str, Any]:
    return {
        "normalisation": "L = 1/(2n) sum r^2, theta' = -grad L (times and losses of the papers)",
        "quick": quick,
        "claims": [_numbers(outcome) for outcome in outcomes],
    }


def _markdown(outcomes: list[Outcome]) -> str:
    lines = ["# The papers' claims, measured", ""]
    for outcome in outcomes:
        claim = outcome.claim
        lines += [
            f"## {claim.id}: {outcome.verdict}",
            "",
            f"{claim.source}: {claim.statement}.",
            "",
        ]
        lines += ["| " + " | ".join(_HEADER[1:]) + " |", "|---" * len(_HEADER[1:]) + "|"]
        lines += [
            "| " + " | ".join(map(_cell, _row(finding))) + " |" for finding in outcome.findings
        ]
        lines += [f"\nOutside: {f.what}: {f.outside}." for f in outcome.findings if f.outside]
        lines += ["", *_controls(outcome), f"{outcome.seconds:.1f} s.", ""]
    return "\n".join(lines)


def _controls(outcome: Outcome) -> list[str]:
    lines = []
    for name, found in outcome.controls.items():
        word = (
            "HOLDS, although it must not" if name in outcome.blind else "does not hold, as it must"
        )
        broken = [
            f"{f.what}: {f.measured:.4g} {f.relation} {f.predicted:.4g}"
            for f in found
            if not f.settled
        ]
        lines += [f"Control, {name}: {word}. {'; '.join(broken)}", ""]
    return lines


def _row(finding: Finding) -> tuple[str, ...]:
    predicted = f"{finding.relation} {finding.predicted:.5g}"
    if finding.relation == "==" and finding.tolerance:
        predicted += f" ± {finding.tolerance:.2g}"
    return (
        finding.what,
        f"{finding.measured:.5g}",
        predicted,
        f"{finding.margin:.2g}",
        f"{finding.verdict}{_from(finding.holds_from)}",
    )


def _from(log_lambda: float | None) -> str:
    if log_lambda is None:
        return ""
    if not math.isfinite(log_lambda):
        return ", at no lambda tried"
    return f", from lambda = e^{log_lambda:g} on"


def _numbers(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.claim.id,
        "source": outcome.claim.source,
        "statement": outcome.claim.statement,
        "verdict": str(outcome.verdict),
        "findings": [_finding(finding) for finding in outcome.findings],
        "controls": {
            name: {
                "fails_as_it_must": name not in outcome.blind,
                "findings": [_finding(finding) for finding in found],
            }
            for name, found in outcome.controls.items()
        },
        "seconds": outcome.seconds,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    names = ("what", "relation", "outside")
    floats = ("measured", "predicted", "tolerance", "margin", "log_lambda", "holds_from")
    return (
        {name: getattr(finding, name) for name in names}
        | {name: _finite(getattr(finding, name)) for name in floats}
        | {"verdict": str(finding.verdict)}
    )


def _finite(value: float | None) -> float | None:
    """JSON knows neither inf nor NaN: both become null."""
    return None if value is None or not math.isfinite(value) else float(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
