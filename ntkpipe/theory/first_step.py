r"""The almost-everywhere derivative of K along a gradient step: exact mean and its limit (docs/theory.md, section 4).

One gradient step of size eta on (x, y) with loss (f - y)^2/2 moves K(x, x) by DeltaK. Where no gate
flips, dK/d eta = -(f - y) Kdot with Kdot = <grad f, grad K>; the label's part vanishes in the mean by
the symmetry f -> -f, so E[dK/d eta] = -E[f Kdot]. For ReLU without biases, with
R_k = |h^k|^2/|h^{k-1}|^2, F_k = f^2/|h^k|^2, B_l = |delta^l|^2 and m_k the number of active units,

.. math::
    E[f \dot K] = 2 \sum_{k<l} 2 g_l g_k\, E[F_{l-1} B_l]\, E|h^{k-1}|^4\, X_{k,l}, \qquad
    X_{l-1,l} = E[R_{l-1}],

    X_{k,l} = E[R_k] \prod_{j=k+1}^{l-1} E[R_j^2] + v_{k+1} E[R_k (m_k - 1)^+]\, X_{k+1,l}.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ntkpipe.networks import Network
from ntkpipe.theory.recursion import layer_moment


def refuse(network: Network) -> str | None:
    """Why the exact mean is not available for this network; None where it is."""
    if network.activation != "relu":
        return f"relu, because the sum rests on its homogeneity; activation was {network.activation!r}"
    if network.bias_init != "none":
        return f"bias_init none; bias_init was {network.bias_init!r}"
    return None


def mean_f_kdot(network: Network, norm_squared: float) -> float:
    """E[f Kdot] at finite width, by the finite sum above; O(depth^2).

    Raises
    ------
    ValueError: for a network whose law is not exactly solvable.
    """
    if (reason := refuse(network)) is not None:
        raise ValueError(f"the exact derivative needs {reason}")
    d, v, g = network.depth, network.weight_variance, network.weight_gain
    widths = network.widths
    # Per hidden layer k = 1..d (index k - 1): moments of R_k = v_k a_k, and E[R_k (m_k - 1)^+] = v_k E[a b].
    r1 = np.array([v[k] * layer_moment(widths[k], 1, 0) for k in range(d)])
    r2 = np.array([v[k] ** 2 * layer_moment(widths[k], 2, 0) for k in range(d)])
    ab = np.array([v[k] * layer_moment(widths[k], 1, 1) for k in range(d)])
    fb = _mean_fb(network)
    forward = norm_squared**2 * np.concatenate([[1.0], np.cumprod(r2)])  # E|h^{k}|^4, k = 0..d
    total = 0.0
    for layer in range(2, d + 2):  # l
        x = r1[layer - 2]  # X_{l-1,l}
        second = 1.0  # prod_{j=k+1}^{l-1} E[R_j^2]
        for k in range(layer - 1, 0, -1):
            if k < layer - 1:
                second *= r2[k]
                x = r1[k - 1] * second + v[k] * ab[k - 1] * x
            total += 4.0 * g[layer - 1] * g[k - 1] * fb[layer] * forward[k - 1] * x
    return float(total)


def _mean_fb(network: Network) -> dict[int, float]:
    """E[F_{l-1} B_l] for l = 1..d+1, by E[F^2] and E[F B] from the output down."""
    d, v = network.depth, network.weight_variance
    square, cross = 3.0 * v[d] ** 2, v[d]  # E[F_d^2], E[F_d B_{d+1}]
    fb = {d + 1: cross}
    for k in range(d, 0, -1):
        n = network.widths[k - 1]
        # F_{k-1} B_k = v_k a F_k (F_k + v_{k+1} b B_{k+1})
        cross = v[k - 1] * (layer_moment(n, 1, 0) * square + v[k] * layer_moment(n, 1, 1) * cross)
        square = v[k - 1] ** 2 * layer_moment(n, 2, 0) * square
        fb[k] = cross
    return fb


def mean_f_kdot_limit(
    beta: float | Float[np.ndarray, "..."], width: float, input_dim: float, norm_squared: float
) -> Float[np.ndarray, "..."]:
    r"""n -> infinity at fixed beta, equal widths, ``ntk`` parametrization, He scale:

    (n |x|^2/n_0)^2 (4/3) e^{5 beta} [beta^2/2 - beta/6 + (1 - e^{-6 beta})/36].
    """
    beta = np.asarray(beta, dtype=float)
    z = 6.0 * beta
    series = z**3 / 6 - z**4 / 24 + z**5 / 120 - z**6 / 720 + z**7 / 5040  # z^2/2 - z + 1 - e^-z
    bracket = np.where(np.abs(z) < 0.05, series, z**2 / 2 - z - np.expm1(-z)) / 36
    return np.asarray((width * norm_squared / input_dim) ** 2 * (4 / 3) * np.exp(5 * beta) * bracket)


def hanin_nica_ratio_limit(beta: float | Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """E[f Kdot]/E[K] over (d beta/n_0) exp(5 beta) |x|^2 in the limit: 4/3 at beta -> 0, 2/(3 beta) beyond."""
    beta = np.asarray(beta, dtype=float)
    return np.asarray(mean_f_kdot_limit(beta, 1.0, 1.0, 1.0) / (beta**3 * np.exp(5 * beta)))
