"""Kind ``initialization``: moments and Gram statistics of the kernel at initialization."""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind
from ntkpipe.kinds.initialization.statistics import HISTOGRAMS, STATISTICS


def tables(study: Any) -> list[str]:
    """Gram statistics where there are pairs of points."""
    return ["moments", "fits", *(["gram"] if study.is_gram else [])]


def figures(study: Any) -> list[str]:
    """Curves over beta; of Gram matrices, angle and spectrum first."""
    if study.is_gram:
        return ["gram_angle", "gram_spectrum", "s2"]
    return ["s2", "s2_ratio", "slopes", "typical", *(["tails"] if study.shards else [])]


KIND = Kind(
    name="initialization",
    statistics=STATISTICS,
    histograms=HISTOGRAMS,
    draws={
        "ntk": ("neural tangent kernel K(x, x') at initialization", "docs/theory.md section 1"),
        "ntk_diag": ("K(x, x) of each probe", "docs/theory.md section 1"),
        "eigenvalues": ("eigenvalues of the Gram matrix, descending; 0 where below the precision floor", ""),
        "output": ("network output f(x)", ""),
        "log_weight": ("log of the density ratio law/sampler; 0 for plain draws", "docs/theory.md section 2"),
    },
    sums={
        "sums": ("mergeable sums over a block of draws", ""),
        "largest": ("largest values of w K^2", ""),
        "histogram": ("weighted counts of natural logarithms", ""),
        "gram_sum": ("sum of K(x, x') over a block of draws", ""),
        "gram_square_sum": ("sum of K(x, x')^2 over a block of draws", ""),
        "gram_count": ("draws in a block of Gram sums", ""),
    },
    columns={
        "moments": [
            "depth", "width", "widths", "beta", "bias_init", "engine", "sampling", "n_samples", "ntk_mean",
            "ntk_mean_exact", "s2", "s2_low", "s2_high", "s2_exact", "s2_z", "s2_limit", "log_ntk_mean", "ess",
            "tail_share", "dead_fraction", "undersampled",
        ],
        "fits": [
            "quantity", "width", "bias_init", "method", "estimate", "low", "high", "reference", "limit", "beta_min",
            "beta_max", "n_cells",
        ],
        "gram": [
            "depth", "width", "beta", "engine", "min_eigenvalue_median", "min_eigenvalue_median_low",
            "min_eigenvalue_median_high", "condition_median", "condition_median_low", "condition_median_high",
            "singular_fraction", "undersampled",
        ],
    },
    long_names={"angle": "angle between x and x'"},
    tables=tables,
    figures=figures,
)  # fmt: skip
