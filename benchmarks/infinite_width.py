"""Cost of the infinite-width kernels: `python benchmarks/infinite_width.py` (about 3 minutes on one core).

The unit is what no method can avoid: one arccos and one square root of every entry in every layer.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from ntkpipe.networks import Network
from ntkpipe.theory import infinite_width

N, REPEATS = 2000, 3


def seconds(action: Callable[[], object]) -> float:
    """Median processor time of a warm call."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return statistics.median(times)


def elementwise(depth: int) -> float:
    """arccos and square root of N^2 entries, in cached blocks, once a layer."""
    block = np.random.default_rng(0).uniform(-1, 1, 2**15)
    out = np.empty_like(block)

    def once() -> None:
        for _ in range(N * N // len(block)):
            np.arccos(block, out=out)
            np.sqrt(out, out=out)

    return depth * seconds(once)


def main() -> None:
    """Print time and memory of each case beside the unit."""
    rng = np.random.default_rng(0)
    plain, other = rng.standard_normal((N, 10)), rng.standard_normal((N, 10))
    sphere = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    angle = 2 * np.pi * np.arange(N) / N
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cases = [
        ("relu, sphere", "relu", "none", 64, (sphere,)),
        ("relu, circle", "relu", "none", 64, (circle,)),
        ("relu, normal biases, any norms", "relu", "normal", 64, (plain,)),
        ("relu, no biases, two sets", "relu", "none", 64, (plain, other)),
        ("relu, normal biases, two sets", "relu", "normal", 64, (plain, other)),
        ("erf, any norms", "erf", "none", 64, (plain,)),
        ("gelu, sphere", "gelu", "none", 4, (sphere,)),
        ("tanh, sphere", "tanh", "none", 4, (sphere,)),
        ("tanh, any norms", "tanh", "none", 4, (plain,)),
    ]
    unit = elementwise(1)
    print(f"N = {N}; arccos + sqrt of N^2 entries: {unit:.3f} s a layer")
    for name, activation, bias_init, depth, points in cases:
        network = Network(points[0].shape[1], (1,) * depth, activation, bias_init=bias_init)
        taken = seconds(lambda network=network, points=points: infinite_width.kernels(network, *points))
        tracemalloc.start()
        infinite_width.kernels(network, *points)
        memory = tracemalloc.get_traced_memory()[1] / 8 / N**2
        tracemalloc.stop()
        target = "   target <= 3" if activation == "relu" else ""
        row = f"{name:<34}depth {depth:>3}: {taken:6.2f} s = {taken / depth / unit:6.2f} units"
        print(f"{row}, {memory:.2f} N^2 numbers{target}", flush=True)


if __name__ == "__main__":
    main()
