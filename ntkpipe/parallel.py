"""Cells side by side: a few dask threads, so that as many cells as threads are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import dask

WORKERS = 2


def each(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """``[function(item) for item in items]``, by threads; the first error is raised once all threads have ended."""
    tasks = [dask.delayed(partial(function, item))() for item in items]  # partial: dask is not to look into the items
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(dask.compute(*tasks, scheduler="threads", pool=pool))
