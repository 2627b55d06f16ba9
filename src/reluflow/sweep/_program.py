"""The program of one static shape: lanes over devices, each of which runs its own loop.

`jax.shard_map` gives every device its lanes and the program for them. With automatic sharding, the
condition of a loop over all lanes would be one value for all devices, and every iteration would
wait for all of them (jax 26586, diffrax 407).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from .._compiling import compiler_options
from ._point import Point
from ._variables import Variable, flattened

_LANES = PartitionSpec("lanes")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Of lanes: the values of the traced axes, the words of all axes, and the sweep's key."""

    values: tuple[np.ndarray, ...]  # each (lanes,)
    words: np.ndarray  # (lanes, axes, 2)
    base: np.ndarray

    def __getitem__(self, lanes: Any) -> "Inputs":
        return Inputs(tuple(value[lanes] for value in self.values), self.words[lanes], self.base)

    def __len__(self) -> int:
        return len(self.words)


@dataclasses.dataclass(frozen=True)
class Traced:
    """`measure` as JAX saw it at one static shape; it is called once for it and never again.

    So nothing that it closes over can make it compile again, and a smaller batch does not either
    trace it again.
    """

    variables: tuple[Variable, ...]
    jaxpr: Any

    @property
    def size(self) -> int:
        """Bytes of all arrays that it names, as if none were fused with others or freed again."""
        return _size(self.jaxpr.jaxpr)

    @classmethod
    def of(
        cls,
        measure: Callable[[Point], Any],
        names: Sequence[str],
        static: Mapping[str, Any],
        impl: str,
        inputs: Inputs,
    ) -> "Traced":
        """For axes of these names, and these values of the static ones; inputs give the types."""
        traced = [name for name in names if name not in static]
        variables = []

        def one(values, words, base):
            known = dict(zip(traced, values, strict=True)) | dict(static)
            point = Point(
                {name: known[name] for name in names},
                dict(zip(names, words, strict=True)),
                jax.random.wrap_key_data(base, impl=impl),
            )
            found, arrays = flattened(measure(point), names)
            variables[:] = [found]
            return arrays

        kinds = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
            (inputs.values, inputs.words, inputs.base[None]),
        )
        jaxpr = jax.make_jaxpr(one)(*kinds)
        return cls(variables[0], jaxpr)


class Program:
    """A compiled program for `lanes` lanes on each of the devices."""

    def __init__(self, traced: Traced, lanes: int, devices: Sequence[Any]):
        self.lanes, self.devices = lanes, tuple(devices)
        one = jax.extend.core.jaxpr_as_fun(traced.jaxpr)

        def many(values, words, base):
            return jax.vmap(lambda values, words: one(*values, words, base))(values, words)

        # (Loops of other libraries do not say over which devices their values vary, diffrax 735.)
        sharded = jax.shard_map(
            many,
            mesh=Mesh(np.array(self.devices), ("lanes",)),
            in_specs=(_LANES, _LANES, PartitionSpec()),
            out_specs=_LANES,
            check_vma=False,
        )
        self._jitted = jax.jit(sharded, compiler_options=compiler_options())
        self._lowered: Any = None
        self._compiled: Any = None

    @property
    def size(self) -> int:
        """How many lanes there are on all devices."""
        return self.lanes * len(self.devices)

    def lower(self, inputs: Inputs) -> None:
        """What depends on the settings of this thread, and not yet on the compiler."""
        # (Of many lanes: one lane is repeated.)
        inputs = inputs[np.zeros(self.size, int)]
        self._lowered = self._jitted.lower(inputs.values, inputs.words, inputs.base)

    def compile(self) -> None:
        self._compiled = self._lowered.compile()
        self._lowered = None

    def memory(self) -> int | None:
        """Bytes that a device needs while it runs, as the compiler says; None if it does not.

        That no byte is needed between input and output is what some backends say of any program.
        """
        try:
            analysis = self._compiled.memory_analysis()
        except (NotImplementedError, RuntimeError):
            analysis = None
        if analysis is None or not analysis.temp_size_in_bytes:
            return None
        return (
            analysis.temp_size_in_bytes
            + analysis.output_size_in_bytes
            + analysis.argument_size_in_bytes
        )

    def text(self) -> str:
        return self._compiled.as_text()

    def __call__(self, inputs: Inputs) -> list[np.ndarray]:
        """The variables of as many lanes as there are inputs, at most `size`."""
        places = np.arange(self.size)
        places[places >= len(inputs)] = 0  # what pads a batch is a lane that is run twice
        padded = inputs[places]
        arrays = self._compiled(padded.values, padded.words, padded.base)
        return [np.asarray(array)[: len(inputs)] for array in arrays]


def _size(jaxpr: Any) -> int:
    """Of what its equations return; a loop's body counts once."""
    total = 0
    for equation in jaxpr.eqns:
        total += sum(_bytes(variable.aval) for variable in equation.outvars)
        total += sum(map(_size, jax.extend.core.jaxprs_in_params(equation.params)))
    return total


def _bytes(aval: Any) -> int:
    """0 for what is no array, such as a token."""
    return getattr(aval, "size", 0) * getattr(getattr(aval, "dtype", None), "itemsize", 0)


def in_a_line(message: str) -> str:
    """The first line of what a compiled program said of its error."""
    return message.strip().partition("\n")[0] or "no message"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device said that its memory was too small, which a smaller batch may cure."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
