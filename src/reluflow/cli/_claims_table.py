"""The claims that were measured, as a table for a terminal and as Markdown."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..claims import Finding, Outcome, Verdict

_COLOURS = {Verdict.holds: "green", Verdict.fails: "red", Verdict.outside: "yellow"}
_SHORT = {Verdict.holds: "holds", Verdict.fails: "fails", Verdict.outside: "outside"}
_HEADER = ("measured", "value", "predicted", "margin", "verdict")


def show(outcomes: list[Outcome], console: Console) -> None:
    """At any width from 80 columns on: the words are wrapped, the numbers never."""
    if outcomes:
        table = Table(
            title="The papers' claims, measured", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column(_HEADER[0], ratio=1)
        for name in _HEADER[1:]:
            table.add_column(name, no_wrap=True, justify="left")
        for outcome in outcomes:
            colour = _COLOURS[outcome.verdict]
            table.add_row(Text(outcome.claim.id, style=f"bold {colour}"), "", "", "", "")
            for finding in outcome.findings:
                what, *numbers, _ = _row(finding)
                verdict = Text(_SHORT[finding.verdict], style=_COLOURS[finding.verdict])
                numbers = [Text(number.replace(" ±", "\n±")) for number in numbers]
                table.add_row(Text(f"- {what}"), *numbers, verdict)
            table.add_section()
        console.print(table)
    for outcome in outcomes:
        for name in outcome.blind:
            text = Text.assemble((f"{outcome.claim.id} is blind", "bold red"))
            console.print(text.append(f": it holds although {name}.", style="not bold default"))


def markdown(outcomes: list[Outcome], unmeasured: dict[str, str]) -> str:
    lines = ["# The papers' claims, measured", ""]
    for outcome in outcomes:
        claim = outcome.claim
        lines += [
            f"## {claim.id}: {outcome.verdict}",
            "",
            f"{claim.source}: {claim.statement}.",
            "",
        ]
        lines += ["| " + " | ".join(_HEADER) + " |", "|---" * len(_HEADER) + "|"]
        lines += [
            "| " + " | ".join(map(_cell, _row(finding))) + " |" for finding in outcome.findings
        ]
        lines += [f"\nOutside: {f.what}: {f.outside}." for f in outcome.findings if f.outside]
        lines += ["", *_controls(outcome), f"{outcome.seconds:.1f} s.", ""]
    if unmeasured:
        lines += ["## Not measured", "", *(f"* {id}: {why}" for id, why in unmeasured.items()), ""]
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
        str(finding.verdict),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
