"""What a job asks of a scheduler, by Snakemake's attempt: who failed for want of memory or time gets twice as much."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

LEAST_MINUTES = 10


def memory(mb: int) -> Callable[..., int]:
    """``mem_mb`` of a rule: what the cost model says, twice that at each further attempt."""
    return lambda wildcards, attempt: mb * 2 ** (attempt - 1)


def runtime(seconds: float) -> Callable[..., int]:
    """``runtime`` of a rule in minutes: three times the cost model's, at least ten; twice that at each further attempt."""
    minutes = max(LEAST_MINUTES, ceil(3 * seconds / 60))
    return lambda wildcards, attempt: minutes * 2 ** (attempt - 1)


def gpus(job: Any, each: int) -> int:
    """``gpu`` of a sampling job: ``execution.gpus`` where networks have explicit weights (jax), else none."""
    return each if job.shards[0].cell.engine == "dense" else 0
