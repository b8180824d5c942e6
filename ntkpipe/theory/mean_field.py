r"""Infinitely many particles: one hidden layer without biases in the mean-field limit, by quadrature.

With theta = (a, w) ~ N(0, I_3) at the start, z = s_w w.x, s_w^2 = c_1/n_0, and r = f - y on the train points

.. math::
    f_\mu(x) = \sigma_v \int a\,\phi(z)\,d\mu, \qquad
    \dot a = -\sigma_v \sum_i r_i \phi(z_i), \qquad \dot w = -\sigma_v s_w \sum_i r_i a\,\phi'(z_i) x_i,

    K_\mu(x, x') = \sigma_v^2 \int [\phi(z)\phi(z') + s_w^2 a^2 \phi'(z)\phi'(z')\, x \cdot x']\,d\mu .

A path of the limit is one of weighted particles that start at the nodes of a quadrature of N(0, I_3): deterministic,
and as exact as the quadrature. Where phi is positively homogeneous so is the velocity, Phi_t(c theta) = c Phi_t(theta),
and the radius |theta| is integrated exactly: nodes lie on a sphere.
Source: docs/theory.md section 12; thesis (2.14)-(2.22).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gamma, roots_genlaguerre, roots_hermitenorm, roots_laguerre, roots_legendre

from ntkpipe.activations import numpy_activation
from ntkpipe.networks import Network

HOMOGENEOUS = ("relu", "leaky_relu", "linear")
RADII = 24
"""Of the quadrature of the radius, for test functions."""

Tests = dict[str, Callable[[Float[np.ndarray, "..."], Float[np.ndarray, "... 2"]], Float[np.ndarray, "..."]]]
TESTS: Tests = {
    "exp(-|theta|^2/2)": lambda a, w: np.exp(-(a**2 + _square(w)) / 2),
    "a^2": lambda a, w: a**2,
    "|w|^2": lambda a, w: _square(w),
    "|a||w|": lambda a, w: np.abs(a) * np.sqrt(_square(w)),
    "a^2 - |w|^2": lambda a, w: a**2 - _square(w),
}
"""Test functions psi(a, w) of the measures; where phi is homogeneous the flow conserves the last of every particle."""


def _square(w: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "..."]:
    return (w**2).sum(-1)


def at_start(d: int) -> dict[str, tuple[float, float]]:
    """Exact mean and variance of each of :data:`TESTS` under N(0, I_{d+1})."""
    amplitude = math.sqrt(2 / math.pi) * math.sqrt(2) * float(gamma((d + 1) / 2) / gamma(d / 2))
    moments = (
        (2 ** (-(d + 1) / 2), 3 ** (-(d + 1) / 2) - 2.0 ** -(d + 1)),
        (1.0, 2.0),
        (float(d), 2.0 * d),
        (amplitude, d - amplitude**2),
        (1.0 - d, 2.0 + 2.0 * d),
    )
    return dict(zip(TESTS, moments, strict=True))


class Particles(NamedTuple):
    """Weighted particles: f = sigma_v sum_k p_k a_k phi(s_w w_k.x)."""

    p: Float[np.ndarray, " k"]
    a: Float[np.ndarray, " k"]
    w: Float[np.ndarray, "k 2"]


class Path(NamedTuple):
    """The limit at some steps."""

    f: Float[np.ndarray, "time n"]
    ntk: Float[np.ndarray, "time n n"]
    moments: Float[np.ndarray, "time test"]
    particles: list[Particles]


def quadrature(activation: str, angles: int, amplitudes: int) -> Particles:
    """Nodes of N(0, I_3); of functions homogeneous of degree two alone where the activation is homogeneous.

    Directions of w at half steps, so that jumps at multiples of the step cost its square, not itself.
    """
    phi = 2 * np.pi * (np.arange(angles) + 0.5) / angles
    unit = np.column_stack([np.cos(phi), np.sin(phi)])
    if activation in HOMOGENEOUS:  # |theta|^2 = 3, its mean; cos of the latitude is uniform
        u, weight = roots_legendre(amplitudes)
        weight, a, radius = weight / 2, math.sqrt(3) * u, np.sqrt(3 * (1 - u**2))
    else:
        a, weight_a = roots_hermitenorm(amplitudes)
        half, weight_r = roots_laguerre(amplitudes)
        weight = np.outer(weight_a / math.sqrt(2 * math.pi), weight_r).ravel()
        a, radius = np.repeat(a, amplitudes), np.tile(np.sqrt(2 * half), amplitudes)
    w = radius[:, None, None] * unit
    return Particles(np.repeat(weight / angles, angles), np.repeat(a, angles), w.reshape(-1, 2))


def follow(
    network: Network,
    start: Particles,
    steps: Sequence[int],
    x: Float[np.ndarray, "n 2"],
    y: Float[np.ndarray, " n"],
    eta: float,
    flow: bool = False,
) -> Path:
    """The limit at the steps of gradient descent; eta in flow time.

    ``flow``: gradient flow at the same times, by Runge and Kutta's method of fourth order with the step eta.
    """
    state, done, seen = start, 0, []
    advance = _runge_kutta if flow else _euler
    for step in steps:
        for _ in range(step - done):
            state = advance(network, state, x, y, eta)
        done = step
        seen.append(state)
    looks = [look(network, particles, x) for particles in seen]
    spread = network.activation in HOMOGENEOUS
    return Path(
        np.stack([f for f, _ in looks]),
        np.stack([ntk for _, ntk in looks]),
        np.stack([moments(particles, spread) for particles in seen]),
        seen,
    )


Velocity = tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k 2"]]


def velocity(
    network: Network, particles: Particles, x: Float[np.ndarray, "n 2"], y: Float[np.ndarray, " n"]
) -> Velocity:
    """b(theta; mu), thesis (2.18)-(2.19), of every particle."""
    act = numpy_activation(network.activation, network.negative_slope)
    p, a, w = particles
    scaled = math.sqrt(network.sigma_w**2 / network.input_dim) * x
    z = w @ scaled.T
    h = act.phi(z)
    residual = network.sigma_v * (network.sigma_v * ((p * a) @ h) - y)
    learns = float(network.readout == "trained")
    return -learns * (h @ residual), -a[:, None] * ((act.dphi(z) * residual) @ scaled)


def _moved(particles: Particles, speed: Velocity, time: float) -> Particles:
    return Particles(particles.p, particles.a + time * speed[0], particles.w + time * speed[1])


def _euler(network: Network, state: Particles, x: np.ndarray, y: np.ndarray, h: float) -> Particles:
    return _moved(state, velocity(network, state, x, y), h)


def _runge_kutta(network: Network, state: Particles, x: np.ndarray, y: np.ndarray, h: float) -> Particles:
    speeds = [velocity(network, state, x, y)]
    for part in (h / 2, h / 2, h):
        speeds.append(velocity(network, _moved(state, speeds[-1], part), x, y))
    first, second, third, fourth = speeds
    mean = tuple((k + 2 * u + 2 * v + n) / 6 for k, u, v, n in zip(first, second, third, fourth, strict=True))
    return _moved(state, mean, h)


def look(
    network: Network, particles: Particles, x: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n n"]]:
    """(f, K) of weighted particles."""
    act = numpy_activation(network.activation, network.negative_slope)
    p, a, w = particles
    scaled = math.sqrt(network.sigma_w**2 / network.input_dim) * x
    z = w @ scaled.T
    h, gate = act.phi(z), a[:, None] * act.dphi(z)
    learned = (p[:, None] * h).T @ h if network.readout == "trained" else 0.0
    moved = ((p[:, None] * gate).T @ gate) * (scaled @ scaled.T)
    return network.sigma_v * ((p * a) @ h), network.sigma_v**2 * (learned + moved)


def moments(particles: Particles, spread: bool) -> Float[np.ndarray, " test"]:
    """Means of :data:`TESTS`; ``spread``: over the radius too, which the nodes stand for at its mean square."""
    if not spread:
        return np.array([particles.p @ psi(particles.a, particles.w) for psi in TESTS.values()])
    half, weight = roots_genlaguerre(RADII, 0.5)  # |theta|^2/2 ~ Gamma(3/2)
    radius, weight = np.sqrt(2 * half / 3), weight / weight.sum()
    return np.array(
        [
            sum(c * (particles.p @ psi(r * particles.a, r * particles.w)) for r, c in zip(radius, weight, strict=True))
            for psi in TESTS.values()
        ]
    )


def kernel_variance(network: Network, start: Particles, x: Float[np.ndarray, "n 2"]) -> float:
    """m E|K_0^(m) - K_0|_F^2 of m independent particles: sum over pairs of points of the variance of a unit's part.

    The parts are homogeneous of degree two, their squares of degree four: E|theta|^4 = 15 where nodes have 9.
    """
    act = numpy_activation(network.activation, network.negative_slope)
    p, a, w = start
    scaled = math.sqrt(network.sigma_w**2 / network.input_dim) * x
    z = w @ scaled.T
    h, gate = act.phi(z), a[:, None] * act.dphi(z)
    gram, trained = scaled @ scaled.T, float(network.readout == "trained")
    # |unit's part|_F^2 = |h h^T + (gate gate^T) o gram|_F^2, without forming it for each particle
    square = trained * _square(h) ** 2 + 2 * trained * np.einsum("ki,ij,kj->k", h * gate, gram, h * gate, optimize=True)
    square += np.einsum("ki,ij,kj->k", gate**2, gram**2, gate**2, optimize=True)
    fourth = 15 / 9 if network.activation in HOMOGENEOUS else 1.0
    _, ntk = look(network, start, x)
    return float(network.sigma_v**4 * fourth * (p @ square) - np.sum(ntk**2))
