"""Packages that only some functions need, imported when these are called."""

import importlib
from types import ModuleType


def require(name: str) -> ModuleType:
    """The module, or an error that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This function needs {name.partition('.')[0]}, which is not installed. Install the "
            "extra: pip install 'reluflow[theory]'."
        ) from error
