r"""Path-guided importance sampling of K(x, x), for moments that the tail decides.

K^2 is a sum over paths of monomials c a^i b^j through the layers (docs/theory.md, section 2). A
path is drawn with probabilities proportional to E[edge] h(target), h the mean of what lies
above; given its edge a layer draws m from Binomial x E[a^i b^j | m], a ~ chi2(m + 2i),
b ~ chi2(m - 1 + 2j), and at the output g^2 ~ chi2(1 + 2q). The density ratio to the plain law
is the sum over all paths, a forward recursion on 6 states, so the weights are exact for any
guide h. With the exact h the weighted K^2 would be a constant, i.e. the exact moment in
disguise; h comes from a network of 3/4 of the width, which keeps the estimate independent.

Draws with a dead layer have K = 0 without biases and are never proposed: E[w] = 1 - P(dead).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import lgamma, prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.engines import scalar
from ntkpipe.engines.base import Draws
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream
from ntkpipe.theory.recursion import F, G, initial_monomials, layer_edges, layer_moment, monomials

GUIDE_RATIO = 0.75
_DEGREE = 2


def guide(network: Network, ratio: float = GUIDE_RATIO) -> list[Float[np.ndarray, " state"]]:
    """h_0, ..., h_d: means of the degree-2 monomials above each layer, at ``ratio`` of the width."""
    widths = tuple(max(2, round(ratio * n)) for n in network.widths)
    near = replace(network, widths=widths)
    h = np.array(initial_monomials(near, _DEGREE, False))
    means = [h]
    for k in range(network.depth, 0, -1):
        expected = np.zeros_like(h)
        for row, image in enumerate(layer_edges(near, k, _DEGREE, False)):
            for edge in image:
                expected[row] += edge.coefficient * layer_moment(widths[k - 1], edge.i, edge.j) * h[edge.target]
        h = expected / expected.max()  # only ratios within a layer matter
        means.append(h)
    return means[::-1]


class _Choice(NamedTuple):
    """How a path leaves one state: cumulative probabilities over edges, and the edges."""

    cumulative: Float[np.ndarray, " edge"]
    target: Int[np.ndarray, " edge"]
    i: Int[np.ndarray, " edge"]
    j: Int[np.ndarray, " edge"]


class _Layer(NamedTuple):
    """One layer's path law: a choice per state, and (source, target, i, j, probability/E[a^i b^j])."""

    choices: tuple[_Choice, ...]
    steps: tuple[tuple[int, int, int, int, float], ...]


@lru_cache(maxsize=4)
def _path_law(network: Network) -> tuple[_Layer, ...]:
    h = guide(network)
    layers = []
    for k, width in enumerate(network.widths, start=1):
        choices, steps = [], []
        for source, image in enumerate(layer_edges(network, k, _DEGREE, False)):
            target, i, j = (np.array([getattr(e, part) for e in image]) for part in ("target", "i", "j"))
            means = np.array([layer_moment(width, e.i, e.j) for e in image])
            probability = np.array([e.coefficient for e in image]) * h[k][target] * means
            probability /= probability.sum()
            choices.append(_Choice(np.cumsum(probability)[:-1], target, i, j))
            steps += [
                (source, e.target, e.i, e.j, q / mean)
                for e, q, mean in zip(image, probability, means, strict=True)
                if q > 0
            ]
        layers.append(_Layer(tuple(choices), tuple(steps)))
    return tuple(layers)


@lru_cache(maxsize=256)
def _active_cdf(n: int, i: int, j: int) -> Float[np.ndarray, " m"]:
    """CDF over m = 1..n of Binomial(n, 1/2)(m) E[a^i b^j | m], normalized."""
    m = np.arange(1, n + 1)
    log_pmf = np.array([-lgamma(v + 1) - lgamma(n - v + 1) for v in m])
    polynomial = np.ones(n)
    for r in range(i):
        polynomial *= m + 2 * r
    for r in range(j):
        polynomial *= m - 1 + 2 * r
    mass = np.exp(log_pmf - log_pmf.max()) * polynomial
    cdf = np.cumsum(mass)
    return cdf / cdf[-1]


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
    """The first n draws of a quantum, with their log weights."""
    rng = stream.generator(quantum)
    states = monomials(_DEGREE, False)
    state = np.full(QUANTUM, states.index((G, G)))
    forward = np.zeros((len(states), QUANTUM))  # sum over paths of the density ratio, by state
    forward[state[0]] = 1.0
    log_ratio = np.zeros(QUANTUM)
    drawn = []
    for width, law in zip(network.widths, _path_law(network), strict=True):
        uniform = rng.random(QUANTUM)
        edge = np.zeros((3, QUANTUM), int)  # target, i, j
        for source, choice in enumerate(law.choices):
            here = np.flatnonzero(state == source)
            if here.size:
                pick = np.searchsorted(choice.cumulative, uniform[here], side="right")
                edge[:, here] = choice.target[pick], choice.i[pick], choice.j[pick]
        state, i, j = edge
        uniform = rng.random(QUANTUM)
        m = np.empty(QUANTUM, int)
        for p, q in {(p, q) for _, _, p, q, _ in law.steps}:
            here = np.flatnonzero((i == p) & (j == q))
            if here.size:
                m[here] = 1 + np.searchsorted(_active_cdf(width, p, q), uniform[here])
        a = scalar.chi_square(rng, m + 2 * i)
        b = scalar.chi_square(rng, m - 1 + 2 * j)
        drawn.append((m, a, b))
        forward, size = _advance(forward, law.steps, a, b)
        log_ratio += np.log(size)

    q = np.array([mono.count(F) for mono in states])
    sign = np.where(rng.random(QUANTUM) < 0.5, -1.0, 1.0)
    g2 = 2.0 * rng.standard_gamma(0.5 + q[state])
    mean_g = np.array([float(prod(range(1, 2 * c, 2))) for c in q])  # E[g^(2q)]
    log_ratio += np.log(np.sum(forward * g2 ** q[:, None] / mean_g[:, None], axis=0))

    walk = scalar.State(network, sign * np.sqrt(g2))
    for m, a, b in reversed(drawn):
        walk.step(m, a, b)
    draws = walk.draws(float(np.sum(x**2)), sign, -log_ratio)
    return Draws(*(part[:n] for part in draws))


def _advance(forward, steps, a, b):
    """One layer of the sum over paths, and the size taken out of it."""
    powers = {(p, q): a**p * b**q for p, q in {(p, q) for _, _, p, q, _ in steps}}
    moved = np.zeros_like(forward)
    for source, target, p, q, factor in steps:
        moved[target] += factor * forward[source] * powers[p, q]
    size = moved.max(axis=0)
    return moved / size, size
