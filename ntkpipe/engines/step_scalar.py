r"""Width-free draws of K(x, x) and of its derivative along a gradient step: ReLU, one input, O(depth) a draw.

The recursion of :mod:`ntkpipe.theory.step_recursion` run on draws. Exact in law for (f, K, Kdot), so for
dK/d eta = -(f - y) Kdot with the gates held; a finite step, which flips gates, needs another engine.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ntkpipe.engines.scalar import active_units, chi_square
from ntkpipe.engines.step_matrix_free import StepDraws
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream


def sample(
    network: Network,
    x: Float[np.ndarray, "1 n0"],
    labels: Float[np.ndarray, "draw 1"],
    etas: tuple[float, ...],
    relative: bool,
    stream: Stream,
    quantum: int,
    n: int,
) -> StepDraws:
    """The first n draws of a quantum; ``ntk_1`` and ``flipped`` are NaN: the law of a finite step is not known here."""
    norm = float(np.linalg.norm(x))
    f, ntk, kdot = (part[:n] for part in _draw(network, norm, stream.generator(quantum)))
    residual = f - labels[:, 0]
    unit = np.divide(2.0, ntk, out=np.zeros_like(ntk), where=ntk > 0) if relative else np.ones_like(ntk)
    unknown = np.full((n, len(etas)), np.nan)
    return StepDraws(
        ntk_0=ntk[:, None, None],
        ntk_1=unknown[:, :, None, None],
        derivative=(-residual * kdot)[:, None, None],
        output_0=f[:, None],
        residual=residual[:, None],
        eta=unit[:, None] * np.asarray(etas),
        flipped=unknown,
    )


def _draw(network: Network, norm: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(f, K, Kdot) of a whole quantum."""
    variance, gain, shift = network.weight_variance, network.weight_gain, network.bias_gain
    phi = np.sqrt(variance[-1]) * rng.standard_normal(QUANTUM)
    t, b = np.full(QUANTUM, gain[-1]), np.ones(QUANTUM)
    q, r, v, z = np.zeros((4, QUANTUM))
    s_sum = np.full(QUANTUM, shift[-1])
    for k in range(network.depth, 0, -1):
        m = active_units(rng, network.widths[k - 1], QUANTUM)
        alive = (m > 0).astype(float)
        w11, w12, w22 = _wishart(rng, m - 1, b, q, r)
        above = variance[k]
        b, q, r = (
            alive * (phi**2 + above * w11),
            alive * (phi * t + above * w12),
            alive * (t**2 + above * w22),
        )
        s = np.sqrt(variance[k - 1] * chi_square(rng, m))
        v, z = s**3 * v + gain[k - 1] * s * q, s * z + shift[k - 1] * s * q
        s_sum = np.where(m > 0, s_sum + shift[k - 1] * b, shift[-1])
        t, phi, q, r = s**2 * t + gain[k - 1] * b, s * phi, s * q, s**2 * r
    return norm * phi, norm**2 * t + s_sum, 4 * (norm**3 * v + norm * z)


def _wishart(rng: np.random.Generator, degrees, b, q, r) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W11, W12, W22 of Wishart_2 with the Gram matrix ((b, q), (q, r)), by Bartlett; 0 if degrees < 1."""
    one, two = chi_square(rng, degrees), chi_square(rng, degrees - 1)
    mixed = np.where(degrees > 0, rng.standard_normal(QUANTUM), 0.0)
    root = np.sqrt(b)
    lower = np.divide(q, root, out=np.zeros_like(q), where=root > 0)
    rest = np.sqrt(np.maximum(r - lower**2, 0.0))
    first = np.sqrt(one)
    w1, w2 = lower * first + rest * mixed, rest * np.sqrt(two)
    return b * one, root * first * w1, w1**2 + w2**2
