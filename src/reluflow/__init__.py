"""Exact gradient flow of one-hidden-layer ReLU networks from small initialisation.

Each part is imported when it is first used, and jax with it.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

# For type checkers and editors, in reading order; `_HOMES` tells Python the same.
if TYPE_CHECKING:
    from . import analysis as analysis
    from . import datasets as datasets
    from . import plot as plot
    from . import theory as theory
    from ._activation import TwoSlope as TwoSlope
    from ._activation import absolute as absolute
    from ._activation import leaky_relu as leaky_relu
    from ._activation import linear as linear
    from ._activation import relu as relu
    from ._boost import Boost as Boost
    from ._boost import field as field
    from ._compiling import compiler_options as compiler_options
    from ._dataset import Dataset as Dataset
    from ._descent import descent as descent
    from ._event_buffers import Ambiguities as Ambiguities
    from ._event_buffers import Events as Events
    from ._flow import flow as flow
    from ._initialisation import balanced as balanced
    from ._initialisation import he_uniform as he_uniform
    from ._initialisation import unbalanced as unbalanced
    from ._integrator import AbstractIntegrator as AbstractIntegrator
    from ._loss import loss as loss
    from ._losses import Loss as Loss
    from ._losses import exponential as exponential
    from ._losses import logistic as logistic
    from ._losses import square as square
    from ._modes import Mode as Mode
    from ._network import Network as Network
    from ._results import RESULTS as RESULTS
    from ._runge_kutta import RungeKutta as RungeKutta
    from ._solution import Solution as Solution
    from .sweep import sweep as sweep

    __version__: str

_MODULES = ("analysis", "datasets", "plot", "theory")
_NAMES = {
    "_model._activation": ("TwoSlope", "absolute", "leaky_relu", "linear", "relu"),
    "_boost": ("Boost", "field"),
    "_support._compiling": ("compiler_options",),
    "_model._dataset": ("Dataset",),
    "_descent": ("descent",),
    "_events._event_buffers": ("Ambiguities", "Events"),
    "_flow": ("flow",),
    "_model._initialisation": ("balanced", "he_uniform", "unbalanced"),
    "_integration._integrator": ("AbstractIntegrator",),
    "_model._loss": ("loss",),
    "_model._losses": ("Loss", "exponential", "logistic", "square"),
    "_model._modes": ("Mode",),
    "_model._network": ("Network",),
    "_integration._results": ("RESULTS",),
    "_runge_kutta": ("RungeKutta",),
    "_integration._solution": ("Solution",),
    "sweep": ("sweep",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


class _Package(types.ModuleType):
    """The package itself. (A `__getattr__` of the module, as in PEP 562, would do for what comes
    when it is asked for; to type checkers it would mean that every name exists.)"""

    def __getattr__(self, name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f".{name}", __name__)
        if name in _HOMES:
            value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        elif name == "__version__":
            from importlib.metadata import version  # as slow to import as all else that is here

            value = version(__name__)
        elif name == "__all__":  # of `import *`: what needs no more than the package itself
            value = sorted({*_MODULES, *_HOMES} - {"plot"})
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """`rf.sweep` is a function, which stands in the place of its package: the import system
        puts the package there, whoever imports it. `from reluflow.sweep import load` finds the
        rest."""
        if name == "sweep" and isinstance(value, types.ModuleType):
            value = value.sweep
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*globals(), *_MODULES, *_HOMES, "__version__"})


sys.modules[__name__].__class__ = _Package
