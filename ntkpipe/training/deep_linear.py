r"""Deep linear networks of several outputs in training: plain matrix products in jax, many networks at once.

Loss (1/2) |A - A*|_F^2 of A = W_L ... W_1; the trained variables w_l = W_l/sqrt(g_l) move against the gradient, so
W_l moves by -eta g_l dL/dW_l. What training does to A, K and the conserved matrices stands in
:mod:`ntkpipe.theory.deep_linear`; here it is measured. Source: docs/theory.md section 11.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

MAX_STEPS = 100_000
"""Of the flow's integrator over a run."""


Gains = Sequence[float] | Float[Array, " layer"]
"""g_1, ..., g_L."""


class Law(NamedTuple):
    """The law of W_1..W_L: standard deviations of the entries, and gains g_l."""

    parametrization: str
    sizes: tuple[int, ...]  # inputs, hidden widths, outputs
    deviations: tuple[float, ...]
    gains: tuple[float, ...]


class Run(NamedTuple):
    """Networks in training, leading dim seed."""

    maps: Float[Array, "seed snapshot output input"]
    drift: Float[Array, "seed snapshot"]  # |K_t - K_0|_F/|K_0|_F
    imbalance: Float[Array, " seed"]  # change of the conserved matrices over the run, over the size of their parts
    weights: tuple[Array, ...]  # at the end


def law(inputs: int, widths: tuple[int, ...], outputs: int, scale: float, parametrization: str) -> Law:
    """Variance scale^2/n, gain 1 (``standard``, n the mean hidden width), or scale^2/fan_in, 1/fan_in (``ntk``)."""
    sizes = (inputs, *widths, outputs)
    if parametrization == "ntk":
        gains = tuple(1.0 / n for n in sizes[:-1])
        return Law("ntk", sizes, tuple(scale * g**0.5 for g in gains), gains)
    deviation = scale / float(np.mean(widths)) ** 0.5
    return Law("standard", sizes, (deviation,) * (len(sizes) - 1), (1.0,) * (len(sizes) - 1))


def init(rng: np.random.Generator, law: Law) -> tuple[np.ndarray, ...]:
    """W_1..W_L of one network."""
    shapes = zip(law.sizes[1:], law.sizes, strict=False)
    return tuple(d * rng.standard_normal(shape) for d, shape in zip(law.deviations, shapes, strict=True))


def balanced(rng: np.random.Generator, sizes: tuple[int, ...], modes: int, value: float) -> tuple[np.ndarray, ...]:
    """Balanced weights of product value * (first unit vectors): W_l = value^{1/L} O_l O_{l-1}^T, O_l random frames.

    O_0 and O_L are the first ``modes`` unit vectors of inputs and outputs; every layer is at least ``modes`` wide.
    """
    layers = len(sizes) - 1
    frames = [np.linalg.qr(rng.standard_normal((n, modes)))[0] for n in sizes[1:-1]]
    frames = [np.eye(sizes[0], modes), *frames, np.eye(sizes[-1], modes)]
    return tuple(value ** (1 / layers) * above @ below.T for below, above in itertools.pairwise(frames))


def stacked(networks: Sequence[tuple[np.ndarray, ...]]) -> tuple[Array, ...]:
    """Networks of one shape put together, leading dim seed."""
    return tuple(jnp.asarray(np.stack(parts)) for parts in zip(*networks, strict=True))


def product(weights: Sequence[Array]) -> Float[Array, "output input"]:
    """A = W_L ... W_1."""
    return reduce(lambda right, left: left @ right, weights)


