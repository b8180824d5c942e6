r"""The law of (f, Kdot)(x, x) for a ReLU network as a recursion of width-free numbers (docs/theory.md, section 4).

Kdot = <grad f, grad K> with the gates held. With B_k = |delta^k|^2 and u^{k,l} the pull-back of h^{l-1} to layer k,
K's two factors contribute alike, and only one further backward vector is needed:

.. math::
    \dot K = 4 \sum_{k=1}^{d} (g_k |h^{k-1}|^2 + t_k)\, \delta^k \cdot U^k, \qquad
    U^k = \sum_{l>k} g_l |\delta^l|^2 u^{k,l}.

Over |h^k| the pair (delta^k, U^k/|h^k|) has the components (phi_k, T_k) along h^k (homogeneity), phi_k = f/|h^k|, and
the rest of it is Gaussian given the layers above. So from k = d down, with m ~ Binomial(n_k, 1/2) active units,
s^2 = v_k a, a ~ chi2(m), and W ~ Wishart_2(m - 1) of the Gram matrix (B, q, r) that comes from above,

.. math::
    B \leftarrow \phi^2 + v_{k+1} W_{11}, \quad q \leftarrow \phi T + v_{k+1} W_{12}, \quad
    r \leftarrow T^2 + v_{k+1} W_{22},

    V \leftarrow s^3 V + g_k s q, \quad Z \leftarrow s Z + t_k s q, \quad T \leftarrow s^2 T + g_k B, \quad
    \phi \leftarrow s \phi, \quad q \leftarrow s q, \quad r \leftarrow s^2 r,

started at phi = sqrt(v_{d+1}) N(0, 1), T = g_{d+1}, B = 1, the others 0. Then f = |x| phi, K = |x|^2 T + S and
Kdot = 4 (|x|^3 V + |x| Z). A dead layer (m = 0) sets all of it to 0.

The map is polynomial, so moments are exact: a monomial of the state after a layer is a polynomial in the state before,
with coefficients E[s^{2i} (nu/2)_j; m > 0], nu = m - 1, by

.. math::
    E[W_{11}^i W_{12}^j W_{22}^k] = i!\,j!\,k!\,[t_1^i t_2^j t_3^k]\, (1 - u)^{-\nu/2}, \quad
    u = 2 (t_1 B + t_2 q + t_3 r) - (4 t_1 t_3 - t_2^2)(B r - q^2).
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from math import factorial, prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.networks import Network
from ntkpipe.theory.recursion import layer_moment

PHI, T, B, Q, R, V, Z = range(7)

Monomial = tuple[int, ...]
"""Exponents of (phi, T, B, q, r, V, Z)."""

Polynomial = dict[tuple[int, ...], float]
"""Exponents -> coefficient."""


class Edge(NamedTuple):
    """A term of a monomial's image: coefficient v_k^i E[a^i b^j] g_k^g t_k^t v_{k+1}^v * target, b ~ chi2(nu)."""

    source: int
    target: int
    coefficient: float
    i: int
    j: int
    g: int
    t: int
    v: int


def _multiply(one: Polynomial, two: Polynomial) -> Polynomial:
    out: Polynomial = defaultdict(float)
    for a, x in one.items():
        for b, y in two.items():
            out[tuple(i + j for i, j in zip(a, b, strict=True))] += x * y
    return out


def _power(base: Polynomial, exponent: int, size: int) -> Polynomial:
    out: Polynomial = {(0,) * size: 1.0}
    for _ in range(exponent):
        out = _multiply(out, base)
    return out


def _term(size: int, **exponents: int) -> tuple[int, ...]:
    return tuple(exponents.get(f"x{i}", 0) for i in range(size))


@cache
def wishart_moment(i: int, j: int, k: int) -> dict[tuple[int, int, int, int], float]:
    """E[W11^i W12^j W22^k] as {(exponents of B, q, r, and p of (nu/2)_p): coefficient}."""
    size = 6  # t1, t2, t3, B, q, r
    u = {
        _term(size, x0=1, x3=1): 2.0,
        _term(size, x1=1, x4=1): 2.0,
        _term(size, x2=1, x5=1): 2.0,
        _term(size, x0=1, x2=1, x3=1, x5=1): -4.0,
        _term(size, x0=1, x2=1, x4=2): 4.0,
        _term(size, x1=2, x3=1, x5=1): 1.0,
        _term(size, x1=2, x4=2): -1.0,
    }
    scale = factorial(i) * factorial(j) * factorial(k)
    out: dict[tuple[int, int, int, int], float] = {}
    power: Polynomial = {(0,) * size: 1.0}
    for p in range(i + j + k + 1):
        for (t1, t2, t3, b, q, r), c in power.items():
            if (t1, t2, t3) == (i, j, k) and c:
                out[b, q, r, p] = scale * c / factorial(p)
        power = _multiply(power, u)
    return out


_NAMES = ("phi", "T", "V", "Z", "B", "q", "r", "s", "g", "t", "v", "w11", "w12", "w22")


