"""The neural tangent kernel, and the flow as if it were constant: the lazy regime."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from .._model._shapes import Gram, Labels, UnitFlags
from .._support._checks import as_float64
from .._support._factorisations import eigh
from ._orthogonal import lengths


def neural_tangent_kernel(net: Network, data: Dataset) -> Gram:
    """K_kl = 1/n sum_j ( a_j^2 alpha_jk alpha_jl <x_k, x_l> + p_jk^+ p_jl^+ ),   r' = -K r.

    The Gram matrix of the gradients of h(x_k), over n, with alpha_jk = 1 where
    p_jk = <w_j, x_k> > 0 and 0 elsewhere (relu'(0) = 0). Rates in the papers' time.
    """
    check_paper_pair(net, data)
    p = net.preactivations(data.x)
    weight = jnp.exp(net.log_scale)[:, None]
    slopes = jnp.where(active_units(net, data), weight * net.output[:, None], 0.0)
    values = weight * jax.nn.relu(p)
    return (data.gram() * (slopes.T @ slopes) + values.T @ values) / data.samples


def active_units(net: Network, data: Dataset) -> UnitFlags:
    """<w_j, x_k> > 0, by more than the rounding of this product: 4 d eps |w_j| |x_k|.

    A unit that has come to rest on its boundary is there up to rounding, of either sign, and
    inactive: it would add a whole a_j^2 |x_k|^2 to the kernel.
    """
    noise = 4.0 * data.dim * jnp.finfo(jnp.float64).eps * lengths(data)
    length = jnp.linalg.norm(net.hidden, axis=-1, keepdims=True)
    return net.preactivations(data.x) > noise * length


class KernelFlow(eqx.Module):
    """r' = -K r with K constant: h(t) = y - e^{-K t} (y - h(0)).

    Fields:
        labels, initial: y and h(0), (samples,).
        eigenvalues, eigenvectors: of K, ascending; eigenvectors in columns.
    """

    labels: Labels
    initial: Labels
    eigenvalues: Labels
    eigenvectors: Gram

    def predictions(self, t) -> Float[Array, "*times samples"]:
        """h(t) at the data, for a scalar t or times (times,); t may be infinite."""
        return self.labels - self._modes(t) @ self.eigenvectors.T

    def loss(self, t) -> Float[Array, "*times"]:
        """L(t) = 1/(2n) sum_i e^{-2 kappa_i t} <v_i, r(0)>^2, (kappa_i, v_i) the eigenpairs."""
        return jnp.mean(self._modes(t) ** 2, axis=-1) / 2.0

    def _modes(self, t) -> Float[Array, "*times samples"]:
        """The residual in the eigenbasis."""
        start = self.eigenvectors.T @ (self.labels - self.initial)
        exponent = jnp.where(
            self.eigenvalues > 0.0, self.eigenvalues * as_float64("t", t)[..., None], 0.0
        )
        return jnp.exp(-exponent) * start


def kernel_flow(net: Network, data: Dataset) -> KernelFlow:
    """The lazy regime: predictions and loss as if K kept its value at `net`, in closed form.

    The flow from c theta tends to it as c grows, at the times t / c^2 and with y - h(0) kept
    bounded: homogeneity makes the weights move by O(1 / c^2) of their own size, and so far apart
    are the predictions, O(1 / c^4) where neurons come in pairs of opposite a_j, for which the
    first change of K cancels. From a small initialisation it predicts nothing: K then grows from
    almost 0 to its final value.

    Eigenvalues of K that are rounding, below n eps times the largest, are set to 0: those modes
    stay, as for inputs that no neuron sees.

    Source: Jacot et al. 2018; Chizat et al. 2019. The 2022 paper's Fig. 5 is in this regime.
    """
    eigenvalues, eigenvectors = eigh(neural_tangent_kernel(net, data))
    noise = data.samples * jnp.finfo(eigenvalues.dtype).eps * eigenvalues[-1]
    eigenvalues = jnp.where(eigenvalues > noise, eigenvalues, 0.0)
    return KernelFlow(data.y, net(data.x), eigenvalues, eigenvectors)
