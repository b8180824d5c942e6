r"""Dual activations: E[phi(u) phi(v)] and E[phi'(u) phi'(v)] of jointly Gaussian u, v (theory.md, section 7).

Every dual takes the variances q of u and v apart from their *defect* e = 1 - corr(u, v), and returns the defect of
phi(u), phi(v) as a sum of positive terms: angles between close inputs keep their digits (a kink turns an error of 1e-16
in a cosine into 1e-8 in an angle), and e = 0 stays 0 at any depth. Closed forms: Cho & Saul 2009 (relu, leaky_relu,
linear), Williams 1997 (erf); otherwise Mehler's expansion, whose coefficients tell what is left out.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ntkpipe.activations import numpy_activation
from ntkpipe.networks import Network

TAIL = 1e-13
"""Share of E[phi^2] and of E[phi'^2] that Mehler's expansion may leave out: its relative error a layer."""
MAX_TERMS = 1024

Block = Float[np.ndarray, "b1 b2"]


@runtime_checkable
class Dual(Protocol):
    """E[phi(u) phi(v)] and E[phi'(u) phi'(v)] of jointly Gaussian u, v as functions of variances and defect."""

    def features(self, q: Float[np.ndarray, " k"]) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k f"]]:
        """sqrt(E[phi(u)^2]) for variances q, and what :meth:`pair` needs of every point."""

    def pair(
        self, e: Block, a: Float[np.ndarray, "k1 f"], b: Float[np.ndarray, "k2 f"], c: float
    ) -> tuple[Block, Block]:
        """1 - T(u, v)/sqrt(T(u, u) T(v, v)), and c E[phi'(u) phi'(v)]."""


def dual_of(network: Network) -> Dual:
    """The closed form of the network's activation, or its expansion."""
    slopes = {"relu": 0.0, "leaky_relu": network.negative_slope, "linear": 1.0}
    if network.activation in slopes:
        return Slopes(slopes[network.activation])
    return Erf() if network.activation == "erf" else Mehler(network.activation)


class Slopes:
    r"""phi(z) = z for z > 0, a z else: arc-cosine kernels of order 1 and 0 (Cho & Saul 2009).

    .. math::
        T = \tfrac{1 + a^2}{2} \sqrt{q q'} [\cos\theta + \gamma (\sin\theta - \theta\cos\theta)], \quad
        \dot T = \tfrac{1 + a^2}{2} (1 - \gamma\theta), \quad \gamma = \frac{(1 - a)^2}{\pi (1 + a^2)}.
    """

    def __init__(self, a: float) -> None:
        self.energy, self.gamma = (1 + a * a) / 2, (1 - a) ** 2 / (math.pi * (1 + a * a))

    def features(self, q):
        """No more than the root."""
        return np.sqrt(self.energy * q), np.empty((len(q), 0))

    def pair(self, e, a, b, c):
        """theta = 2 arcsin sqrt(e/2), sin theta = sqrt(e (2 - e)), in place: this is where the time goes."""
        if not self.gamma:
            return e, np.full_like(e, c * self.energy)
        slope = 0.5 * e
        np.sqrt(slope, out=slope)
        np.arcsin(slope, out=slope)
        slope *= 2.0 * self.gamma  # gamma theta
        after = 1.0 - e
        sine = 1.0 + after
        sine *= e
        np.sqrt(sine, out=sine)
        sine *= self.gamma
        after *= slope
        after -= sine
        after += e
        np.maximum(after, 0.0, out=after)  # below e = 1e-32 rounding has the last word
        slope *= -c * self.energy
        slope += c * self.energy
        return after, slope


class Erf:
    r"""phi = erf (Williams 1997): with s = 2q/(1 + 2q) and t = sqrt(s s') corr(u, v),

    .. math:: T = \tfrac{2}{\pi} \arcsin t, \quad \dot T = \frac{4}{\pi \sqrt{(1 + 2q)(1 + 2q')(1 - t^2)}}.
    """

    def features(self, q):
        """s, 1 - s, arcsin s."""
        rest = 1.0 / (1.0 + 2.0 * q)
        s = 2.0 * q * rest
        angle = np.arctan2(s, np.sqrt(rest + s * rest))  # 1 - s^2 without cancellation
        return np.sqrt(2 / math.pi * angle), np.stack([s, rest, angle], axis=1)

    def pair(self, e, a, b, c):
        """arcsin t_0 - arcsin t, t_0 = sqrt(s s'), is one arctan of positive numbers; the rest is between norms."""
        s1, rest1, angle1 = (c[:, None] for c in a.T)
        s2, rest2, angle2 = (c[None, :] for c in b.T)
        t0, r0 = np.sqrt(s1 * s2), np.sqrt(rest1 + s1 * rest2)
        r = np.sqrt(r0**2 + t0**2 * e * (2.0 - e))  # sqrt(1 - t^2)
        fall = np.arctan2(t0 * e * (t0**2 * (2.0 - e) / (r + r0) + r0), t0**2 * (1.0 - e) + r0 * r)
        both = np.sqrt(angle1 * angle2)
        norms = np.maximum(both - np.arctan2(t0, r0), 0.0)
        return (norms + fall) / both, (4 / math.pi) * c * np.sqrt(rest1 * rest2) / r


class Mehler:
    r"""Any activation, by its coefficients in normalized Hermite polynomials (Mehler's formula; Daniely et al. 2016).

    .. math::
        T = \sum_k a_k(q)\, a_k(q')\, \rho^k, \quad \dot T = \sum_k k\, a_k(q)\, a_k(q')\, \rho^{k-1}/\sqrt{q q'}, \quad
        a_k(q) = E\big[\phi(\sqrt q\, g)\, \mathrm{he}_k(g)\big]/\sqrt{k!}.

    As many terms as bring sum_k a_k^2 to E[phi^2] and sum_k k a_k^2/q to E[phi'^2] up to ``TAIL``; what is left out
    of T(u, v) is then at most that share of sqrt(T(u, u) T(v, v)) (Cauchy-Schwarz). Expectations by the trapezoidal
    rule, exponentially accurate for analytic phi.
    """

    def __init__(self, activation: str) -> None:
        self.name = activation
        self.phi, self.dphi, _ = numpy_activation(activation)

    def features(self, q):
        """sqrt(E[phi^2]/q), then the coefficients over their norm."""
        nodes, weights = _nodes()
        u = np.sqrt(q)[:, None] * nodes
        phi, energies = self.phi(u), ((self.phi(u) ** 2) @ weights, (self.dphi(u) ** 2) @ weights)
        coefficients = phi @ (weights * _hermite()).T
        squares = coefficients**2
        shares = (squares, squares * (np.arange(MAX_TERMS) / q[:, None]))
        enough = [
            np.all(np.cumsum(part, axis=1) >= (1 - TAIL) * whole[:, None], axis=0)
            for part, whole in zip(shares, energies, strict=True)
        ]
        complete = enough[0] & enough[1]
        if not complete.any():
            raise ValueError(
                f"{self.name} at a pre-activation variance of {q.max():.3g} needs more than {MAX_TERMS} Hermite terms: "
                "choose a smaller sigma_w, sigma_b or |x|, or erf, whose kernel is closed"
            )
        coefficients = coefficients[:, : int(complete.argmax()) + 1]
        root = np.linalg.norm(coefficients, axis=1)
        return root, np.column_stack([root / np.sqrt(q), coefficients / root[:, None]])

    def pair(self, e, a, b, c):
        """|a - b|^2/2 + sum_k a_k b_k (1 - rho^k), by Horner's rule e sum_j rho^j sum_{k > j} a_k b_k."""
        rho = 1.0 - e
        above, defect, slope = (np.zeros_like(e) for _ in range(3))
        norms = (a[:, 1, None] - b[:, 1]) ** 2
        for k in range(a.shape[1] - 2, 0, -1):
            left, right = a[:, k + 1, None], b[:, k + 1]
            norms += (left - right) ** 2
            product = left * right
            above += product
            defect *= rho
            defect += above
            slope *= rho
            slope += k * product
        defect *= e
        defect += norms / 2
        slope *= c * a[:, :1] * b[:, 0]
        return defect, slope


@lru_cache(maxsize=1)
def _nodes() -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Trapezoidal nodes and weights of N(0, 1): 32 a unit resolve the waves of he_k, of length 2 pi/sqrt(k)."""
    nodes = np.arange(-13 * 32, 13 * 32 + 1) / 32
    weights = np.exp(-(nodes**2) / 2)
    return nodes, weights / weights.sum()


@lru_cache(maxsize=1)
def _hermite() -> Float[np.ndarray, "k g"]:
    """he_k/sqrt(k!), k < MAX_TERMS, at the nodes."""
    nodes, _ = _nodes()
    table = np.zeros((MAX_TERMS, len(nodes)))
    table[0], table[1] = 1.0, nodes
    for k in range(1, MAX_TERMS - 1):
        table[k + 1] = (nodes * table[k] - math.sqrt(k) * table[k - 1]) / math.sqrt(k + 1)
    return table
