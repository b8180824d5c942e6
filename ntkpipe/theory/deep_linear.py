r"""Deep linear networks f(x) = A x, A = W_L ... W_1, L = depth + 1, on whitened inputs: loss (1/2) |A - A*|_F^2.

Gradient flow in the trained variables, gains g_l (1 where W_l itself is trained), with E = A - A*:

.. math:: \dot W_l = -g_l (W_L \cdots W_{l+1})^T E\, (W_{l-1} \cdots W_1)^T, \qquad
    K = \sum_l g_l\, (W_L \cdots W_{l+1})(\cdot)^T \otimes (W_{l-1} \cdots W_1)^T(\cdot), \quad \dot A = -K[E].

Conserved by the flow: W_{l+1}^T W_{l+1}/g_{l+1} - W_l W_l^T/g_l. Sources: thesis (1.9)-(1.13); Saxe et al. 2014; Chizat
et al. 2024; Tu et al. 2024; docs/theory.md section 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Weights = list[np.ndarray]
"""W_1, ..., W_L: the first has the inputs as columns, the last the outputs as rows."""

Gains = Sequence[float] | Float[np.ndarray, " layer"]
"""g_1, ..., g_L."""
Steps = Sequence[int] | Int[np.ndarray, " snapshot"]
"""Numbers of steps, rising."""


class Run(NamedTuple):
    """What gradient descent does to A and K."""

    maps: Float[np.ndarray, "snapshot output input"]
    drift: Float[np.ndarray, " snapshot"]  # |K_t - K_0|_F/|K_0|_F


def product(weights: Weights) -> Float[np.ndarray, "output input"]:
    """A = W_L ... W_1."""
    return reduce(lambda right, left: left @ right, weights)


def around(weights: Weights) -> list[tuple[np.ndarray, np.ndarray]]:
    """(W_L ... W_{l+1}, W_{l-1} ... W_1) for l = 1..L."""
    left, right = [np.eye(weights[-1].shape[0])], [np.eye(weights[0].shape[1])]
    for w in weights[:0:-1]:
        left.append(left[-1] @ w)
    for w in weights[:-1]:
        right.append(w @ right[-1])
    return list(zip(left[::-1], right, strict=True))


def kernel(weights: Weights, gains: Gains) -> Float[np.ndarray, "pair pair"]:
    """K of all outputs and unit inputs, pairs (output, input) in C order."""
    return sum(g * np.kron(b @ b.T, p.T @ p) for g, (b, p) in zip(gains, around(weights), strict=True))


def gradient(weights: Weights, error: Float[np.ndarray, "output input"]) -> Weights:
    """dL/dW_l where dL/dA is ``error``; thesis (1.12) for two layers."""
    return [b.T @ error @ p.T for b, p in around(weights)]


def conserved(weights: Weights, gains: Gains) -> Weights:
    """W_{l+1}^T W_{l+1}/g_{l+1} - W_l W_l^T/g_l for l = 1..L-1."""
    pairs = zip(weights, weights[1:], gains, gains[1:], strict=False)
    return [above.T @ above / h - below @ below.T / g for below, above, g, h in pairs]


def descend(weights: Weights, gains: Gains, target: Float[np.ndarray, "output input"], eta: float, steps: Steps) -> Run:
    """Gradient descent on (1/2) |A - A*|^2, seen at the steps (rising, 0 first)."""
    weights, done, maps, kernels = list(weights), 0, [], []
    for step in steps:
        for _ in range(step - done):
            slopes = gradient(weights, product(weights) - target)
            weights = [w - eta * g * s for w, g, s in zip(weights, gains, slopes, strict=True)]
        done = step
        maps.append(product(weights))
        kernels.append(kernel(weights, gains))
    moved = np.linalg.norm(np.array(kernels) - kernels[0], axis=(1, 2)) / np.linalg.norm(kernels[0])
    return Run(np.array(maps), moved)


# --- balanced weights: Saxe's modes ------------------------------------------------------------------------------


def mode(
    time: Float[np.ndarray, " t"], start: float, target: float, layers: int, nodes: int = 16
) -> Float[np.ndarray, " t"]:
    r"""A singular value under gradient flow from balanced weights (Saxe et al. 2014): s' = L s^{2-2/L} (s* - s).

    L = 1: exponential; L = 2: a sigmoid, s = s* expit(q), q = q_0 + 2 s* t. Any L: q' = L s*^{2-2/L} (s/s*)^{1-2/L},
    inverted by Gauss-Legendre quadrature of t(q) and Newton's method, to rounding.

    Raises
    ------
    ValueError: not 0 < start < target.
    """
    from scipy.special import expit, logit

    if not 0 < start < target:
        raise ValueError(f"start must lie between 0 and the target {target}; it was {start}")
    if layers == 1:
        return target - (target - start) * np.exp(-time)
    rate, first = layers * target ** (2 - 2 / layers), float(logit(start / target))
    if layers == 2:
        return target * expit(first + rate * time)
    power = 2.0 / layers - 1  # dt/dq = (s/s*)^power/rate
    grid = first + np.linspace(0.0, np.max(rate * time) + 1e-300, 4 * nodes * 8)  # q' <= rate
    at, weight = np.polynomial.legendre.leggauss(nodes)
    width = np.diff(grid)[:, None] / 2
    panels = np.sum(weight * width * expit(grid[:-1, None] + width * (1 + at)) ** power, axis=1) / rate
    clock = np.concatenate([[0.0], np.cumsum(panels)])
    panel = np.clip(np.searchsorted(clock, time, side="right") - 1, 0, len(panels) - 1)
    q = np.interp(time, clock, grid)
    for _ in range(30):
        half = (q - grid[panel])[:, None] / 2
        spent = clock[panel] + np.sum(weight * half * expit(grid[panel][:, None] + half * (1 + at)) ** power, 1) / rate
        q = q - (spent - time) * rate * expit(q) ** -power
    return target * expit(q)


def mode_descent(start: float, target: float, layers: int, eta: float, steps: Steps) -> np.ndarray:
    """The same under gradient descent: u <- u - eta u^{L-1} (u^L - s*), s = u^L, exact to rounding."""
    u, done, found = start ** (1 / layers), 0, []
    for step in steps:
        for _ in range(step - done):
            u = u - eta * u ** (layers - 1) * (u**layers - target)
        done = step
        found.append(u**layers)
    return np.array(found)


def balanced_kernel(values: Float[np.ndarray, " mode"], outputs: int, inputs: int, layers: int) -> np.ndarray:
    r"""Eigenvalues of K at balanced weights with these singular values of A, (output, input), gains 1:

    sum_l s_i^{2 (L-l)/L} s_j^{2 (l-1)/L}; on the diagonal L s_i^{2-2/L}.
    """
    left, right = np.zeros(outputs), np.zeros(inputs)
    left[: len(values)] = right[: len(values)] = values
    powers = [2.0 * k / layers for k in range(layers)]
    return sum(left[:, None] ** powers[layers - 1 - k] * right**p for k, p in enumerate(powers))


# --- infinite width ------------------------------------------------------------------------------------------------


def sharpness(layers: int, largest: float) -> float:
    """Largest eigenvalue of K at balanced weights that have learned A*, gains 1: L s_1^{2-2/L}."""
    return float(layers * largest ** (2 - 2 / layers))


def limit_network(depth: int, inputs: int, outputs: int, scale: float, words: int = 8) -> Weights:
    r"""A finite network whose gradient descent is that of infinite width, entries of variance scale^2/width, gains 1.

    As the width n grows, W_1 and W_L^T have orthogonal columns of norm ``scale``, and a hidden matrix G takes a vector
    that it has not met to a fresh one: G u = scale v, then G^T v = scale (u + u'), u' fresh, G u' = scale (v + v'), ...
    (a Gaussian matrix's bidiagonal form). So the vectors that training can reach form a tree, its roots the columns of
    W_1 and W_L^T, and G couples those that an edge of its own joins, with ``scale``. ``words``: length at which it
    is cut; a path of k edges enters with k gradient factors, so what is cut off falls faster than any power. One hidden
    layer has roots alone: exact, and the dynamics of Tu et al. 2024 (:func:`mixed_slope`).
    """
    sizes = [0] * (depth + 1)  # of the layers 1..depth
    edges: list[tuple[int, int, int]] = []  # (matrix l of 2..depth, node of layer l, node of layer l - 1)

    def add(layer: int) -> int:
        sizes[layer] += 1
        return sizes[layer] - 1

    first = [add(1) for _ in range(inputs)]
    last = [add(depth) for _ in range(outputs)]
    leaves = [(1, node) for node in first] + [(depth, node) for node in last]
    for _ in range(words):
        grown = []
        for layer, node in leaves:
            if layer < depth:
                grown.append((layer + 1, add(layer + 1)))
                edges.append((layer + 1, grown[-1][1], node))
            if layer > 1:
                grown.append((layer - 1, add(layer - 1)))
                edges.append((layer, node, grown[-1][1]))
        leaves = grown
    weights = [np.zeros((sizes[1], inputs))]
    weights += [np.zeros((sizes[layer], sizes[layer - 1])) for layer in range(2, depth + 1)]
    weights += [np.zeros((outputs, sizes[depth]))]
    weights[0][first, np.arange(inputs)] = scale
    weights[-1][np.arange(outputs), last] = scale
    for matrix, above, below in edges:
        weights[matrix - 1][above, below] = scale
    return weights


def limit_eigenvalue(layers: int, inputs: int, scale: float, parametrization: str) -> float:
    """The one eigenvalue of K_0 at infinite width: L scale^{2(L-1)}, over n_0 in ``ntk``."""
    value = layers * scale ** (2 * (layers - 1))
    return value / inputs if parametrization == "ntk" else value


def lazy(
    start: Float[np.ndarray, "*batch output input"],
    target: Float[np.ndarray, "output input"],
    rate: float,
    steps: Steps,
) -> Float[np.ndarray, "*batch snapshot output input"]:
    """A_k = A* + (1 - rate)^k (A_0 - A*), rate = eta times the eigenvalue of the frozen kernel of infinite width."""
    factors = (1.0 - rate) ** np.asarray(steps, dtype=float)
    return target + factors[:, None, None] * (start[..., None, :, :] - target)


def mixed_slope(
    a: Float[np.ndarray, "output input"], error: Float[np.ndarray, "output input"], scale: float
) -> Float[np.ndarray, "output input"]:
    """dA/dt of one hidden layer at infinite width (Tu et al. 2024): -(C_out E + E C_in), C = sqrt(A A^T + scale^4 I).

    Lazy along singular values below scale^2, active along those above.
    """
    values, vectors = np.linalg.eigh(a @ a.T)
    out = (vectors * np.sqrt(np.maximum(values, 0) + scale**4)) @ vectors.T
    values, vectors = np.linalg.eigh(a.T @ a)
    into = (vectors * np.sqrt(np.maximum(values, 0) + scale**4)) @ vectors.T
    return -(out @ error + error @ into)
