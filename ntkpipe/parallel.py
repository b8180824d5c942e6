"""Cells side by side, with their progress: by two dask threads of this process, or by a dask scheduler's workers.

By threads, as many cells as threads are in memory; by workers, as many as they have threads, each within its
``--memory-limit``. A scheduler's address comes from the environment, never from a config: whoever answers there is
believed (dask talks in pickles), and a config from a stranger must not choose whom.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask

from ntkpipe.errors import UserError

WORKERS = 2
PROGRESS_SECONDS = 10.0
"""How often the progress is said; what is done sooner says nothing."""
ADDRESS, FILE = "DASK_SCHEDULER_ADDRESS", "DASK_SCHEDULER_FILE"
_client: list[Any] = []
"""The scheduler's client, while there is one."""


class DaskError(UserError):
    """The scheduler cannot be used: names the key, what it must be and what it was."""

    def __init__(self, must: str) -> None:
        super().__init__(f"execution.dask: must be {must}")


def each(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """``[function(item) for item in items]``, side by side; the first error is raised once all have ended."""
    tasks = list(items)
    return _by_workers(_client[-1], function, tasks) if _client else _by_threads(function, tasks)


def _by_threads(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    progress = _Progress(len(items))

    def one(item: Any) -> Any:
        result = function(item)
        progress.one_more()
        return result

    tasks = [dask.delayed(partial(one, item))() for item in items]  # partial: dask is not to look into the items
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(dask.compute(*tasks, scheduler="threads", pool=pool))


def _by_workers(client: Any, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    from distributed import KilledWorker, as_completed

    progress = _Progress(len(items))
    futures = client.map(function, items, pure=False)
    for _ in as_completed(futures):  # all of them, failed or not: none is to write on after an error
        progress.one_more()
    try:
        return [future.result() for future in futures]
    except KilledWorker as error:
        raise DaskError(
            f"a scheduler whose workers have memory enough for a cell (dask worker --memory-limit); "
            f"{error.last_worker.address} died again and again: {' '.join(str(error).split())}"
        ) from None


@contextmanager
def workers(where: str) -> Iterator[None]:
    """Within, :func:`each` runs where ``execution.dask`` says: ``embedded`` here, ``scheduler`` on its workers.

    Raises
    ------
    DaskError: there is no scheduler, no worker, or one of another folder, Python or code.
    """
    if where == "embedded":
        yield
        return
    with _connected() as client:
        _client.append(client)
        try:
            yield
        finally:
            _client.pop()


def check(where: str) -> None:
    """What can be told of ``execution.dask`` without connecting.

    Raises
    ------
    DaskError: neither variable is set, or the file that one names is not there.
    """
    address, file = os.environ.get(ADDRESS), os.environ.get(FILE)
    if where == "embedded" or address:
        return
    if not file:
        raise DaskError(f"embedded, or the address of a running scheduler in {ADDRESS} (or {FILE}); both were unset")
    if not os.path.isfile(file):  # dask would wait for it, for ever
        raise DaskError(f"a scheduler that has written the file that {FILE} names; there was no {file}")


@contextmanager
def _connected() -> Iterator[Any]:
    from distributed import Client

    check("scheduler")
    address, file = os.environ.get(ADDRESS), os.environ.get(FILE)
    timeout = dask.config.get("distributed.comm.timeouts.connect")
    try:
        client = Client(address) if address else Client(scheduler_file=file)
    except (OSError, ValueError) as error:
        raise DaskError(f"a scheduler that answers; {address or file}: {' '.join(str(error).split())}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError:
            raise DaskError(f"a scheduler with workers; {client.scheduler.address} had none for {timeout}") from None
        _check(client)
        yield client


def _check(client: Any) -> None:
    """Every worker must see the same files and compute the same numbers."""
    try:
        seen = client.run(_seen)
    except ModuleNotFoundError as error:
        raise DaskError(f"a scheduler whose workers have this package (PYTHONPATH); {error}") from None
    here = _seen()
    for worker, said in seen.items():
        for name, must in {
            "folder": f"in the folder {here['folder']}, as this step is",
            "python": f"Python {here['python']}, as this step is",
            "threads": "started with OMP_NUM_THREADS=1, as `dask worker` is",
            "stale": "started after the package was last changed (start them again)",
        }.items():
            wanted = {"threads": "1", "stale": False}.get(name, here[name])
            if said[name] != wanted:
                raise DaskError(f"a scheduler whose workers are {must}; {worker}: {name} was {said[name]!r}")


def _seen() -> dict[str, Any]:
    import psutil

    changed = max(file.stat().st_mtime for file in Path(__file__).parent.rglob("*.py"))
    return {
        "folder": os.getcwd(),
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "stale": changed > psutil.Process().create_time(),
    }


class _Progress:
    def __init__(self, total: int) -> None:
        self.total, self.done, self.start = total, 0, time.monotonic()
        self.said = self.start

    def one_more(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said >= PROGRESS_SECONDS and self.done < self.total:
            self.said = now
            left = (now - self.start) * (self.total - self.done) / self.done
            print(f"cells {self.done}/{self.total}, about {left:.0f} s left", file=sys.stderr, flush=True)
