"""Kills and signals at any moment: what was done is kept, and the end is that of the unbroken run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from functools import partial

import psutil
import pytest
from faulty import DRAWS, SNAPSHOTS, STUDY, same, snapshots, steps, wait_for
from harness import Run, kill_tree

pytestmark = pytest.mark.fault
MOMENTS = 20


def _progress(run: Run) -> int:
    """Grows from the first snapshot to the last file of the report."""
    results = run.folder / "results"
    shards = SNAPSHOTS * len(list(results.glob("train/shards/*.zip"))) + len(list(results.glob("point/shards/*.zip")))
    made = [
        *results.glob("*/*.sha256"),
        *results.glob("*/figures/*"),
        *results.glob("*/tables/*"),
        *results.glob("report/*"),
    ]
    return shards + len(snapshots(run)) + len(made)


def _unlock(run: Run) -> None:
    done = run.snakemake("--unlock")
    assert done.returncode == 0, done.stdout


def _kill_a_job(run: Run, driver: subprocess.Popen) -> None:
    """kill -9 of a process that draws, collects, analyses or plots; stopped first: none that just ended.

    One of this driver: those of a driver that was killed before may work beside them.
    """
    while driver.poll() is None:
        for step in steps(run):
            with contextlib.suppress(psutil.NoSuchProcess):
                if driver.pid not in (parent.pid for parent in step.parents()):
                    continue
                step.suspend()
                while step.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                    time.sleep(0.001)
                if step.status() == psutil.STATUS_STOPPED:
                    step.kill()
                    assert driver.wait(timeout=300) != 0
                    return
        time.sleep(0.02)
    raise AssertionError("no job to kill")


def test_twenty_kills_in_a_row_lose_nothing(unbroken: Run, fresh: Run) -> None:
    """kill -9 of everything, of the driver alone (its jobs run on beside the next run's) and of a job, in turn."""
    rng = random.Random(8)
    end = _progress(unbroken)
    moments = sorted(rng.uniform(0, end - 6) for _ in range(MOMENTS))
    seen = []
    for number, moment in enumerate(moments):
        driver = fresh.start()
        pause = rng.uniform(0, 0.8)
        wait_for(lambda moment=moment: _progress(fresh) >= moment and steps(fresh), driver)
        time.sleep(pause)
        assert driver.poll() is None, "the run was over before the kill"
        seen.append(_progress(fresh))
        if number % 3 == 0:
            kill_tree(driver)
        elif number % 3 == 1:
            driver.kill()
            driver.wait()
        else:
            _kill_a_job(fresh, driver)
        if number % 3 != 2:
            _unlock(fresh)
    print("progress at the kills:", seen, "of", end)
    assert seen[0] < end / 3 and max(seen) > 0.8 * end
    fresh.make()
    wait_for(lambda: not steps(fresh))
    same(fresh, unbroken)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_stops_the_run_and_the_next_goes_on(unbroken: Run, fresh: Run, name: str) -> None:
    """To all processes of the run, as a terminal (Ctrl-C, hang-up) and a batch system send it."""
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts by "&" is deaf to SIGINT
    driver = fresh.start(*DRAWS, start_new_session=True, preexec_fn=heard)
    wait_for(lambda: len(snapshots(fresh)) > 5, driver)
    os.killpg(driver.pid, getattr(signal, name))
    assert driver.wait(timeout=120) != 0
    wait_for(lambda: not steps(fresh), seconds=60)
    assert snapshots(fresh) or fresh.shards("train")
    if "cannot be locked" in (again := fresh.snakemake(*DRAWS)).stdout:
        _unlock(fresh)
        again = fresh.snakemake(*DRAWS)
    assert again.returncode == 0, again.stdout
    same(fresh, unbroken, *DRAWS)


def test_sigterm_to_snakemake_alone(unbroken: Run, fresh: Run) -> None:
    """It waits for the jobs that run or leaves them; both end well."""
    driver = fresh.start(*DRAWS)
    wait_for(lambda: len(snapshots(fresh)) > 5, driver)
    driver.terminate()
    driver.wait(timeout=300)
    wait_for(lambda: not steps(fresh))
    fresh.make(*DRAWS)
    same(fresh, unbroken, *DRAWS)


def test_a_second_driver_is_sent_away(unbroken: Run, fresh: Run) -> None:
    driver = fresh.start(*DRAWS)
    wait_for(lambda: snapshots(fresh), driver)
    resolved = (fresh.folder / "results/config.yaml").read_bytes()
    fresh.configure(STUDY | {"title": "Another"})
    said = fresh.fail(*DRAWS)
    fresh.configure(STUDY)
    assert "cannot be locked" in said and "--unlock" in said
    assert driver.wait(timeout=300) == 0, fresh.said
    assert (fresh.folder / "results/config.yaml").read_bytes() == resolved
    same(fresh, unbroken, *DRAWS)
