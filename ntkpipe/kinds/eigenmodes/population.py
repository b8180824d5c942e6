"""What the theory knows of a cell: the operator T_p of its limit kernel, and that kernel on the cell's own points."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe import angles
from ntkpipe.analysis.drift import Eigen, eigenpairs
from ntkpipe.kinds.eigenmodes.draw import held_out
from ntkpipe.networks import Network
from ntkpipe.theory import circle, density, density_points, infinite_width
from ntkpipe.theory.density_points import Regions

UNLEARNED = 1e-12
"""Share of the largest eigenvalue below which one is 0 to the error of its quadrature."""
LOCAL = 1e-3
"""Kink at pi over kink at 0 up to which opposite points are not tied."""
TOLERANCE = 2e-3
"""Relative error of the eigenvalues of T_p."""
LARGEST = 2048
"""Angles of its grid at most."""


class Operator(NamedTuple):
    """Leading eigenpairs of T_p, at the train points and held out; frequency: of Fourier modes, else NaN."""

    eigenvalues: Float[np.ndarray, " mode"]
    frequency: Float[np.ndarray, " mode"]
    train: Float[np.ndarray, "n mode"]
    held_out: Float[np.ndarray, "held mode"]
    weights: Float[np.ndarray, " held"]  # p 2 pi/M, sum 1
    error: float


class Kinks(NamedTuple):
    """k'(0) and k'(pi) of the limit kernel; local: whether only k'(0) acts, so that eigenfunctions feel p where they
    are (docs/theory.md section 7)."""

    at_0: float
    at_pi: float
    local: bool


def limit_of(network: Network) -> Network:
    """A network with the same limit kernel, the same for all widths where they do not matter."""
    return replace(network, widths=(1,) * network.depth) if network.parametrization == "ntk" else network


def kernel(network: Network):
    """The limit kernel as a function of the angle."""
    return lambda t: circle.profile(network, t).ntk[0]


def operator(network: Network, p: str, n: int, held: int, modes: int) -> Operator:
    """Of 2 modes + 1 eigenfunctions; uniform: 1, sqrt(2) cos, sqrt(2) sin of the frequencies up to ``modes``."""
    return _operator(limit_of(network), p, n, held, modes)


@lru_cache(maxsize=64)
def _operator(network: Network, p: str, n: int, held: int, modes: int) -> Operator:
    law, count = density_points.of(p), 2 * modes + 1
    at = density_points.quantiles(law, n), held_out(held)
    weights = law(at[1]) * (2 * np.pi / held)
    weights = weights / weights.sum()
    if p == "uniform":
        frequency = angles.mode_frequencies(modes)
        values = circle.spectrum(kernel(network), np.arange(modes + 1)).eigenvalues
        values = np.where(values > UNLEARNED * values.max(), values, 0.0)[frequency]
        train, apart = (angles.fourier_modes(theta, modes) for theta in at)
        return Operator(values, frequency.astype(float), train, apart, weights, 0.0)
    found = density.eigenfunctions(kernel(network), law, count, TOLERANCE, LARGEST)
    train, apart = (density_points.extend(found, kernel(network), theta) for theta in at)
    return Operator(found.eigenvalues, np.full(count, np.nan), train, apart, weights, found.error)


@lru_cache(maxsize=64)
def refusal(network: Network, p: str, modes: int) -> str:
    """Why the eigenfunctions of T_p are not reached; nothing where they are."""
    law, theta = density_points.of(p), held_out(LARGEST)
    if abs(law(theta).mean() * 2 * np.pi - 1) > TOLERANCE:
        return f"on {LARGEST} angles its mass is {law(theta).mean() * 2 * np.pi:.3g} instead of 1"
    try:
        density.eigenfunctions(kernel(limit_of(network)), law, 2 * modes + 1, TOLERANCE, LARGEST)
    except ValueError:
        return f"their eigenvalues are not reached to {TOLERANCE:g} with {LARGEST} angles"
    return ""


@lru_cache(maxsize=64)
def _on_points(network: Network, p: str, n: int, held: int) -> tuple[Eigen, Float[np.ndarray, "1 held n"]]:
    x = angles.on_circle(density_points.quantiles(density_points.of(p), n))
    points = np.concatenate([x, angles.on_circle(held_out(held))])
    ntk = infinite_width.kernels(network, points, x).ntk
    return eigenpairs((ntk[None, :n] + np.swapaxes(ntk[None, :n], 1, 2)) / 2), ntk[None, n:]


def on_points(network: Network, p: str, n: int, held: int) -> tuple[Eigen, Float[np.ndarray, "1 held n"]]:
    """The limit kernel on the train points, decomposed, and between held-out and train points."""
    return _on_points(limit_of(network), p, n, held)


def aliased(network: Network, n: int, modes: int) -> Float[np.ndarray, " q"]:
    """Eigenvalues of the limit kernel on n equal angles over n, q <= modes: sum over m of lambda_|q + m n|.

    From the kernel's values at the angles by a Fourier sum; no eigendecomposition.
    """
    row = kernel(limit_of(network))(np.minimum(angles.equal(n), 2 * np.pi - angles.equal(n)))
    return np.fft.rfft(row).real[: modes + 1] / n


def kinks(network: Network) -> Kinks:
    """One-sided slopes of the limit kernel by three points."""
    h, here = 1e-4, kernel(limit_of(network))
    a, b = here(np.array([0.0, h, 2 * h])), here(np.pi - np.array([0.0, h, 2 * h]))
    start, end = (float(v @ (-1.5, 2.0, -0.5)) / h * s for v, s in ((a, 1.0), (b, -1.0)))
    return Kinks(start, end, start < 0 and abs(end) < LOCAL * abs(start) and not _smooth(start, float(a[0])))


def _smooth(slope: float, top: float) -> bool:
    return abs(slope) < 1e-3 * abs(top)


def regions(p: str) -> Regions:
    """The longest dense and sparse arcs."""
    return density_points.regions(density_points.of(p))


def mean_density(p: str, name: str) -> float:
    """Mean of p over its dense or sparse region (all: over the circle, 1/(2 pi)); NaN where there is none."""
    theta = held_out(density_points.GRID)
    law = density_points.of(p)
    if name == "all":
        return 1 / (2 * np.pi)
    inside = dict(zip(("dense", "sparse"), density_points.dense(law, theta), strict=True))[name]
    return float(law(theta)[inside].mean()) if inside.any() else np.nan