def _polynomial(*terms: str) -> Polynomial:
    """Polynomial in _NAMES from products such as 's s T'."""
    return {tuple(term.split().count(name) for name in _NAMES): 1.0 for term in terms}


_SCALED = (  # the state after a layer, in the order of Monomial, by what was before a and after the Gram matrix
    _polynomial("s phi"),
    _polynomial("s s T", "g B"),
    _polynomial("B"),
    _polynomial("s q"),
    _polynomial("s s r"),
    _polynomial("s s s V", "g s q"),
    _polynomial("s Z", "t s q"),
)
_DRESSED = {  # B, q, r by what came from above
    "B": _polynomial("phi phi", "v w11"),
    "q": _polynomial("phi T", "v w12"),
    "r": _polynomial("T T", "v w22"),
}


@cache
def image(monomial: Monomial) -> dict[tuple[Monomial, int, int, int, int, int], float]:
    """{(target monomial, i, j, g, t, v): coefficient} of one monomial under one layer; see :class:`Edge`."""
    size = len(_NAMES)
    scaled: Polynomial = {(0,) * size: 1.0}
    for variable, exponent in enumerate(monomial):
        scaled = _multiply(scaled, _power(_SCALED[variable], exponent, size))
    out: dict[tuple[Monomial, int, int, int, int, int], float] = defaultdict(float)
    for powers, coefficient in scaled.items():
        named = dict(zip(_NAMES, powers, strict=True))
        dressed: Polynomial = {
            tuple(0 if name in _DRESSED else e for name, e in zip(_NAMES, powers, strict=True)): coefficient
        }
        for name, form in _DRESSED.items():
            dressed = _multiply(dressed, _power(form, named[name], size))
        for full, c in dressed.items():
            e = dict(zip(_NAMES, full, strict=True))
            half, odd = divmod(e["s"], 2)
            if odd:
                raise ValueError(f"monomial {monomial} has an odd power of s: its mean is 0 by the symmetry f -> -f")
            for (b, q, r, j), w in wishart_moment(e["w11"], e["w12"], e["w22"]).items():
                target = (e["phi"], e["T"], b, q, r, e["V"], e["Z"])
                # (nu/2)_j = E[b^j | m]/2^j
                out[target, half, j, e["g"], e["t"], e["v"]] += c * w / 2**j
    return dict(out)


@cache
def closure(wanted: tuple[Monomial, ...]) -> tuple[tuple[Monomial, ...], tuple[Edge, ...]]:
    """All monomials that the recursion of the wanted ones needs (these first), and the terms between them."""
    order = {monomial: position for position, monomial in enumerate(wanted)}
    queue, edges = list(wanted), []
    while queue:
        monomial = queue.pop()
        for (target, *powers), coefficient in image(monomial).items():
            if target not in order:
                order[target] = len(order)
                queue.append(target)
            edges.append(Edge(order[monomial], order[target], coefficient, *powers))
    return tuple(order), tuple(edges)


def log_moments(network: Network, wanted: tuple[Monomial, ...]) -> tuple[Float[np.ndarray, " wanted"], float]:
    """E of the wanted monomials of the state at the input, as (mantissas, common logarithm): mean = m exp(log).

    O(depth) with at most about 200 monomials. The network is to be ReLU without random biases.
    """
    monomials, edges = closure(wanted)
    v, g, t = network.weight_variance, network.weight_gain, network.bias_gain
    columns = [np.array(column) for column in zip(*edges, strict=True)]
    source, target, coefficient, i, j, pg, pt, pv = columns
    pairs = sorted(set(zip(i.tolist(), j.tolist(), strict=True)))
    place = np.array([pairs.index(pair) for pair in zip(i.tolist(), j.tolist(), strict=True)])
    state = np.array([_top(monomial, v[-1], g[-1]) for monomial in monomials])
    log, layers = 0.0, {}
    for k in range(network.depth, 0, -1):
        key = (network.widths[k - 1], v[k - 1], v[k], g[k - 1], t[k - 1])
        if key not in layers:
            moments = np.array([layer_moment(key[0], a, b) * v[k - 1] ** a for a, b in pairs])
            values = coefficient * moments[place] * g[k - 1] ** pg * t[k - 1] ** pt * v[k] ** pv
            matrix = np.zeros((len(monomials), len(monomials)))
            np.add.at(matrix, (source, target), values)
            layers[key] = matrix
        state = layers[key] @ state
        size = np.abs(state).max()
        if size > 0:
            state, log = state / size, log + float(np.log(size))
    return state[: len(wanted)], log


def _top(monomial: Monomial, v: float, g: float) -> float:
    """E of a monomial at the top: phi = sqrt(v) N(0, 1), T = g, B = 1, the others 0."""
    p = monomial[PHI]
    if p % 2 or any(monomial[index] for index in (Q, R, V, Z)):
        return 0.0
    return v ** (p // 2) * prod(range(1, p, 2)) * g ** monomial[T]
