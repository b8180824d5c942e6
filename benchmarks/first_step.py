"""Cost of one gradient step as ratios in one run: `python benchmarks/first_step.py` (about 3 minutes on one core)."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from engines import line, ratio

from ntkpipe.engines import jumps, step_dense, step_matrix_free, step_scalar
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import first_step


def per_draw(engine, network: Network, draws: int) -> Callable[[], float]:
    """A function that times one warm call and returns seconds per draw."""
    x, labels = np.full((1, network.input_dim), network.input_dim**-0.5), np.zeros((draws, 1))

    def once() -> float:
        start = time.perf_counter()
        engine.sample(network, x, labels, (0.1,), False, Stream(0, "benchmark"), 0, draws)
        return (time.perf_counter() - start) / draws

    once()
    return once


WIDE = """
import resource, numpy as np
from ntkpipe.engines import step_matrix_free as engine
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
draws = engine.sample(Network(32, (65536,) * 15), np.full((1, 32), 32 ** -0.5), np.zeros((8, 1)), (0.1,), False,
                      Stream(0, "wide"), 0, 8)
assert all(np.isfinite(part).all() for part in draws)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def main() -> None:
    """Print the table."""
    big = Network(32, (1024,) * 15)
    slow, fast, r = ratio(per_draw(step_dense, big, 2), per_draw(step_matrix_free, big, 16))
    what = "step, dense / matrix_free, one point, 15 layers, width 1024"
    line(what, f"{slow * 1e3:.0f} ms / {fast * 1e3:.1f} ms = {r:.0f}", ">= 50")

    slow, fast, r = ratio(per_draw(step_matrix_free, big, 16), per_draw(step_scalar, big, 1024))
    line("derivative alone, matrix_free / scalar, the same network", f"{r:.0f}", "-")

    out = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=True).stdout
    line("step at width 65 536, 15 layers, 8 draws: peak memory", f"{float(out):.2f} GiB", "<= 2 GiB")

    start = time.perf_counter()
    first_step.derivative(Network(32, (1024,) * 4096), 1.0, 1.0)
    line("exact mean and second moment, depth 4096, width 1024", f"{time.perf_counter() - start:.3f} s", "< 1 s")

    x, network = np.full((1, 10), 10**-0.5), Network(10, (64,) * 8)
    start = time.perf_counter()
    predicted = np.concatenate([jumps.sample(network, x, np.zeros(1024), Stream(0, "b"), q) for q in range(4)])
    predicting = time.perf_counter() - start
    start = time.perf_counter()
    draws = [
        step_matrix_free.sample(network, x, np.zeros((1024, 1)), (0.01,), False, Stream(0, "b"), q, 1024)
        for q in range(4)
    ]
    stepping = time.perf_counter() - start
    flips = np.concatenate([(d.ntk_1[:, 0] - d.ntk_0 - 0.01 * d.derivative)[:, 0, 0] / 0.01 for d in draws])
    gain = flips.var() * stepping / (predicted.var() * predicting)
    line("flips per eta: jump sum against steps of 0.01, variance x time", f"{gain:.0f} times less", "-")


if __name__ == "__main__":
    main()
