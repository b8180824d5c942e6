"""Cells side by side: in their order, within their memory, and an error comes through; by threads or by workers."""

import os
import subprocess
import sys
import threading
import time

import dask
import pytest
import xarray as xr
import yaml
from click.testing import CliRunner

from ntkpipe import collect, config, kinds, parallel, plan
from ntkpipe.__main__ import cli
from ntkpipe.errors import DamagedFile


def test_results_keep_their_order():
    assert parallel.each(lambda i: i**2, range(10)) == [i**2 for i in range(10)]


def test_no_more_at_once_than_workers():
    lock, running, most = threading.Lock(), [0], [0]

    def one(_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    parallel.each(one, range(6))
    assert most[0] == parallel.WORKERS


def test_an_error_comes_through():
    def one(i):
        if i == 3:
            raise ValueError("cell 3")

    with pytest.raises(ValueError, match="cell 3"):
        parallel.each(one, range(5))


def test_long_work_says_how_far_it_is(monkeypatch, capsys):
    parallel.each(time.sleep, [0.01] * 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(parallel, "PROGRESS_SECONDS", 0.0)
    parallel.each(time.sleep, [0.01] * 3)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["cells 1/3", "cells 2/3"]


LIMIT = 400 * 2**20


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A dask scheduler and two workers, each a process of one thread and 400 MiB, as a user starts them."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "dask"]
    quick = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    options = ["--nthreads", "1", "--memory-limit", str(LIMIT), "--no-dashboard", "--local-directory", str(folder)]
    commands = [
        [*command, "scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)],
        [*command, "worker", "--scheduler-file", str(file), "--nworkers", "2", "--host", "127.0.0.1", *options],
    ]
    with open(folder / "log", "w") as log:
        started = [subprocess.Popen(c, env=os.environ | quick, stdout=log, stderr=log) for c in commands]
    yield str(file)
    for process in reversed(started):
        process.terminate()
        process.wait(30)


@pytest.fixture
def by_scheduler(scheduler, monkeypatch):
    end = time.monotonic() + 60
    while not os.path.exists(scheduler) and time.monotonic() < end:
        time.sleep(0.05)
    monkeypatch.setenv(parallel.FILE, scheduler)
    with parallel.workers("scheduler"):
        yield


def test_workers_are_other_processes_and_keep_the_order(by_scheduler):
    found = parallel.each(lambda i: (i**2, os.getpid()), range(20))
    assert [value for value, _ in found] == [i**2 for i in range(20)]
    assert os.getpid() not in {process for _, process in found}


def test_an_error_comes_through_from_a_worker_once_all_have_ended(by_scheduler, tmp_path):
    def one(i):
        if i == 0:
            raise DamagedFile("shard 0 is missing")
        time.sleep(0.05)
        (tmp_path / str(i)).touch()

    with pytest.raises(DamagedFile, match=r"^shard 0 is missing$"):
        parallel.each(one, range(5))
    assert len(os.listdir(tmp_path)) == 4


def test_a_cell_beyond_a_worker_s_memory_is_named_and_the_workers_live_on(by_scheduler):
    def hungry(i):
        held = bytearray(2 * LIMIT if i == 1 else 1)
        held[:: 2**12] = b"x" * len(held[:: 2**12])
        time.sleep(20 if i == 1 else 0)

    with pytest.raises(parallel.DaskError, match=r"execution\.dask: must be .*--memory-limit"):
        parallel.each(hungry, range(3))
    assert parallel.each(abs, [-1]) == [1]


def test_workers_give_the_numbers_of_threads(by_scheduler, make_study, draw_study, tmp_path):
    found = []
    for where in ("threads", "workers"):
        grid = {"width": 8, "depth": [2, 3, 4]}
        study = make_study(grid=grid, inputs={"kind": "circle", "points": 3}, seeds=64, results=tmp_path / where)
        draw_study(study)
        if where == "workers":
            collect.run(study)
            kinds.load(study, "analyse").run(study)
        else:
            with pytest.MonkeyPatch.context() as alone:
                alone.setattr(parallel, "_client", [])
                collect.run(study)
                kinds.load(study, "analyse").run(study)
        names = ("sums", "samples", "moments")
        found.append({name: xr.open_zarr(f"{study.folder}/{name}.zarr").load() for name in names})
    for name, expected in found[0].items():
        xr.testing.assert_equal(found[1][name], expected)


def test_without_an_address_the_error_names_key_and_variables(monkeypatch):
    monkeypatch.delenv(parallel.ADDRESS, raising=False)
    monkeypatch.delenv(parallel.FILE, raising=False)
    with (
        pytest.raises(parallel.DaskError, match=r"^execution\.dask: must be .*DASK_SCHEDULER_ADDRESS"),
        parallel.workers("scheduler"),
    ):
        pass


def test_a_scheduler_file_that_is_not_there_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.delenv(parallel.ADDRESS, raising=False)
    monkeypatch.setenv(parallel.FILE, str(tmp_path / "none.json"))
    with pytest.raises(parallel.DaskError, match=r"^execution\.dask: must be .*there was no .*none\.json"):
        parallel.check("scheduler")
    parallel.check("embedded")
    with pytest.raises(parallel.DaskError, match=r"none\.json"), parallel.workers("scheduler"):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv(parallel.ADDRESS, "tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(parallel.DaskError, match=r"must be a scheduler that answers; tcp://127\.0\.0\.1:9"),
        parallel.workers("scheduler"),
    ):
        pass


def test_workers_of_another_folder_are_refused(by_scheduler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(parallel.DaskError, match=rf"in the folder {tmp_path}, as this step is; tcp://127.*folder was"),
        parallel.workers("scheduler"),
    ):
        pass


def test_the_config_sends_collect_and_analyse_to_the_scheduler(
    scheduler, study_tree, draw_study, tmp_path, monkeypatch
):
    tree = study_tree(results=tmp_path / "r", grid={"width": 8, "depth": [2, 3]}, seeds=64)
    (path := tmp_path / "c.yaml").write_text(yaml.safe_dump(tree | {"execution": {"dask": "scheduler"}}))
    draw_study(plan.make(config.load(path)).studies["s"])

    def run(step):
        return CliRunner().invoke(cli, [step, "--config", str(path), "s"])

    monkeypatch.delenv(parallel.FILE, raising=False)
    monkeypatch.delenv(parallel.ADDRESS, raising=False)
    assert isinstance(run("collect").exception, parallel.DaskError)
    assert not (tmp_path / "r/s/sums.zarr").exists()
    monkeypatch.setenv(parallel.FILE, scheduler)
    for step, made in (("collect", "sums"), ("analyse", "moments")):
        done = run(step)
        assert done.exit_code == 0, done.exception
        assert (tmp_path / f"r/s/{made}.zarr").exists()