def around(weights: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """W_L ... W_{l+1} and W_{l-1} ... W_1 for l = 1..L."""
    left, right = [jnp.eye(weights[-1].shape[0])], [jnp.eye(weights[0].shape[1])]
    for w in weights[:0:-1]:
        left.append(left[-1] @ w)
    for w in weights[:-1]:
        right.append(w @ right[-1])
    return left[::-1], right


def slope(weights: Sequence[Array], target: Array, gains: Gains) -> tuple[Array, ...]:
    """-g_l dL/dW_l."""
    left, right = around(weights)
    error = left[0] @ weights[0] - target
    return tuple(-g * b.T @ (error @ p.T) for g, b, p in zip(gains, left, right, strict=True))


def kernel(weights: Sequence[Array], gains: Gains) -> Float[Array, "pair pair"]:
    """K from the products of the weights; pairs (output, input)."""
    return sum(g * jnp.kron(b @ b.T, p.T @ p) for g, b, p in zip(gains, *around(weights), strict=True))


@jax.jit
def kernel_by_autodiff(weights: Sequence[Array], gains: Gains) -> Float[Array, "pair pair"]:
    """K = J J^T by the Jacobian of A in the trained variables."""
    jacobian = jax.jacrev(product)(tuple(weights))
    rows = [g**0.5 * j.reshape(j.shape[0] * j.shape[1], -1) for g, j in zip(gains, jacobian, strict=True)]
    rows = jnp.concatenate(rows, axis=1)
    return rows @ rows.T


def imbalance(weights: Sequence[Array], start: Sequence[Array], gains: Gains) -> Float[Array, ""]:
    """max_l |Q_l - Q_l(0)|_F over |W_{l+1}^T W_{l+1}/g_{l+1}|_F + |W_l W_l^T/g_l|_F at the end; NaN for L = 1."""
    found = []
    for k in range(len(gains) - 1):
        now, then = ((w[k + 1].T @ w[k + 1] / gains[k + 1], w[k] @ w[k].T / gains[k]) for w in (weights, start))
        size = jnp.linalg.norm(now[0]) + jnp.linalg.norm(now[1])
        found.append(jnp.linalg.norm(now[0] - now[1] - then[0] + then[1]) / size)
    return jnp.max(jnp.stack(found)) if found else jnp.asarray(jnp.nan)


def descend(
    start: tuple[Array, ...],
    gains: Float[Array | np.ndarray, "seed layer"],
    target: Array | np.ndarray,
    eta: Float[Array | np.ndarray, " seed"],
    steps: Sequence[int],
) -> Run:
    """Gradient descent of networks (leading dim seed), each with its step size, seen at the steps (rising, 0 first)."""
    taken = jnp.diff(jnp.asarray(steps), prepend=0)
    return _descend(start, jnp.asarray(gains), jnp.asarray(target), jnp.asarray(eta), taken)


@jax.jit
def _descend(start, gains, target, eta, taken: Int[Array, " snapshot"]) -> Run:
    def one(start, gains, eta) -> Run:
        first = kernel(start, gains)

        def advance(weights, count):
            def step(_, weights):
                return tuple(w + eta * s for w, s in zip(weights, slope(weights, target, gains), strict=True))

            weights = jax.lax.fori_loop(0, count, step, weights)
            moved = jnp.linalg.norm(kernel(weights, gains) - first) / jnp.linalg.norm(first)
            return weights, (product(weights), moved)

        weights, (maps, drift) = jax.lax.scan(advance, start, taken)
        return Run(maps, drift, imbalance(weights, start, gains), weights)

    return jax.vmap(one)(start, gains, eta)


def flow(
    start: tuple[Array, ...],
    gains: Float[Array | np.ndarray, "seed layer"],
    target: Array | np.ndarray,
    times: Float[Array | np.ndarray, "seed snapshot"],
    rtol: float,
    atol: float,
) -> Run:
    """Gradient flow of networks (leading dim seed), each at its times (rising, 0 first): Tsitouras' 5(4) pair.

    NaN where the integrator gave up.
    """
    return _flow(start, jnp.asarray(gains), jnp.asarray(target), jnp.asarray(times), rtol, atol)


@jax.jit
def _flow(start, gains, target, times, rtol, atol) -> Run:
    import diffrax

    def one(start, gains, times) -> Run:
        first = kernel(start, gains)

        def seen(_, weights, __):
            moved = jnp.linalg.norm(kernel(weights, gains) - first) / jnp.linalg.norm(first)
            return product(weights), moved

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda _, weights, __: slope(weights, target, gains)),
            diffrax.Tsit5(),
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=start,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=times, fn=seen), diffrax.SubSaveAt(t1=True)]),
            max_steps=MAX_STEPS,
            throw=False,
        )
        (maps, drift), last = solution.ys
        weights = tuple(w[0] for w in last)
        gone = solution.result != diffrax.RESULTS.successful
        change = jnp.where(gone, jnp.nan, imbalance(weights, start, gains))
        return Run(jnp.where(gone, jnp.nan, maps), drift, change, weights)

    return jax.vmap(one)(start, gains, times)
