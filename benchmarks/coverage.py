"""Coverage of nominal 95 % intervals of S2 on the heavy-tailed law: `python benchmarks/coverage.py` (about 5 minutes).

Exact S2 is known, so coverage is a count. The studentized bootstrap (which ntkpipe uses) is compared
with the delta method, the percentile bootstrap and BCa, at draws and betas with growing exact relative
standard error; where that exceeds tolerances.relative_error the cell is flagged, not trusted.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy import stats

from ntkpipe.analysis import intervals
from ntkpipe.engines import scalar
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import moments

REPLICATIONS = 200
CASES = ((0.125, 1024), (0.125, 10240), (0.25, 10240), (0.25, 51200), (0.5, 10240), (1.0, 10240))


def others(blocks: np.ndarray) -> dict[str, tuple[float, float]]:
    """Delta, percentile and BCa intervals of log S2 from blocks of (K^2, K)."""

    def log_s2(second, first, axis=-1):
        return np.log(second.mean(axis)) - 2 * np.log(first.mean(axis))

    scaled = blocks / blocks.mean(axis=0)
    centre = float(log_s2(*blocks.T))
    half = 1.96 * np.std(scaled @ [1.0, -2.0], ddof=1) / np.sqrt(len(blocks))
    result = {"delta": (centre - half, centre + half)}
    for method in ("percentile", "BCa"):
        found = stats.bootstrap(
            tuple(blocks.T), log_s2, paired=True, vectorized=True, n_resamples=499, method=method, rng=0
        )
        result[method] = tuple(found.confidence_interval)
    return result


def main() -> None:
    """Print coverage by case and method."""
    x = np.ones((1, 10)) / np.sqrt(10)
    print(f"{'beta':>6}{'draws':>8}{'exact rel. s.e.':>17}{'studentized':>13}{'delta':>8}{'percentile':>12}{'BCa':>8}")
    for beta, draws in CASES:
        network = Network(10, (64,) * round(64 * beta))
        exact = np.log(moments.s2(network, 1.0))
        hits: dict[str, list[bool]] = {}
        for replication in range(REPLICATIONS):
            stream = Stream(replication, "coverage")
            k = np.concatenate([scalar.sample(network, x, stream, q, 1024).ntk for q in range(draws // 1024)])
            blocks = intervals.coarsen(np.stack([k**2, k], axis=1), 256)
            mine = intervals.log_linear(np.stack([k**2, k, np.ones_like(k)], axis=1), (1.0, -2.0, 1.0), 0.95)
            found = {"studentized": (np.log(mine.low), np.log(mine.high))} | others(blocks)
            for name, (low, high) in found.items():
                hits.setdefault(name, []).append(low <= exact <= high)
        row = "".join(
            f"{np.mean(hits[name]):>{width}.3f}"
            for name, width in (("studentized", 13), ("delta", 8), ("percentile", 12), ("BCa", 8))
        )
        print(f"{beta:>6}{draws:>8}{moments.s2_relative_sd(network, 1.0) / np.sqrt(draws):>17.4f}{row}", flush=True)


if __name__ == "__main__":
    main()
