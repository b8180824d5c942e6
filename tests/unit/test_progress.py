"""The progress line, read off shards of known ages and costs."""

import os
import re
import time
from pathlib import Path

import pytest

from ntkpipe import progress


@pytest.fixture
def plan(make_plan, tmp_path):
    """Four shards of 100 draws, all of one cost."""
    return make_plan(results=tmp_path, grid={"width": [8, 16, 32, 64], "depth": 2})


def _make(plan, shard, age, seconds=0.0):
    """A shard that took ``seconds`` and was done ``age`` seconds ago."""
    Path(shard.path).parent.mkdir(parents=True, exist_ok=True)
    Path(shard.path).touch()
    with pytest.MonkeyPatch.context() as patch:
        made = time.time() - age
        patch.setattr(time, "time", lambda: made)
        progress.note_seconds(plan.studies["s"], shard, seconds)


def test_nothing_done(plan):
    assert progress.line(plan) == "sampling: shards 0/4, draws 0/400"


def test_all_done(plan):
    for shard in plan.studies["s"].shards:
        _make(plan, shard, 3600)
    assert progress.line(plan) == "sampling: shards 4/4, draws 400/400"


def test_recent_shards_give_rate_and_time_left(plan):
    shards = plan.studies["s"].shards
    for shard, age in zip(shards[:2], (10, 5), strict=True):
        _make(plan, shard, age)
    text = progress.line(plan)
    assert text.startswith("sampling: shards 2/4, draws 200/400, ")
    rate = float(re.search(r"([\d.e+]+) draws/s", text)[1])
    assert rate == pytest.approx(200 / 10, rel=0.1)  # 200 draws since the oldest, 10 s ago (up to 1 s of delay)
    assert re.search(r"about (9|10|11) s left$", text)  # the same work again


def test_the_first_shard_counts_from_its_start(plan):
    """Done just now after 20 s: three more take 60 s, not 3."""
    _make(plan, plan.studies["s"].shards[0], 0, seconds=20.0)
    text = progress.line(plan)
    assert float(re.search(r"([\d.e+]+) draws/s", text)[1]) == pytest.approx(100 / 20, rel=0.1)
    assert re.search(r"about (59|60|61|62) s left$", text)


def test_shards_that_a_resumed_run_kept_are_no_speed(plan):
    """Their files are touched, so that Snakemake takes them for new."""
    shards = plan.studies["s"].shards
    for shard in shards[:3]:
        _make(plan, shard, 4000, seconds=10.0)
        os.utime(shard.path)
    assert progress.line(plan) == "sampling: shards 3/4, draws 300/400"


def test_seconds_spent_are_those_of_the_last_making_of_each_shard(plan):
    study = plan.studies["s"]
    for shard, seconds in ((study.shards[0], 5.0), (study.shards[1], 2.0), (study.shards[0], 1.5)):
        _make(plan, shard, 0, seconds=seconds)
    log = Path(study.folder) / "logs/seconds.tsv"
    log.write_text(log.read_text() + f"no shard.zip\t99.0\t0.0\n{Path(study.shards[2].path).name}\t4.0\n")
    assert progress.seconds_spent(study) == 1.5 + 2.0 + 4.0  # the last line is of an older version: without a time


def test_old_shards_count_as_done_but_not_as_speed(plan):
    shards = plan.studies["s"].shards
    _make(plan, shards[0], 5000)
    assert progress.line(plan) == "sampling: shards 1/4, draws 100/400"
    _make(plan, shards[1], 10)
    rate = float(re.search(r"([\d.e+]+) draws/s", progress.line(plan))[1])
    assert rate == pytest.approx(100 / 10, rel=0.1)
