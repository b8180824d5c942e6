"""What a job asks of a scheduler, by Snakemake's attempt: who failed for want of memory or time gets twice as much."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from ntkpipe.plan import Job, Plan

LEAST_MINUTES = 10
STARTER_MB, STARTER_MB_PER_SHARD = 300, 0.026
"""The two Snakemakes that start a job on a node and wait for it: each has parsed the Snakefile, with the whole plan."""


def memory(mb: int, plan: Plan) -> Callable[..., int]:
    """``mem_mb`` of a rule: the cost model's for its step, and its starters'; twice that at each attempt more."""
    shards = sum(len(study.shards) for study in plan.studies.values())
    need = mb + STARTER_MB + ceil(STARTER_MB_PER_SHARD * shards)
    return lambda wildcards, attempt: need * 2 ** (attempt - 1)


def runtime(seconds: float) -> Callable[..., int]:
    """``runtime`` of a rule, in minutes: thrice the cost model's, at least ten; twice that at each attempt more."""
    minutes = max(LEAST_MINUTES, ceil(3 * seconds / 60))
    return lambda wildcards, attempt: minutes * 2 ** (attempt - 1)


def gpus(job: Job, each: int) -> int:
    """``gpu`` of a sampling job: ``execution.gpus`` where networks have explicit weights (jax), else none."""
    return each if job.shards[0].cell.engine == "dense" else 0
