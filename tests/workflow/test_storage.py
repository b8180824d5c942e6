"""Results in a bucket, for real: Snakemake, an S3 server on loopback, machines that come and go.

A machine is a folder of its own; what two machines share is the bucket alone.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import s3fs
import xarray as xr
from harness import Run, hashes

import ntkpipe
from ntkpipe import remote

pytestmark = [pytest.mark.workflow, pytest.mark.fault]

GRID = {"width": [16, 32], "depth": [16, 32, 64], "bias_init": ["none", "zero"]}
STUDY = {"kind": "initialization", "grid": GRID, "seeds": 51200, "keep": "moments"}


def config(url: str, **execution: object) -> dict:
    return {"studies": {"point": STUDY}, "execution": {"remote": url} | execution}


@pytest.fixture
def machine(s3, monkeypatch, tmp_path):
    """A function: name, config -> a machine with the bucket's credentials."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return lambda name, tree: Run(tmp_path / name).configure(tree)


@pytest.fixture(scope="module")
def unbroken(s3, tmp_path_factory):
    """A run to the bucket from an empty folder to its report."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.items():
            patch.setenv(name, value)
        run = Run(tmp_path_factory.mktemp("unbroken") / "machine").configure(config("s3://study/runs/a"))
        run.make()
        yield run


def objects(url: str) -> dict[str, str]:
    """What the bucket holds under an address: name -> ETag."""
    held = s3fs.S3FileSystem(use_listings_cache=False).find(url.removeprefix("s3://"), detail=True)
    return {
        f"s3://{name}".removeprefix(f"{url}/"): info["ETag"] for name, info in held.items() if info["type"] == "file"
    }


def test_a_run_leaves_all_its_results_in_the_bucket(unbroken, machine):
    run = unbroken
    results = run.folder / "results"
    here = {str(file.relative_to(results)) for file in results.rglob("*") if file.is_file()}
    own = {"published.txt", "seconds.tsv", ".snakemake_timestamp"}
    kept = {name for name in here if Path(name).name not in own and Path(name).suffix not in (".log", ".tsv")}
    assert {name for name in kept if not name.startswith(".jax_cache")} == objects("s3://study/runs/a").keys()
    assert {"config.yaml", "report/index.html", "point/moments.zarr.sha256", "point/figures/s2.svg"} <= kept


def test_datasets_in_the_bucket_are_those_on_disk(unbroken, machine):
    run = unbroken
    told = run.ntkpipe("verify", *(f"s3://study/runs/a/point/{name}.zarr" for name in ("moments", "sums", "fits")))
    for name in ("moments", "sums", "fits"):
        here = xr.open_zarr(run.folder / f"results/point/{name}.zarr").load()
        there = f"s3://study/runs/a/point/{name}.zarr"
        xr.testing.assert_identical(xr.open_zarr(there, storage_options={"anon": False}).load(), here)
        assert ntkpipe.open(there).attrs == here.attrs
        assert f"{there}: whole, config {here.config_sha256[:12]}" in told.stdout, told.stdout


def test_another_machine_takes_shards_from_the_bucket_and_draws_what_is_not_there(unbroken, machine):
    run = unbroken
    files, shards = s3fs.S3FileSystem(use_listings_cache=False), sorted(run.shards())
    fresh = machine("fresh", config("s3://study/runs/b"))
    for number, path in enumerate(shards):
        content = bytearray((run.folder / path).read_bytes())
        digest = remote.sha256(run.folder / path)
        if number == 0:
            continue  # lost
        if number == 1:
            content[len(content) // 2] ^= 0xFF  # altered on its way, or there
        url = f"s3://study/runs/b/{path.removeprefix('results/')}"
        files.pipe_file(url, bytes(content), Metadata={"sha256": digest, "seconds": f"{1000 + number}"})
    fresh.make("results/point/moments.zarr")
    assert hashes(fresh.shards()) == hashes(run.shards())
    noted = (fresh.folder / "results/point/logs/seconds.tsv").read_text().splitlines()
    seconds = {name: float(spent) for name, spent, _ in (line.split("\t") for line in noted)}
    drawn = [path for path in shards if seconds[Path(path).name] < 1000]
    assert drawn == shards[:2]
    a, b = objects("s3://study/runs/a/point/shards"), objects("s3://study/runs/b/point/shards")
    assert a == b  # what was lost and what was altered is mended there, too
    ours, theirs = (xr.open_zarr(r.folder / "results/point/moments.zarr").load() for r in (fresh, run))
    xr.testing.assert_equal(ours, theirs)


def test_after_a_kill_another_machine_goes_on_from_the_bucket(unbroken, machine):
    """kill -9 of a sampling job once some shards are there: none of them is drawn again, and no byte differs."""
    run = unbroken
    url, paths = "s3://study/runs/c", sorted(run.shards())
    first = machine("first", config(url))
    command = [sys.executable, "-m", "ntkpipe", "sample", "--config", "tiny.yaml", *paths]
    job = subprocess.Popen(command, cwd=first.folder, env=first.environment, stderr=subprocess.DEVNULL)
    while len(objects(f"{url}/point/shards")) < 2 and job.poll() is None:
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL, "the job was done before it was killed"
    there = objects(f"{url}/point/shards")
    assert 2 <= len(there) < len(paths)
    second = machine("second", config(url))
    begun = time.time()
    done = second.ntkpipe("sample", "--config", "tiny.yaml", *paths)
    assert done.returncode == 0, done.stdout
    assert hashes(second.shards()) == hashes(run.shards())
    files = s3fs.S3FileSystem(use_listings_cache=False)
    before = [name for name in there if files.info(f"{url}/point/shards/{name}")["LastModified"].timestamp() < begun]
    assert set(before) == there.keys()


def test_once_all_is_there_nothing_is_put_there_again(unbroken, machine):
    run = unbroken
    times = {
        name: info["LastModified"]
        for name, info in s3fs.S3FileSystem(use_listings_cache=False).find("study/runs/a", detail=True).items()
    }
    again = run.ntkpipe("publish", "--config", "tiny.yaml")
    assert again.returncode == 0 and again.stdout.count("(0 of them new)") == 2, again.stdout
    held = s3fs.S3FileSystem(use_listings_cache=False).find("study/runs/a", detail=True)
    assert {name: info["LastModified"] for name, info in held.items()} == times
    assert not run.planned()


def test_without_a_bucket_to_write_to_nothing_is_drawn(machine, monkeypatch):
    missing = machine("missing", config("s3://not-there/a"))
    said = missing.fail()
    assert "execution.remote: must be a bucket that exists; s3://not-there/a" in said, said
    told = missing.ntkpipe("plan", "--config", "tiny.yaml")
    assert told.returncode == 2 and told.stdout.startswith(
        "ntkpipe: error: execution.remote: must be a bucket that exists"
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    denied = machine("denied", config("s3://study/runs/d"))
    told = denied.ntkpipe("plan", "--config", "tiny.yaml")
    assert told.returncode == 2 and "AWS_SECRET_ACCESS_KEY" in told.stdout and told.stdout.count("\n") == 1, told.stdout
    for run in (missing, denied):
        assert not run.shards()


def test_publishing_without_a_bucket_names_the_key(machine):
    run = machine("nowhere", {"studies": {"point": STUDY}})
    told = run.ntkpipe("publish", "--config", "tiny.yaml")
    assert told.returncode == 2 and told.stdout.startswith("ntkpipe: error: execution.remote: must be given")
