"""The profile profiles/slurm on a real Slurm: the numbers of a local run, and what a killed job leaves behind."""

from __future__ import annotations

import csv
import math
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import ACCOUNT, Job, OnSlurm, Slurm
from faulty import DRAWS, same, snapshots, wait_for
from harness import Run, hashes, kill_tree

from ntkpipe import config, plan, resources

pytestmark = pytest.mark.slurm
TARGET = DRAWS[1]
LONG = {
    "studies": {
        "train": {
            "kind": "trajectory",
            "grid": {"width": 256, "depth": 4},
            "seeds": 8,
            "data": {"train": 64, "eval": 16},
            "train": {"steps": 4000, "snapshots": 41, "spacing": "linear"},
        }
    }
}
"""One shard of 170 core-seconds by the cost model: more than fit into Slurm's shortest walltime, a minute."""


def submitted(slurm: Slurm, before: list[Job]) -> list[Job]:
    """The jobs since."""
    known = {job.number for job in before}
    return [job for job in slurm.jobs() if job.number not in known]


def mebibytes(job: Job) -> int:
    """Memory asked for; squeue says 1G or 973M."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job.memory).groups()
    return round(float(number) * {"M": 1, "G": 1024}[unit])


def test_the_numbers_of_a_local_run(slurm: Slurm, unbroken: Run, fresh: OnSlurm) -> None:
    """Through other jobs (the profile's length), with no internet; each asks for what the cost model says."""
    before = slurm.jobs()
    fresh.make()
    same(fresh, unbroken)
    jobs = {job.rule: job for job in submitted(slurm, before)}
    planned = plan.make(config.load(str(fresh.folder / "results/config.yaml")))
    assert planned.config.execution.job_seconds == 1200
    expected = {f"sample_{name}_{job.number}": job for name, study in planned.studies.items() for job in study.jobs}
    assert (
        {rule for rule in jobs if rule.startswith("sample_")} == set(expected) == {"sample_point_0", "sample_train_0"}
    )
    for rule, job in expected.items():
        assert mebibytes(jobs[rule]) == resources.memory(job.memory_mb, planned)({}, 1) and jobs[rule].cpus == 1
        assert jobs[rule].limit == f"{max(10, math.ceil(3 * job.seconds / 60))}:00"
        said = fresh.folder / "results" / rule.split("_")[1] / "logs" / f"{rule.split('_')[0]}_0.log"
        assert "sampling: shards" in said.read_text()
    assert jobs["collect_train"].cpus == jobs["analyse_train"].cpus == 2
    assert set(jobs) == set(expected) | {
        f"{s}_{n}" for s in ("collect", "analyse", "figures") for n in planned.studies
    } | {"report"}
    assert not slurm.calls_out
    asks = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"  # an address that nobody has
    asked = subprocess.run([sys.executable, "-c", asks], env=fresh.environment, capture_output=True, text=True)
    assert asked.returncode and "Network is unreachable" in asked.stderr and slurm.calls_out
    Path(slurm.environment["CALLS_OUT"]).unlink()


def test_a_killed_process_is_submitted_again_with_twice_the_memory(slurm: Slurm, drawn: Run, fresh: OnSlurm) -> None:
    """As the kernel kills for want of memory; the training goes on from its last snapshot."""
    before = slurm.jobs()
    driver = fresh.start(TARGET)
    wait_for(lambda: snapshots(fresh), driver)
    fresh.sampler().send_signal(signal.SIGKILL)
    assert driver.wait(timeout=300) == 0, fresh.said
    first, second = (job for job in submitted(slurm, before) if job.rule == "sample_train_0")
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert mebibytes(second) == 2 * mebibytes(first) and (first.limit, second.limit) == ("10:00", "20:00")
    assert "sample_train_0" in fresh.said and str(fresh.folder / "slurm_logs") in fresh.said
    assert list((fresh.folder / "slurm_logs/rule_sample_train_0").glob(f"{first.number}.log"))
    same(fresh, drawn, TARGET)


def test_a_cancelled_job_is_finished_by_the_next_run(slurm: Slurm, drawn: Run, fresh: OnSlurm) -> None:
    before = slurm.jobs()
    driver = fresh.start(TARGET, "--retries", "0")
    wait_for(lambda: snapshots(fresh), driver)
    slurm.cancel(submitted(slurm, before)[-1])
    assert driver.wait(timeout=300) != 0
    assert submitted(slurm, before)[-1].state == "CANCELLED"
    fresh.make(TARGET)
    same(fresh, drawn, TARGET)


def test_a_job_outlives_its_driver_and_the_next_run_keeps_what_it_made(
    slurm: Slurm, drawn: Run, fresh: OnSlurm
) -> None:
    """kill -9 of Snakemake: the job runs on in Slurm; the next run's job waits for it."""
    before = slurm.jobs()
    driver = fresh.start(TARGET)
    wait_for(lambda: snapshots(fresh), driver)
    kill_tree(driver)
    (orphan,) = submitted(slurm, before)
    assert orphan.state == "RUNNING"
    fresh.make("--unlock")
    fresh.make(TARGET)
    states = {job.number: job.state for job in submitted(slurm, before) if job.rule == "sample_train_0"}
    assert states[orphan.number] == "COMPLETED" and set(states.values()) == {"COMPLETED"}
    notes = (fresh.folder / "results/train/logs/seconds.tsv").read_text().splitlines()
    assert len(notes) == len(fresh.shards("train")) == 2, "a shard was drawn twice"
    same(fresh, drawn, TARGET)


def test_account_partition_and_qos_stand_in_the_profile(slurm: Slurm, drawn: Run, fresh: OnSlurm) -> None:
    """The lines that the profile has as comments, taken in."""
    text = (fresh.checkout / "profiles/slurm/config.yaml").read_text()
    for line, ours in (
        ("  # slurm_account: myproject", f"  slurm_account: {ACCOUNT}"),
        ("  # slurm_partition: compute", "  slurm_partition: second"),
        ("# slurm-qos: normal", "slurm-qos: normal"),
        ("  execution: {job_seconds: 1200}", "  execution: {job_seconds: 0.5}"),
    ):
        assert text.count(line) == 1
        text = text.replace(line, ours)
    fresh.profile = fresh.folder / "profile"
    fresh.profile.mkdir()
    (fresh.profile / "config.yaml").write_text(text)
    before = slurm.jobs()
    driver = fresh.make(TARGET, "--verbose")
    jobs = submitted(slurm, before)
    assert {(job.partition, job.account) for job in jobs} == {("second", ACCOUNT)}
    assert len(re.findall(r"sbatch call: .*--qos=normal", driver)) == len(jobs)
    assert [job.rule for job in jobs].count("sample_train_1") == 1, "jobs of half a second: one a shard"
    assert hashes(fresh.shards("train")) == hashes(drawn.shards("train"))


def test_a_job_beyond_its_walltime_goes_on_in_the_next(slurm: Slurm, drawn: Run, tmp_path: Path) -> None:
    """A training that needs more than its minute: Slurm ends the job, the next goes on from the last snapshot."""
    local = Run(tmp_path / "local", drawn.checkout).configure(LONG)
    run = OnSlurm(tmp_path / "run", drawn.checkout, slurm).configure(LONG)
    before = slurm.jobs()
    driver = run.start(TARGET, "--set-resources", "sample_train_0:runtime=1", "--retries", "20")
    local.make(TARGET)  # at the same time, on the other core
    with open(local.folder / "results/train/logs/sample_0.tsv") as notes:
        seconds = float(next(csv.DictReader(notes, delimiter="\t"))["s"])
    assert driver.wait(timeout=900) == 0, run.said
    if seconds < 75:
        pytest.skip(f"this machine trains in {seconds:.0f} s what should not fit into a walltime of a minute")
    states = [job.state for job in submitted(slurm, before) if job.rule == "sample_train_0"]
    assert states[-1] == "COMPLETED" and set(states[:-1]) == {"TIMEOUT"}
    assert hashes(run.shards()) == hashes(local.shards()) and len(run.shards()) == 1
    print(f"{seconds:.0f} s of one job in {len(states)} jobs of a minute")
