"""The smooth flow of the oracle: residuals, guards and derivatives while no mode changes.

The coordinates of neuron j, all over exp(log_scale_j), a power of two at O(1) sizes: a_j and
c_j with w_j = w_j(start of the step) + sum_k c_jk x_k. Preactivations are carried on their own,
p_j = p_j(start) + c_j Gram, so that they are exactly constant where Gram entries are zero.
"""

from typing import NamedTuple

import numpy as np

INACTIVE, ACTIVE, SLIDING, RESTING = range(4)
SHIFT = 1e-11  # a guard that was just switched fires at -SHIFT until it is clearly off zero


class Weights(NamedTuple):
    """Neurons: the real weights are exp(log_scale) a and exp(log_scale) w."""

    a: np.ndarray
    w: np.ndarray
    log_scale: np.ndarray


class Flow:
    """The smooth flow of fixed modes, from the start of the current step."""

    def __init__(self, x, y, a, w, log_scale):
        self.x, self.y = np.array(x, float), np.array(y, float)
        self.a, self.w = np.array(a, float), np.array(w, float)
        self.log_scale = np.array(log_scale, float)
        self.n, self.m = len(self.y), len(self.a)
        gram = self.x @ self.x.T
        self.length = np.sqrt(np.diag(gram))
        noise = 4 * self.x.shape[1] * np.finfo(float).eps * np.outer(self.length, self.length)
        self.gram = np.where(np.abs(gram) > noise, gram, 0.0)
        self.p = self.w @ self.x.T
        self.coupled = (self.gram != 0) & ~np.eye(self.n, dtype=bool)
        square = np.sum(self.w**2, axis=1)
        self.balanced = np.abs(self.a**2 - square) < 1e-13 * square
        self.modes = np.where(self.p > 0, ACTIVE, INACTIVE)
        self.unarmed, self.shift = np.zeros((self.m, self.n), bool), SHIFT * self.length
        self.dissipated = 0.0
        self.refresh()

    def refresh(self):
        """Factorise what depends on the modes alone: for each sliding neuron, n beta = M r.

        D_j = sum_k beta_jk x_k with beta_jk = r_k / n where active, and beta on the sliding
        units such that their preactivations stand still.
        """
        self.active = (self.modes == ACTIVE).astype(float)
        self.sign = np.where(self.modes == ACTIVE, 1.0, -1.0)
        self.still = self.modes >= SLIDING
        self.slide_j, self.slide_k = np.nonzero(self.modes == SLIDING)
        self.sliders, self.slide_row = np.unique(self.slide_j, return_inverse=True)
        self.maps = np.zeros((len(self.sliders), self.n, self.n))
        for row, j in zip(self.maps, self.sliders, strict=True):
            on, s = self.modes[j] == ACTIVE, self.modes[j] == SLIDING
            row[on, on] = 1.0
            row[np.ix_(s, on)] = -np.linalg.solve(self.gram[np.ix_(s, s)], self.gram[s][:, on])

    def start(self):
        """The state vector (a, c, dissipated) at the start of a step; c = 0 there."""
        return np.concatenate([self.a, np.zeros(self.m * self.n), [self.dissipated]])

    def look(self, state):
        """a, p, residual, n beta; `state` may carry leading axes."""
        a, c = state[..., : self.m], state[..., self.m : -1]
        p = self.p + c.reshape(*c.shape[:-1], self.m, self.n) @ self.gram
        scaled = np.exp(2 * self.log_scale) * a
        residual = self.y - np.einsum("...j,...jk->...k", scaled, p * self.active)
        beta = self.active * residual[..., None, :]
        if len(self.sliders):
            beta[..., self.sliders, :] = np.einsum("jkl,...l->...jk", self.maps, residual)
        return a, p, residual, beta

    def rates(self, state):
        """a', c', p' and |grad L|^2."""
        a, p, _, beta = self.look(state)
        da = np.sum(beta * p * self.active, axis=1) / self.n
        dc = a[:, None] * beta / self.n
        dp = dc @ self.gram
        square = np.exp(2 * self.log_scale) @ (da**2 + np.sum(dc * dp, axis=1))
        return da, dc, dp, square

    def field(self, _, state):
        da, dc, _, square = self.rates(state)
        return np.concatenate([da, dc.ravel(), [square]])

    def guards(self, state):
        """What must stay positive: p of a moving unit with its sign, then alpha r and
        (1 - alpha) r of a sliding one with the sign of r, which is that of -a."""
        _, p, residual, beta = self.look(state)
        moving = np.where(self.still, 1.0, self.sign * p + self.shift * self.unarmed)
        sign = -np.sign(self.a[self.slide_j])
        low = sign * beta[..., self.slide_j, self.slide_k]
        high = sign * residual[..., self.slide_k] - low
        return np.concatenate([moving.reshape(*p.shape[:-2], -1), low, high], axis=-1)

    def guard_rates(self, state):
        """The time derivatives of `guards`."""
        a, p, _, _ = self.look(state)
        da, _, dp, _ = self.rates(state)
        change = (da[:, None] * p + a[:, None] * dp) * self.active
        dr = -np.exp(2 * self.log_scale) @ change
        moving = np.where(self.still, 0.0, self.sign * dp)
        sign = -np.sign(self.a[self.slide_j])
        low = sign * np.einsum("ul,l->u", self.maps[self.slide_row, self.slide_k], dr)
        return np.concatenate([moving.ravel(), low, sign * dr[self.slide_k] - low])

    def weights(self, state):
        a, c = state[: self.m], state[self.m : -1].reshape(self.m, self.n)
        return Weights(a.copy(), self.w + c @ self.x, self.log_scale.copy())

    def loss(self, state):
        return np.mean(self.look(state)[2] ** 2) / 2

    def accept(self, state):
        """Make `state` the start of the next step: c = 0 again, neurons of size one again.

        Balanced neurons are put back on |a_j| = |w_j|, which the flow keeps: off it, errors of a
        neuron that shrinks by a factor q would grow by 1 / q^2, and change the sign of a_j.
        """
        moving = self.guards(state)[: self.m * self.n].reshape(self.m, self.n)
        self.unarmed &= moving < 10 * self.shift
        _, p, _, _ = self.look(state)
        a, w, _ = self.weights(state)
        if np.any(np.sign(a[self.sliders]) != np.sign(self.a[self.sliders])):
            raise RuntimeError("a_j changed its sign while neuron j slides: no unique flow")
        a = np.where(self.balanced, np.copysign(np.linalg.norm(w, axis=1), a), a)
        size = np.maximum(np.abs(a), np.linalg.norm(w, axis=1))
        power = np.round(np.log2(np.where(size > 0, size, 1.0)))
        self.a, self.w = a * 2.0**-power, w * 2.0 ** -power[:, None]
        self.p = np.where(self.still, 0.0, p * 2.0 ** -power[:, None])
        self.log_scale = self.log_scale + power * np.log(2)
        self.dissipated = state[-1]
