"""JSON that every reader takes: it has no NaN and no infinity, which Python would write."""

import json
import math
from typing import Any


def without_infinities(value: Any) -> Any:
    """NaN and infinities become None, wherever they are."""
    if isinstance(value, dict):
        return {key: without_infinities(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON, with null for what is not finite."""
    return json.dumps(without_infinities(value), indent=indent, allow_nan=False)
