r"""The law of K(x, x) for a ReLU network as a linear recursion (docs/theory.md, section 2).

Per hidden layer k let m ~ Binomial(n_k, 1/2) be the number of active units, a ~ chi2(m),
b ~ chi2(m - 1), and with v_l = c_l/n_{l-1} and the gains g_l, t_l of :mod:`ntkpipe.networks`

.. math::
    B_k = F_k + v_{k+1} b B_{k+1}, \quad F_{k-1} = v_k a F_k, \quad
    G_{k-1} = v_k a G_k + g_k B_k, \quad S_{k-1} = S_k + t_k B_k,

started at F_d = v_{d+1} g^2 with g ~ N(0, 1), B_{d+1} = 1, G_d = g_{d+1}, S_d = t_{d+1}.
Then K = |x|^2 G_0 + S_0 and f = |x| sqrt(F_0) sign(g). A dead layer (m = 0) resets
(G, F, B, S) to (0, 0, 0, t_{d+1}).

Because the recursion is linear in s = (G, F, B, S, 1), monomials of degree p in s map to
monomials of degree p with coefficients polynomial in (a, b). This module writes that map
down once; exact moments take its expectation, the guided sampler draws paths through it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations_with_replacement, pairwise
from math import factorial, prod
from typing import NamedTuple

from ntkpipe.networks import Network

G, F, B, S, ONE = range(5)

Monomial = tuple[int, ...]
"""Sorted variable indices, e.g. (G, G) for G^2."""


class Edge(NamedTuple):
    """One term ``coefficient * a^i * b^j * target`` of the image of a monomial."""

    target: int
    coefficient: float
    i: int
    j: int


@cache
def monomials(degree: int, with_biases: bool) -> tuple[Monomial, ...]:
    """All monomials of one degree in (G, F, B), or in (G, F, B, S, 1) with trained biases."""
    variables = (G, F, B, S, ONE) if with_biases else (G, F, B)
    return tuple(combinations_with_replacement(variables, degree))


@lru_cache(maxsize=4096)
def edges(
    degree: int, with_biases: bool, v_k: float, v_next: float, g_k: float, t_k: float
) -> tuple[tuple[Edge, ...], ...]:
    """The image of each monomial under one layer, as lists of terms (valid where m > 0)."""
    forms: dict[int, list[tuple[int, float, int, int]]] = {
        G: [(G, v_k, 1, 0), (F, g_k, 0, 0), (B, g_k * v_next, 0, 1)],
        F: [(F, v_k, 1, 0)],
        B: [(F, 1.0, 0, 0), (B, v_next, 0, 1)],
        S: [(S, 1.0, 0, 0), (F, t_k, 0, 0), (B, t_k * v_next, 0, 1)],
        ONE: [(ONE, 1.0, 0, 0)],
    }
    index = {mono: position for position, mono in enumerate(monomials(degree, with_biases))}
    images = []
    for mono in monomials(degree, with_biases):
        terms: dict[tuple[Monomial, int, int], float] = {((), 0, 0): 1.0}
        for variable in mono:
            grown: dict[tuple[Monomial, int, int], float] = {}
            for (head, i, j), coefficient in terms.items():
                for target, factor, di, dj in forms[variable]:
                    if factor == 0.0:
                        continue
                    key = (tuple(sorted((*head, target))), i + di, j + dj)
                    grown[key] = grown.get(key, 0.0) + coefficient * factor
            terms = grown
        images.append(tuple(Edge(index[t], c, i, j) for (t, i, j), c in terms.items()))
    return tuple(images)


def layer_edges(network: Network, k: int, degree: int, with_biases: bool) -> tuple[tuple[Edge, ...], ...]:
    """:func:`edges` of hidden layer k (1-based) of a network."""
    v, g, t = network.weight_variance, network.weight_gain, network.bias_gain
    return edges(degree, with_biases, v[k - 1], v[k], g[k - 1], t[k - 1])


def layer_polynomial(m: int, i: int, j: int) -> int:
    """E[a^i b^j | m] = prod_{r<i} (m + 2r) * prod_{r<j} (m - 1 + 2r), for m >= 1."""
    return prod(m + 2 * r for r in range(i)) * prod(m - 1 + 2 * r for r in range(j))


@lru_cache(maxsize=65536)
def layer_moment(n: int, i: int, j: int) -> float:
    r"""E[a^i b^j; m > 0] for m ~ Binomial(n, 1/2), exact up to one rounding.

    The polynomial is expanded in falling factorials (Newton's forward differences), whose
    binomial means are n^{(q)}/2^q; the m = 0 term is taken out.
    """
    degree = i + j
    values = [layer_polynomial(m, i, j) for m in range(degree + 1)]
    mean = Fraction(0)
    for q in range(degree + 1):
        falling = prod(n - r for r in range(q))
        mean += Fraction(values[0] * falling, factorial(q) * 2**q)
        values = [later - earlier for earlier, later in pairwise(values)]
    return float(mean - Fraction(layer_polynomial(0, i, j), 2**n))


def initial_monomials(network: Network, degree: int, with_biases: bool) -> list[float]:
    """E of every monomial at the top, where E[g^{2q}] = (2q - 1)!!."""
    top = {
        G: network.weight_gain[-1],
        F: network.weight_variance[-1],
        B: 1.0,
        S: network.bias_gain[-1],
        ONE: 1.0,
    }
    values = []
    for mono in monomials(degree, with_biases):
        q = mono.count(F)
        values.append(prod(top[variable] for variable in mono) * prod(range(1, 2 * q, 2)))
    return values
