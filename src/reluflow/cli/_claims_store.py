"""What was measured, on disk: claims.json and claims.md, complete after every claim."""

import hashlib
import importlib.metadata
import json
import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import reluflow

from .._json import json_text
from ..claims import CATALOGUE, Claim, Finding, Outcome
from ._claims_table import markdown
from ._report import NORMALISATION
from ._settings import wrong

FILES = ("claims.json", "claims.md")
_NOT_MEASURING = ("cli", "plot", "__main__.py")  # parts that change no measurement
_TEXTS = ("what", "relation", "outside")
_FLOATS = ("measured", "predicted", "tolerance", "log_lambda")


class Store:
    """The outcomes in one directory, by the id of their claim; all measured in the same way."""

    def __init__(self, out: Path, quick: bool, again: Iterable[str] = ()):
        """Reads what is there, but for the claims that are to be measured again.

        Raises typer.BadParameter, and says what differs, where it was measured in another way than
        these settings and this code would; unless something is to be measured again, which then
        replaces all of it.
        """
        self.path, self._out = out / FILES[0], out
        self._made_by = {"quick": quick} | _code()
        self.outcomes: dict[str, Outcome] = {}
        self.unmeasured: dict[str, str] = {}
        again = set(again)
        refused = self._read() if self.path.exists() else None
        if refused is not None and not again:
            raise wrong(
                "--out",
                f"{self.path} {refused}. Choose another directory with --out, or --fresh to "
                "replace it.",
            )
        self.outcomes = {id: found for id, found in self.outcomes.items() if id not in again}

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.claim.id] = outcome
        self.unmeasured.pop(outcome.claim.id, None)
        self.write()

    def write(self) -> None:
        outcomes = [self.outcomes[claim.id] for claim in CATALOGUE if claim.id in self.outcomes]
        numbers = {
            "normalisation": NORMALISATION,
            "made_by": self._made_by,
            "claims": [_outcome(outcome) for outcome in outcomes],
            "not_measured": self.unmeasured,
        }
        _replace(self.path, json_text(numbers, indent=2) + "\n")
        _replace(self._out / FILES[1], markdown(outcomes, self.unmeasured))

    def _read(self) -> str | None:
        """Takes over what is there, or says why it cannot be."""
        try:
            numbers = json.loads(self.path.read_text())
            made_by = dict(numbers["made_by"])
            known = {claim.id: claim for claim in CATALOGUE}
            outcomes = {
                record["id"]: _read_outcome(known[record["id"]], record)
                for record in numbers["claims"]
                if record["id"] in known
            }
        except (OSError, ValueError, KeyError, TypeError):
            return "is of another program, or an older one"
        differing = [
            f"{name} was {made_by.get(name)} and is {self._made_by.get(name)}"
            for name in dict.fromkeys([*made_by, *self._made_by])
            if made_by.get(name) != self._made_by.get(name)
        ]
        if differing:
            return "was measured in another way: " + ", ".join(differing)
        self.outcomes = outcomes
        return None


def _code() -> dict[str, str | None]:
    """What a measurement depends on beside its settings."""
    root = Path(reluflow.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in _NOT_MEASURING:
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    versions = {name: _version(name) for name in ("reluflow", "jax", "numpy")}
    return versions | {"code": digest.hexdigest()[:12]}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    """Readers see the old file or the new one, whenever the program ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as file:
        file.write(text)
    try:
        os.chmod(file.name, 0o666 & ~_umask())
        os.replace(file.name, path)
    except OSError:
        os.unlink(file.name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _outcome(outcome: Outcome) -> dict[str, Any]:
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
    return (
        {name: getattr(finding, name) for name in _TEXTS}
        | {name: _number(getattr(finding, name)) for name in (*_FLOATS, "margin")}
        | {"verdict": str(finding.verdict)}
    )


def _number(value: float | None) -> float | str | None:
    """JSON knows neither inf nor NaN: both become texts, which `float` reads."""
    if value is None:
        return None
    return float(value) if math.isfinite(value) else str(float(value))


def _read_outcome(claim: Claim, record: dict[str, Any]) -> Outcome:
    return Outcome(
        claim,
        [_read_finding(one) for one in record["findings"]],
        {
            name: [_read_finding(one) for one in control["findings"]]
            for name, control in record["controls"].items()
        },
        record["seconds"],
    )


def _read_finding(record: dict[str, Any]) -> Finding:
    fields: dict[str, Any] = {name: record[name] for name in _TEXTS}
    for name in _FLOATS:
        fields[name] = None if record[name] is None else float(record[name])
    return Finding(**fields)
