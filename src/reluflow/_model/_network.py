"""Networks with one hidden layer, in scaled coordinates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support._checks import as_float64, check_finite, check_ndim, check_type, is_concrete
from ._activation import AbstractActivation, check_activation, is_relu, relu
from ._dataset import Dataset
from ._losses import square
from ._shapes import Hidden, Inputs, PerNeuron


class Network(eqx.Module):
    """h(x) = sum_j a_j phi(<w_j, x>),   a_j = e^{s_j} output_j,   w_j = e^{s_j} hidden_j.

    The logarithm s_j of a neuron's size is kept apart from its direction, so that a network
    initialised at lambda = e^-10000 is as exact as one of size 1: `weights()` would underflow,
    `output`, `hidden` and `log_norm()` do not. All arrays may carry the same leading axes (the
    time axis of a trajectory, the lanes of a vmap).

    Fields, all float64:
        log_scale: s, shape (neurons,); any finite number.
        output: outer weights over e^s, shape (neurons,).
        hidden: inner weights over e^s, shape (neurons, dim).
        activation: phi, `rf.relu` by default; `rf.leaky_relu(slope)`, `rf.absolute`, `rf.linear` or
            `rf.TwoSlope(minus, plus)`.

    Raises:
        ValueError: shapes that do not match, no neurons, NaN or infinite entries.
    """

    log_scale: PerNeuron
    output: PerNeuron
    hidden: Hidden
    activation: AbstractActivation

    def __init__(self, log_scale, output, hidden, activation: AbstractActivation = relu):
        check_activation(activation)
        self.log_scale = as_float64("log_scale", log_scale)
        self.output = as_float64("output", output)
        self.hidden = as_float64("hidden", hidden)
        if self.hidden.ndim < 2:
            check_ndim("hidden", self.hidden, ("neurons", "dim"))
        expected = self.hidden.shape[:-1]
        for name, array in (("log_scale", self.log_scale), ("output", self.output)):
            if array.shape != expected:
                raise ValueError(
                    f"Argument `{name}` must have the shape {expected} that `hidden` implies, "
                    f"but it has shape {array.shape}."
                )
        if 0 in self.hidden.shape[-2:]:
            raise ValueError(
                "Argument `hidden` must hold at least one neuron and one input dimension, "
                f"but it has shape {self.hidden.shape}."
            )
        for name in ("log_scale", "output", "hidden"):
            check_finite(name, getattr(self, name))
        self.activation = activation.lanes(self.hidden.shape[:-2])

    @classmethod
    def from_weights(cls, a, w, activation: AbstractActivation = relu) -> "Network":
        """The network with outer weights a, shape (neurons,), and inner weights w, (neurons, dim).

        The scale of each neuron is a power of two, so `net.weights()` gives a and w back to
        the last bit or two. A neuron that is exactly zero keeps log-scale 0.
        """
        a, w = as_float64("a", a), as_float64("w", w)
        check_ndim("a", a, ("neurons",))
        check_ndim("w", w, ("neurons", "dim"))
        if a.shape[0] != w.shape[0]:
            raise ValueError(
                f"Argument `a` must have one entry per row of `w` ({w.shape[0]}), but it has "
                f"{a.shape[0]}."
            )
        check_finite("a", a)
        check_finite("w", w)
        size = jnp.maximum(jnp.abs(a), jnp.max(jnp.abs(w), axis=-1, initial=0.0))
        _, exponent = jnp.frexp(size)
        # Two factors of 2^(-e/2), because 2^1074 would overflow where a weight is denormal.
        half = -(exponent // 2)
        rest = -exponent - half
        output = jnp.ldexp(jnp.ldexp(a, half), rest)
        hidden = jnp.ldexp(jnp.ldexp(w, half[:, None]), rest[:, None])
        return cls(exponent.astype(jnp.float64) * np.log(2.0), output, hidden, activation)

    def with_activation(self, activation: AbstractActivation) -> "Network":
        """The same weights, with this activation."""
        return Network(self.log_scale, self.output, self.hidden, activation)

    @property
    def neurons(self) -> int:
        return self.hidden.shape[-2]

    @property
    def dim(self) -> int:
        return self.hidden.shape[-1]

    @eqx.filter_jit
    def weights(self) -> tuple[PerNeuron, Hidden]:
        """(a, w) in plain numbers; entries below about 1e-308 underflow to zero."""
        scale = jnp.exp(self.log_scale)
        return scale * self.output, scale[..., None] * self.hidden

    @eqx.filter_jit
    def log_norm(self) -> PerNeuron:
        """ln|w_j| for each neuron, exact at any size; -inf for a neuron with w_j = 0."""
        return self.log_scale + jnp.log(jnp.linalg.norm(self.hidden, axis=-1))

    @eqx.filter_jit
    def squared_norm(self) -> Float[Array, "*#batch"]:
        """|theta|^2 = sum_j a_j^2 + |w_j|^2."""
        a, w = self.weights()
        return jnp.sum(a**2, axis=-1) + jnp.sum(w**2, axis=(-2, -1))

    def preactivations(self, x) -> Float[Array, "*#batch neurons samples"]:
        """<w_j, x_k> e^{-s_j}: in scaled coordinates, so that no sign is lost to underflow."""
        return jnp.einsum("...jd,kd->...jk", self.hidden, self._inputs(x))

    def __call__(self, x) -> Float[Array, "*#batch samples"]:
        """h(x_k) for inputs x of shape (samples, dim)."""
        return _function(self, self._inputs(x))

    def _inputs(self, x) -> Float[Array, "samples dim"]:
        x = as_float64("x", x)
        check_ndim("x", x, ("samples", "dim"))
        if x.shape[1] != self.dim:
            raise ValueError(
                f"Argument `x` must have the network's input dimension {self.dim}, but it has "
                f"shape {x.shape}."
            )
        return x

    def __str__(self) -> str:
        text = f"Network: {self.neurons} neurons on {self.dim}-dimensional inputs"
        if self.hidden.ndim > 2:
            text += f", leading axes {self.hidden.shape[:-2]}"
        elif is_concrete(self.hidden):
            low, high = np.asarray(self.log_norm()).min(), np.asarray(self.log_norm()).max()
            text += f", ln|w_j| from {low:.4g} to {high:.4g}"
        if not is_relu(self.activation):
            text += f", {self.activation}"
        return text


@eqx.filter_jit
def _function(net: Network, x: Inputs) -> Float[Array, "*#batch samples"]:
    scaled = net.output[..., None] * net.activation(net.preactivations(x))
    return jnp.einsum("...j,...jk->...k", jnp.exp(2.0 * net.log_scale), scaled)


def check_pair(net: Network, data: Dataset) -> None:
    """Raises unless these are a network, of any leading axes, and data for it."""
    check_type("net", net, Network)
    check_type("data", data, Dataset)
    if net.dim != data.dim:
        raise ValueError(
            "Arguments `net` and `data` must have the same input dimension, but they have "
            f"{net.dim} and {data.dim}."
        )


def check_as_in_papers(net=None, data=None, loss=None) -> None:
    """Raises unless these have ReLU, samples of weight 1, and the square loss: what is asked for
    holds for them alone. (An activation whose slopes are values counts as another.)"""
    only = "as what is asked for holds for it alone"
    if net is not None and not is_relu(net.activation):
        raise ValueError(
            f"Argument `net` must have the activation rf.relu, {only}, but it has {net.activation}."
        )
    if data is not None and data.weights is not None:
        raise ValueError(f"Argument `data` must have no weights of samples, {only}, but it has.")
    if loss is not None and loss != square:
        raise ValueError(f"Argument `sol` must be of rf.square, {only}, but it is of {loss}.")


def check_paper_pair(net: Network, data: Dataset) -> None:
    """Raises unless these are a single network and data for it, with what the papers suppose."""
    check_single_pair(net, data)
    check_as_in_papers(net, data)


def check_single_pair(net: Network, data: Dataset) -> None:
    """Raises unless these are a single network, and data for it."""
    check_single(net)
    check_pair(net, data)


def check_single(net: Network) -> None:
    """Raises TypeError for anything else, and ValueError for a network with leading axes."""
    check_type("net", net, Network)
    if net.hidden.ndim != 2:
        raise ValueError(
            "Argument `net` must be a single network, without leading axes, but `hidden` has shape "
            f"{net.hidden.shape}: take one, `jax.tree.map(lambda leaf: leaf[-1], nets)`, or use "
            "`jax.vmap` over them."
        )
