"""The boundaries <w, u_b> = 0 that the inputs make, as the flow sees them.

There is one for each line through an input: u_b is the first input on it, and the others are
x_k = c_k u_b, with c_k of either sign. All units of a boundary switch in the same instant. An input
that is zero has none.

Per neuron everything is over boundaries; h, the residual and the labels are over samples. Between
them stand the two pulls of a boundary, on neurons on its positive and on its negative side,

    F_b^+ = sum_{k on b} s_k^+ c_k r_k,           F_b^- = sum_{k on b} s_k^- c_k r_k,

with s_k^+ the slope of the activation at x_k where <w, u_b> > 0, and s_k^- where < 0 (of ReLU 1 and
0, or 0 and 1 where c_k < 0), so that D = 1/n sum_b F_b u_b. For ReLU, where no two inputs share a
line, F^+ is the residual and F^- is 0.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from . import _modes
from ._activation import AbstractActivation, slopes_along
from ._dataset import Dataset, gram_of, lines_of
from ._rays import Geometry, rays
from ._shapes import Gram, PerBoundary, PerSample, Scalar


class Pulls(eqx.Module):
    """F^+ and F^-, over boundaries; `minus` is None where all of F^- is 0."""

    plus: PerBoundary
    minus: PerBoundary | None

    def on(self, mode) -> Array:
        """Of the units in these modes; 0 where one slides or rests."""
        off = jnp.zeros_like(self.plus)
        if self.minus is not None:
            off = jnp.where(mode == _modes.INACTIVE, self.minus, off)
        return jnp.where(mode == _modes.ACTIVE, self.plus, off)

    @property
    def jump(self) -> PerBoundary:
        """F^+ - F^-: of which alpha is the factor."""
        return self.plus if self.minus is None else self.plus - self.minus

    @property
    def low(self) -> PerBoundary:
        """F^-, also where it is 0."""
        return jnp.zeros_like(self.plus) if self.minus is None else self.minus

    def map(self, function) -> "Pulls":
        """function of each of the two."""
        return jax.tree.map(function, self)


class Incidence(eqx.Module):
    """Which boundary each sample has, and its c_k; and the first sample of each boundary.

    boundary, factor: b(k) and c_k. Of an input that is zero c_k is 0, and b(k) means nothing.
    first: for a boundary that is none, the number of samples.
    positive, negative: s_k^+ and s_k^-.
    plus, minus: s_k^+ c_k and s_k^- c_k at (k, b(k)); else 0.
    """

    boundary: Int[Array, " samples"]
    factor: Float[Array, " samples"]
    first: Int[Array, " boundaries"]
    positive: Float[Array, " samples"]
    negative: Float[Array, " samples"]
    plus: Float[Array, "samples boundaries"]
    minus: Float[Array, "samples boundaries"]

    @classmethod
    def of(
        cls, data: Dataset, lines: tuple[int, ...] | None, activation: AbstractActivation
    ) -> "Incidence":
        """lines: the boundary of each sample, -1 of a zero input; None where it is not known."""
        samples = data.samples
        if lines is None:
            first, boundary = lines_of(data.x)
        else:
            names = range(max(max(lines), 0) + 1)
            first = jnp.array([lines.index(b) if b in lines else samples for b in names])
            boundary = jnp.array(lines)
        normals = data.x.at[first].get(mode="fill", fill_value=0.0)
        onto = jnp.maximum(boundary, 0)
        square = jnp.sum(normals**2, axis=1)[onto]
        factor = jnp.sum(data.x * normals[onto], axis=1) / jnp.where(square > 0.0, square, 1.0)
        itself = first[onto] == jnp.arange(samples)
        factor = jnp.where(boundary < 0, 0.0, jnp.where(itself, 1.0, factor))
        slopes = slopes_along(activation, factor)
        on = onto[:, None] == jnp.arange(first.shape[0])
        sizes = (jnp.where(on, (slope * factor)[:, None], 0.0) for slope in slopes)
        return cls(onto, factor, first, *slopes, *sizes)


class Arrangement(eqx.Module):
    """Fields:

    normals, gram, length: u_b, <u_b, u_c> and |u_b|. A boundary that is none has u_b = 0, and the
        length 1, by which something may be divided.
    rays: <u, u_b> for the extreme rays u, see `_rays`.
    incidence: None for ReLU where each sample has a boundary of its own, in their order, with
        c_k = 1.
    precise: whether sliding units are to be held by the u_b rather than by their Gram matrix.
    """

    normals: Float[Array, "boundaries dim"]
    gram: Gram
    length: PerBoundary
    rays: Float[Array, "rays boundaries"]
    incidence: Incidence | None
    precise: bool = eqx.field(static=True)

    @classmethod
    def of(cls, data: Dataset, geometry: Geometry, activation: AbstractActivation) -> "Arrangement":
        simple = geometry.is_simple()
        incidence = None if simple else Incidence.of(data, geometry.lines, activation)
        normals = data.x
        if incidence is not None:
            normals = data.x.at[incidence.first].get(mode="fill", fill_value=0.0)
        gram = gram_of(normals)
        square = jnp.diag(gram)
        length = jnp.where(square > 0.0, jnp.sqrt(jnp.where(square > 0.0, square, 1.0)), 1.0)
        found = rays(normals, geometry.rank, geometry.two_sided)
        arrangement = cls(normals, gram, length, found, incidence, geometry.precise)
        if incidence is None:
            return arrangement
        # So that n E(u) is a mean of residuals along them here too.
        values, _ = arrangement.at_samples(found, found > 0.0, found < 0.0)
        reach = jnp.sum(jnp.abs(values), axis=1, keepdims=True)
        found = found / jnp.where(reach > 0.0, reach, 1.0)
        return eqx.tree_at(lambda a: a.rays, arrangement, found)

    @property
    def boundaries(self) -> int:
        return self.gram.shape[0]

    @property
    def samples(self) -> int:
        return self.boundaries if self.incidence is None else self.incidence.boundary.shape[0]

    def exists(self) -> Bool[Array, " boundaries"]:
        if self.incidence is None:
            return jnp.ones(self.boundaries, bool)
        return jnp.diag(self.gram) > 0.0

    def switches(self) -> Bool[Array, " boundaries"]:
        """At which boundaries the pull on a neuron jumps: at all, unless the activation is linear,
        or nobody is pulled at."""
        if self.incidence is None:
            return self.exists()
        return jnp.any(self.incidence.plus != self.incidence.minus, axis=0)

    def two_sided(self) -> Bool[Array, " boundaries"]:
        """Which boundaries have samples that pull at neurons on the negative side."""
        if self.incidence is None:
            return jnp.zeros(self.boundaries, bool)
        return jnp.any(self.incidence.minus != 0.0, axis=0)

    def weight(self) -> PerBoundary:
        """sum_k |s_k^+ c_k| + |s_k^- c_k| of each boundary: by how much an error of r shows in its
        pulls."""
        if self.incidence is None:
            return jnp.ones(self.boundaries)
        return jnp.sum(jnp.abs(self.incidence.plus) + jnp.abs(self.incidence.minus), axis=0)

    def largest_slope(self) -> Scalar:
        """Of the activation."""
        if self.incidence is None:
            return jnp.ones(())
        slopes = jnp.stack([self.incidence.positive, self.incidence.negative])
        return jnp.max(jnp.abs(slopes))

    def pulls(self, residual: PerSample) -> Pulls:
        """F^+ and F^- of residuals of any leading axes."""
        if self.incidence is None:
            return Pulls(residual, None)
        return Pulls(residual @ self.incidence.plus, residual @ self.incidence.minus)

    def predictions(self, positive: PerBoundary, negative: PerBoundary) -> PerSample:
        """h from sum_j weight_j a_j p_jb of the neurons on either side of each boundary."""
        if self.incidence is None:
            return positive
        return positive @ self.incidence.plus.T + negative @ self.incidence.minus.T

    def magnitudes(self, positive: PerBoundary, negative: PerBoundary) -> PerSample:
        """A bound of the terms that `predictions` adds, from sums of their sizes."""
        if self.incidence is None:
            return positive
        plus, minus = (jnp.abs(part) for part in (self.incidence.plus, self.incidence.minus))
        return positive @ plus.T + negative @ minus.T

    def at_samples(self, values: Array, positive: Array, negative: Array):
        """(c_k values_b times the slope at each sample; the slopes).

        positive, negative: on which side of each boundary a neuron is; where on both, the larger
        slope counts. Of preactivations these are phi(<w, x_k>).
        """
        if self.incidence is None:
            return jnp.where(positive, values, 0.0), positive.astype(jnp.float64)
        b, c = self.incidence.boundary, self.incidence.factor
        above = jnp.where(positive[..., b], self.incidence.positive, 0.0)
        below = jnp.where(negative[..., b], self.incidence.negative, 0.0)
        slope = jnp.where(jnp.abs(above) > jnp.abs(below), above, below)
        slope = jnp.where(c != 0.0, slope, 0.0)
        return slope * c * values[..., b], slope

    def sample_gram(self) -> Float[Array, "samples samples"]:
        """<x_k, x_l>."""
        if self.incidence is None:
            return self.gram
        b, c = self.incidence.boundary, self.incidence.factor
        return c[:, None] * c * self.gram[b][:, b]

    def samples_of(self, boundary: Int[Array, "*any"]) -> Int[Array, "*any"]:
        """The first sample of a boundary, which is its name; negative numbers stay."""
        if self.incidence is None:
            return boundary
        first = self.incidence.first.astype(boundary.dtype)
        return jnp.where(boundary < 0, boundary, first[boundary])

    def touching(self, at: Bool[Array, "*any boundaries"]) -> Bool[Array, "*any samples"]:
        """The samples on these boundaries."""
        if self.incidence is None:
            return at
        return at[..., self.incidence.boundary] & (self.incidence.factor != 0.0)

    def rises(self, pulls: Pulls) -> Float[Array, "*#batch rays"]:
        """n E(u) along the rays, E(u) = 1/n sum_k r_k phi(<u, x_k>): what makes a neuron with
        a_j > 0 grow from w = 0."""
        found = pulls.plus @ jnp.maximum(self.rays, 0.0).T
        if pulls.minus is None:
            return found
        return found + pulls.minus @ jnp.minimum(self.rays, 0.0).T
