r"""Exact finite-width moments of K(x, x) at initialization: ReLU, one input, any widths.

E[K^p] is a product of small matrices whose entries are moments E[a^i b^j; m > 0] of the
recursion in :mod:`ntkpipe.theory.recursion` (docs/theory.md, section 2): no sampling, O(depth).
Without biases, and with trained biases that start at zero.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, exp, expm1, inf, log, log1p, sqrt

import numpy as np

from ntkpipe.networks import Network
from ntkpipe.theory.recursion import ONE, G, S, edges, initial_monomials, layer_moment, monomials

MAX_ORDER = 4


def refuse(network: Network) -> str | None:
    """Why the exact law is not available for this network; None where it is."""
    if network.activation != "relu":
        return f"relu, because the law rests on its homogeneity; activation was {network.activation!r}"
    if network.bias_init == "normal":
        return "bias_init none or zero, because random biases break the homogeneity; bias_init was 'normal'"
    return None


def log_moments(network: Network, norm_squared: float, order: int = MAX_ORDER) -> np.ndarray:
    """log E[K(x, x)^p] for p = 1..order.

    Parameters
    ----------
    network: ReLU, bias_init ``none`` or ``zero``.
    norm_squared: |x|^2 > 0.
    order: highest power, 1 to 4.

    Returns
    -------
    Array of shape (order,), natural logarithms (a moment may exceed the float range).

    Raises
    ------
    ValueError: for a network whose law is not exactly solvable, or an order out of range.
    """
    if (reason := refuse(network)) is not None:
        raise ValueError(f"exact moments need {reason}")
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(f"order must be 1 to {MAX_ORDER}; it was {order}")
    if not norm_squared > 0:
        raise ValueError(f"norm_squared must be positive; it was {norm_squared}")
    return np.array([_log_moment(network, float(norm_squared), p) for p in range(1, order + 1)])


@lru_cache(maxsize=1024)
def _log_moment(network: Network, norm_squared: float, p: int) -> float:
    with_biases = any(network.bias_gain)
    monos = monomials(p, with_biases)
    h = np.array(initial_monomials(network, p, with_biases))
    reset = np.array([_at_reset(mono, network.bias_gain[-1]) for mono in monos])
    v, g, t = network.weight_variance, network.weight_gain, network.bias_gain
    log_scale = 0.0
    for k in range(network.depth, 0, -1):
        n = network.widths[k - 1]
        step = _transition(p, with_biases, n, v[k - 1], v[k], g[k - 1], t[k - 1])
        h = step @ h
        if with_biases:  # without, a dead layer leaves nothing
            h = h + exp(-log_scale) * 0.5**n * reset
        size = h.max()
        h, log_scale = h / size, log_scale + log(size)
    total = sum(
        comb(p, q) * norm_squared**q * h[monos.index((G,) * q + (S,) * (p - q))]
        for q in range(p + 1)
        if q == p or with_biases
    )
    return log(total) + log_scale if total > 0 else -inf


def _at_reset(mono: tuple[int, ...], output_bias_gain: float) -> float:
    """A monomial's value after a dead layer, where (G, F, B, S, 1) = (0, 0, 0, t, 1)."""
    if any(variable not in (S, ONE) for variable in mono):
        return 0.0
    return output_bias_gain ** mono.count(S)


@lru_cache(maxsize=512)
def _transition(p: int, with_biases: bool, n: int, v_k: float, v_next: float, g_k: float, t_k: float) -> np.ndarray:
    """E[image of each degree-p monomial; m > 0] under one layer of width n."""
    images = edges(p, with_biases, v_k, v_next, g_k, t_k)
    matrix = np.zeros((len(images), len(images)))
    for row, image in enumerate(images):
        for edge in image:
            matrix[row, edge.target] += edge.coefficient * layer_moment(n, edge.i, edge.j)
    return matrix


def mean(network: Network, norm_squared: float) -> float:
    """E[K(x, x)]; (d + 1)|x|^2/n_0 in the ``ntk`` parametrization with He scale and no biases."""
    return _exp(log_moments(network, norm_squared, 1)[0])


def s2(network: Network, norm_squared: float) -> float:
    """S2 = E[K^2]/E[K]^2, the normalized second moment of Hanin & Nica's Theorem 1."""
    first, second = log_moments(network, norm_squared, 2)
    return _exp(second - 2 * first)


def s2_relative_sd(network: Network, norm_squared: float) -> float:
    r"""Relative standard deviation of one draw's part in S2-hat = mean(K^2)/mean(K)^2.

    Delta method: u = K^2/E[K^2] - 2 K/E[K] has variance q4 - 4 q3 + 4 q2 - 1 with
    q4 = E[K^4]/E[K^2]^2, q3 = E[K^3]/(E[K] E[K^2]), q2 = E[K^2]/E[K]^2. Divided by the
    square root of the number of draws this is the exact relative standard error.
    """
    l1, l2, l3, l4 = log_moments(network, norm_squared, 4)
    variance = _exp(l4 - 2 * l2) - 4 * _exp(l3 - l1 - l2) + 4 * _exp(l2 - 2 * l1) - 1
    return sqrt(max(variance, 0.0))


def dead_fraction(network: Network) -> float:
    """P(some hidden layer has no active unit) = 1 - prod(1 - 2^-n_l), for ReLU."""
    return abs(expm1(sum(log1p(-(0.5**n)) for n in network.widths)))


def _exp(log_value: float) -> float:
    return exp(log_value) if log_value < 709.0 else inf
