r"""Width-free draws of (f, K)(x, x): ReLU, one input, O(depth) a draw whatever the width.

The recursion of :mod:`ntkpipe.theory.recursion` run forward on draws m, a, b. Exact in law.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.engines.base import Draws
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream

_BITS = 256
"""Up to this width a binomial is drawn as a count of random bits, which is cheaper."""


def active_units(rng: np.random.Generator, n: int, draws: int) -> Int[np.ndarray, " draw"]:
    """m ~ Binomial(n, 1/2), the number of active units of a layer."""
    if n > _BITS:
        return rng.binomial(n, 0.5, size=draws)
    words = -(-n // 64)
    bits = rng.integers(0, 2**64, size=(words, draws), dtype=np.uint64, endpoint=False)
    if n % 64:
        bits[-1] >>= np.uint64(64 - n % 64)
    return np.bitwise_count(bits).sum(axis=0, dtype=np.int64)


def chi_square(rng: np.random.Generator, degrees: Int[np.ndarray, " draw"]) -> Float[np.ndarray, " draw"]:
    """chi2 draws; 0 where the degrees of freedom are not positive."""
    return 2.0 * rng.standard_gamma(np.maximum(degrees, 0) * 0.5)


class State:
    """(G, F, B, S) of the recursion, walked from the output down; arrays of shape (draw,)."""

    def __init__(self, network: Network, g: Float[np.ndarray, " draw"]):
        self.network = network
        self.layer = network.depth
        self.g = np.full_like(g, network.weight_gain[-1])
        self.f = network.weight_variance[-1] * g**2
        self.b = np.ones_like(g)
        self.s = np.full_like(g, network.bias_gain[-1])

    def step(self, m, a, b) -> None:
        """One hidden layer down, given its m, a and b."""
        net, k = self.network, self.layer
        delta = self.f + net.weight_variance[k] * b * self.b
        shrink = net.weight_variance[k - 1] * a
        self.g = shrink * self.g + net.weight_gain[k - 1] * delta
        self.f = shrink * self.f
        self.s = self.s + net.bias_gain[k - 1] * delta
        self.b = delta
        self.layer = k - 1
        dead = m == 0
        if dead.any():
            for part in (self.g, self.f, self.b):
                part[dead] = 0.0
            self.s[dead] = net.bias_gain[-1]

    def draws(self, norm_squared: float, sign, log_weight) -> Draws:
        """K = |x|^2 G_0 + S_0 and f = |x| sqrt(F_0) sign(g)."""
        return Draws(
            ntk=norm_squared * self.g + self.s,
            output=np.sqrt(norm_squared * self.f) * sign,
            log_weight=log_weight,
        )


def sample(
    network: Network,
    x: Float[np.ndarray, "1 n0"],
    stream: Stream,
    quantum: int,
    n: int,
    *,
    gram: bool = True,
    precision: str = "float64",
) -> Draws:
    """The first n draws of a quantum (a whole quantum is drawn, so that n changes no number)."""
    rng = stream.generator(quantum)
    g = rng.standard_normal(QUANTUM)
    state = State(network, g)
    for width in reversed(network.widths):
        m = active_units(rng, width, QUANTUM)
        a = chi_square(rng, m)
        b = chi_square(rng, m - 1)
        state.step(m, a, b)
    draws = state.draws(float(np.sum(x**2)), np.sign(g), np.zeros_like(g))
    return Draws(*(part[:n] for part in draws))
